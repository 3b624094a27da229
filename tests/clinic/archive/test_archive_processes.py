"""`archive run` as a command, and its processes when they are killed."""

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.archive.store import Store
from tests.helpers.archives.rows import record_of, rows_of, untimed, write_pictures
from tests.helpers.spawned_workers import workers_of


def arguments(source, bundle, store, *more):
    engine = ("--bundle", str(bundle.path), "--target", "portable")
    return ["archive", "run", str(source), "--out", str(store), *engine, *more]


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    write_pictures(folder, 120)
    (folder / "bad.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def expected(many, small_bundle, tmp_path_factory):
    """The rows of a run in which nothing happened."""
    store = tmp_path_factory.mktemp("store")
    # Rows do not depend on where a file is decoded, and these take less time.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[3] / ".typing"))
        assert main(arguments(many, small_bundle, store, "--jobs", "1", "--no-isolate")) == 1
    return untimed(rows_of(store))


@contextlib.contextmanager
def running(words):
    code = "import sys; from orthoedge.cli.main import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words], stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()


def await_parts(store, count):
    deadline = time.monotonic() + 120
    while len(list(store.rglob("*.parquet"))) < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_command_that_was_killed_goes_on_where_it_was(many, expected, small_bundle, tmp_path):
    words = arguments(many, small_bundle, tmp_path, "--jobs", "2", "--no-isolate")
    with running(words) as process:
        await_parts(tmp_path, 2)
        process.kill()
    there = rows_of(tmp_path)
    assert there
    assert main(words) in (0, 1)
    rows = rows_of(tmp_path)
    assert untimed(rows) == expected
    kept = {row["input"]: row for row in rows}
    assert all(kept[row["input"]] == row for row in there)  # done once, times and all


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_no_row(many, expected, small_bundle, tmp_path):
    words = arguments(many, small_bundle, tmp_path, "--jobs", "2", "--no-isolate")
    with running(words) as process:
        await_parts(tmp_path, 1)
        for worker in workers_of(process):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        assert process.wait(120) == 1  # the bad file
    assert untimed(rows_of(tmp_path)) == expected


def go_on(counts, store, words):
    """The line about what is kept."""
    (folder,) = store.iterdir()
    command = shlex.join(("orthoedge", *words))
    return (
        f"at least {counts} radiographs have a row in {folder}, which stays; go on with: {command}"
    )


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_command_that_is_ended_says_what_it_keeps(many, small_bundle, tmp_path, number, code):
    words = arguments(many, small_bundle, tmp_path, "--jobs", "1", "--no-isolate")
    with running(words) as process:
        await_parts(tmp_path, 1)
        process.send_signal(number)
        said = process.stderr.read().decode().splitlines()
        assert process.wait(120) == code
        workers = workers_of(process)
    (line,) = [line for line in said if "have a row" in line]
    done = line.split()[2]
    assert line == go_on(f"{done} of 121", tmp_path, words)
    assert int(done) <= len(rows_of(tmp_path)) < 121
    assert workers == []


def test_a_full_disk_says_what_is_kept(
    many, small_bundle, tmp_path, small_files, capfd, monkeypatch
):
    store = tmp_path / "a store"
    words = arguments(many, small_bundle, store, "--jobs", "1", "--no-isolate")
    monkeypatch.setattr(sys, "argv", ["orthoedge", *words, "--retry-errors"])
    with small_files(4000):  # of the worker too
        assert main([*words, "--retry-errors"]) == 2
    *_, kept, reason = capfd.readouterr().err.splitlines()
    assert kept == go_on("0 of 121", store, words)
    assert reason.endswith(".parquet: File too large")


def test_a_file_without_an_answer_is_exit_code_1_until_it_has_one(
    many, small_bundle, tmp_path, capfd
):
    good, bad = sorted(many.rglob("*.png"))[0], tmp_path / "bad.png"
    bad.write_text("no picture")
    listed, store = tmp_path / "list.txt", tmp_path / "store"
    listed.write_text(f"{good}\n{bad}\n")
    words = arguments(listed, small_bundle, store, "--jobs", "1", "--no-isolate")
    for done in ("2 done now, 1 of these without", "0 done now, 0 of these without"):
        assert main(words) == 1
        said = capfd.readouterr().out
        assert said.startswith(f"2 radiographs; {done} an answer; rows in ")
        assert "\n1 rows of the store have no answer; --retry-errors does them again" in said
    bad.write_bytes(good.read_bytes())
    assert main([*words, "--retry-errors"]) == 0


def test_a_second_command_on_the_same_store_is_refused(many, small_bundle, tmp_path, capfd):
    words = arguments(many, small_bundle, tmp_path, "--precision", "fp32")
    store = Store.of_bundle(tmp_path, small_bundle.sha256)
    with store.opened(record_of(small_bundle)):
        assert main(words) == 2
    said = capfd.readouterr().err
    who = f"(process {os.getpid()} on {socket.gethostname()}); wait for it or stop it"
    busy = f"{store.folder}: another archive run works on it"
    assert said.splitlines()[-1] == f"orthoedge: {busy} {who}"
    assert rows_of(tmp_path) == []


def test_the_command_says_what_it_did(many, small_bundle, tmp_path, capfd):
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, sorted(many.rglob("*.png"))[:3])))
    words = arguments(listed, small_bundle, tmp_path / "store", "--jobs", "1", "--no-isolate")
    assert main(words) == 0
    said = capfd.readouterr()
    assert said.out.startswith("3 radiographs; 3 done now, 0 of these without an answer; rows in ")
    assert "note: tests\n0 of 3\n" in said.err
    assert main(words) == 0
    assert capfd.readouterr().out.startswith("3 radiographs; 0 done now")
    record = json.loads(next((tmp_path / "store").glob("*/run.json")).read_bytes())
    assert record["schema"] == "orthoedge-archive-1"
    assert record["precision"] == "fp32"  # what auto stood for
