"""`--json` is JSON on every stdout, and what is written is written whole or not at all."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.cli.main import main
from orthoedge.runtime.subprocesses import module_command

ENCODINGS = ("ascii", "latin-1", "iso8859-9", "cp1252", "utf-16", "utf-8-sig", "cp037", "shift_jis")


@pytest.fixture
def sources(tmp_path):
    """A radiograph and two files whose messages or names are not ASCII."""
    good = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    small = np.zeros((20, 20), np.uint8)
    names = ["good.png", "très 小さい 🦴.png", os.fsdecode(b"\xe9\xff.png")]
    for name, pixels in zip(names, (good, small, small), strict=True):
        (tmp_path / name).write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return [str(tmp_path / name) for name in names]


def written(monkeypatch, encoding, *arguments):
    """Bytes that a command writes to a stdout of that encoding."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert main([*arguments]) == 1
    stdout.flush()
    return stdout.buffer.getvalue()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_line_is_json_whatever_the_encoding(encoding, sources, bundle, monkeypatch):
    data = written(monkeypatch, encoding, "predict", *sources, "--json", *bundle)
    records = [json.loads(line) for line in data.decode("utf-8").splitlines()]
    assert [record["path"] for record in records[:2]] == sources[:2]
    assert records[2]["path"].endswith("\\udce9\\udcff.png")
    assert records[1]["error"].startswith("image too small: 20×20 pixels")
    assert data.isascii()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp037"])
def test_plain_text_is_escaped_where_the_encoding_lacks_a_character(
    encoding, sources, bundle, monkeypatch
):
    small = [sources[0], str(Path(sources[1]).with_name("absent 小.png"))]
    text = written(monkeypatch, encoding, "predict", *small, *bundle).decode(encoding)
    assert "good.png" in text


def run(arguments, **settings):
    environment = {**os.environ, **settings.pop("env", {})}
    command = module_command("orthoedge.cli.main") + arguments
    return subprocess.run(command, env=environment, capture_output=True, check=False, **settings)


@pytest.mark.parametrize(
    "more", [[], pytest.param(["--jobs", "2"], marks=pytest.mark.slow)], ids=str
)
def test_a_locale_without_unicode_changes_no_line(sources, bundle, more):
    arguments = ["predict", *sources, "--json", *bundle, *more]
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    lines = [
        [json.loads(line) for line in run(arguments, env=env).stdout.decode().splitlines()]
        for env in ({"PYTHONUTF8": "1"}, plain)
    ]
    for before, after in zip(*lines, strict=True):
        assert (before["path"], before["error"]) == (after["path"], after["error"])


@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("how", ["--json", "--overlay"])
def test_closed_streams_are_no_crash(closed, how, sources, bundle, tmp_path):
    script = "import os, sys\nfor n in %r: os.close(n)\nos.execv(sys.argv[1], sys.argv[1:])"
    more = [how, str(tmp_path / "out")] if how == "--overlay" else [how]
    arguments = ["predict", sources[0], sources[0], *more, *bundle]
    command = [sys.executable, "-c", script % (closed,), *module_command("orthoedge.cli.main")]
    done = subprocess.run([*command, *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert how == "--json" or len(list((tmp_path / "out").iterdir())) == 4


def test_errors_do_not_go_to_stdout_where_stderr_is_closed(sources, bundle):
    script = "import os, sys\nos.close(2)\nos.execv(sys.argv[1], sys.argv[1:])"
    command = [sys.executable, "-c", script, *module_command("orthoedge.cli.main"), "predict"]
    done = subprocess.run([*command, *sources, "--json", *bundle], capture_output=True, check=False)
    assert done.returncode == 1
    assert [json.loads(line)["error"] is None for line in done.stdout.splitlines()] == [1, 0, 0]


@pytest.mark.parametrize("lost", ["a full disk", "no reader"])
def test_a_stderr_that_takes_nothing_costs_no_finding(lost, sources, bundle):
    if lost == "a full disk":
        stderr = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, stderr = os.pipe()
        os.close(reader)
    command = [*module_command("orthoedge.cli.main"), "predict", *reversed(sources), "--json"]
    try:
        done = subprocess.run([*command, *bundle], stdout=-1, stderr=stderr, check=False)
    finally:
        os.close(stderr)
    assert done.returncode == 1
    assert [json.loads(line)["error"] is None for line in done.stdout.splitlines()] == [0, 0, 1]


@pytest.mark.parametrize("verb", ["predict", "predict --json", "doctor"])
def test_a_full_disk_behind_stdout_is_one_line(verb, sources, bundle):
    more = [] if verb == "doctor" else [sources[0], *bundle]
    with Path("/dev/full").open("wb") as full:
        command = [*module_command("orthoedge.cli.main"), *verb.split(), *more]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2
    assert done.stderr == b"orthoedge: No space left on device\n"


@pytest.fixture
def pair(sources, bundle, tmp_path, capsys):
    """Write the pictures of a radiograph once; call it to write them again."""
    folder = tmp_path / "out"

    def write(*more):
        code = main(["predict", sources[0], "--overlay", str(folder), "--json", *more, *bundle])
        captured = capsys.readouterr()
        return code, json.loads(captured.out), captured.err

    return folder, write


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("blocked", ["good.png", "good.side.png"])
def test_a_place_that_is_taken_leaves_neither_picture(blocked, pair):
    folder, write = pair
    (folder / blocked).mkdir(parents=True)
    code, record, errors = write()
    assert (code, record["error"], record["overlay"]) == (1, None, None)
    assert "picture not written" in errors
    assert [path.name for path in folder.iterdir()] == [blocked]


def test_an_old_pair_stays_whole_when_one_of_the_new_cannot_be_moved(pair, monkeypatch):
    folder, write = pair
    assert write()[0] == 0
    before = {name: data + b"old" for name, data in contents(folder).items()}
    for name, data in before.items():
        (folder / name).write_bytes(data)
    replace = Path.replace

    def fail(self, target):
        if Path(target) == folder / "good.side.png" and self.parent.name != ".orthoedge-old.tmp":
            raise PermissionError(1, "Operation not permitted", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    code, record, _ = write()
    assert (code, record["overlay"], record["side_by_side"]) == (1, None, None)
    assert contents(folder) == before


def test_a_disk_that_is_full_for_the_second_picture_leaves_the_old_pair(pair, small_files):
    folder, write = pair
    assert write()[0] == 0
    before = contents(folder)
    sizes = sorted(len(data) for data in before.values())
    with small_files(sizes[0] + 1):
        code, record, errors = write()
    assert (code, record["overlay"]) == (1, None)
    assert "File too large" in errors
    assert contents(folder) == before


def test_a_picture_that_cannot_be_drawn_costs_neither_finding_nor_run(pair, monkeypatch):
    from orthoedge.runtime.overlay import overlay

    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(overlay, "side_by_side", fail)
    folder, write = pair
    code, record, errors = write()
    assert (code, record["error"], record["overlay"]) == (1, None, None)
    assert "picture not written: not enough memory" in errors
    assert contents(folder) == {}


def test_a_report_in_two_forms_is_written_whole(tmp_path):
    import msgspec

    from orthoedge.benchmarks.schema import write_both

    class Record(msgspec.Struct):
        value: int

    write_both(Record(1), "one", tmp_path, "report", "<p>one")
    before = contents(tmp_path)
    (tmp_path / "report.md").unlink()
    (tmp_path / "report.md").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        write_both(Record(2), "two", tmp_path, "report", "<p>two")
    shutil.rmtree(tmp_path / "report.md")
    assert contents(tmp_path) == {n: d for n, d in before.items() if n != "report.md"}
    write_both(Record(3), "three", tmp_path, "report")
    assert sorted(contents(tmp_path)) == ["report.json", "report.md"]  # no page of record 1


def test_a_private_key_without_its_public_one_is_not_left(tmp_path, monkeypatch, capsys):
    pytest.importorskip("cryptography")
    from orthoedge.runtime import atomic_files

    write = atomic_files.write_atomic

    def fail(path, data):
        if path.suffix == ".pub":
            raise OSError(28, "No space left on device", str(path))
        write(path, data)

    monkeypatch.setattr(atomic_files, "write_atomic", fail)
    assert main(["bundle", "keys", str(tmp_path / "maker")]) == 2
    assert re.search(r"maker\.pub: No space left", capsys.readouterr().err)
    assert list(tmp_path.iterdir()) == []
