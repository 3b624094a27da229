"""`predict --jobs`: what one process says, said by several; nothing hangs, nothing stays behind."""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.cli.commands.predict import workers
from orthoedge.cli.commands.predict.workers import Settings, Task
from orthoedge.cli.main import main
from orthoedge.runtime import errors
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.cpu import available_cores
from tests.helpers.spawned_workers import workers_of

ROOT = Path(__file__).parents[4]
# Where the package is not installed, this is how a process that is started finds it.
IMPORTABLE = os.pathsep.join([str(ROOT / ".typing"), *filter(None, [os.environ.get("PYTHONPATH")])])
WAIT = 120


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)


@pytest.fixture
def folder(radiograph, tmp_path):
    """Two files of one name, one that is bad, and one with damage that does no harm."""
    folder = tmp_path / "in"
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        shutil.copy(radiograph, folder / name / "good.png")
    (folder / "bad.png").write_text("no image")
    png = radiograph.read_bytes()
    comment = b"\0\0\0\5tEXta\0bcd" + b"\0\0\0\0"  # a wrong checksum, where it does no harm
    (folder / "odd.png").write_bytes(png[:33] + comment + png[33:])
    return folder


def records(text):
    found = [json.loads(line) for line in text.splitlines()]
    for record in found:
        record.pop("timing_ms", None)
    return found


def test_two_processes_say_and_draw_what_one_does(bundle, folder, tmp_path, capfd):
    said, drawn = [], []
    for count in ("1", "2"):
        pictures = tmp_path / "pictures"
        arguments = ["predict", str(folder), *bundle, "--json", "--threads", "1"]
        arguments += ["--overlay", str(pictures)]
        assert main([*arguments, "--jobs", count]) == 1
        captured = capfd.readouterr()
        said.append((records(captured.out), captured.err))
        drawn.append({path.name: path.read_bytes() for path in pictures.iterdir()})
        shutil.rmtree(pictures)
    assert said[0] == said[1]
    assert drawn[0] == drawn[1]
    assert [Path(record["path"]).name for record in said[0][0]] == [
        *("good.png", "good.png", "bad.png", "odd.png")
    ]
    assert said[0][0][3]["notes"] == said[0][0][0]["notes"]
    assert len(drawn[0]) == 6


def test_files_that_are_read_ahead_say_what_each_alone_says(bundle, folder, capfd):
    (folder / "b" / "gone.png").symlink_to("nowhere")
    options = [*bundle, "--json", "--threads", "1"]
    assert main(["predict", str(folder), *options]) == 1
    captured = capfd.readouterr()
    ahead = records(captured.out)
    assert main(["predict", str(folder), *options, "--jobs", "2"]) == 1
    in_processes = capfd.readouterr()
    assert (records(in_processes.out), in_processes.err) == (ahead, captured.err)
    assert [bool(record["error"]) for record in ahead] == [False, True, False, True, False]
    for record in ahead:
        main(["predict", record["path"], *options])
        (alone,) = records(capfd.readouterr().out)
        if record["error"] is None:
            assert alone == record
        else:
            assert alone["error"]


def test_the_engine_has_all_cores_but_the_one_that_reads_ahead(bundle, folder, tmp_path, capfd):
    def threads(*options):
        main(["predict", *options, *bundle, "--json"])
        return {
            record["provenance"]["threads"]
            for record in records(capfd.readouterr().out)
            if record["error"] is None
        }

    cores = available_cores()
    file, pictures = str(folder / "odd.png"), str(tmp_path / "pictures")
    assert threads(str(folder)) == threads(file, file) == {max(1, cores - 1)}
    assert threads(file) == threads(str(folder), "--overlay", pictures) == {cores}
    assert threads(str(folder), "--deadline-ms", "60000") == {cores}


def test_an_engine_that_cannot_open_is_one_line_and_exit_2(bundle, folder, only_line):
    arguments = ["predict", str(folder), *bundle, "--jobs", "2"]
    assert main([*arguments, "--cache", str(folder / "bad.png")]) == 2
    assert "compile cache" in only_line()


@contextlib.contextmanager
def running(bundle, radiograph, tmp_path, *options):
    """A command at work on more files than it can print into a pipe that nobody reads."""
    for number in range(900):
        os.link(radiograph, tmp_path / f"{number}.png")
    code = "import sys; from orthoedge.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "predict", str(tmp_path), *bundle, "--json"]
    process = subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Who started the tests in the background of a shell made them deaf to it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["error"] is None
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def assert_gone(pids):
    end = time.monotonic() + WAIT
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < end, "a process stayed behind"
        time.sleep(0.05)


def test_a_worker_that_is_killed_ends_it_with_one_line(bundle, radiograph, tmp_path):
    with running(bundle, radiograph, tmp_path, "--jobs", "2") as process:
        workers = workers_of(process)
        os.kill(workers[0], signal.SIGKILL)
        _, error = process.communicate(timeout=WAIT)
        assert process.returncode == 2
        assert error.count("\n") == 1
        assert "a process died" in error
        assert_gone(workers)


class Stopped(Settings):
    """Of a process that stops as it opens its engine, and never goes on."""

    def open(self):
        os.kill(os.getpid(), signal.SIGSTOP)


def test_a_worker_that_hangs_is_not_waited_for_for_ever(monkeypatch):
    monkeypatch.setattr(workers, "_GRACE_S", 0.5)
    values = {field.name: None for field in dataclasses.fields(Settings)}
    settings = Stopped(**values | {"deadline_ms": 100.0})
    tasks = [Task(Path(name), name) for name in "abcd"]
    others = set(multiprocessing.active_children())
    with pytest.raises(EngineError, match=r"a process hangs; a and .* no answer after 0\.7 s"):
        next(workers.predict_in_processes(settings, tasks, 2))
    assert set(multiprocessing.active_children()) == others


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_ends_all_at_once(bundle, radiograph, tmp_path, jobs):
    with running(bundle, radiograph, tmp_path, "--jobs", jobs) as process:
        workers = workers_of(process)
        assert len(workers) == (0 if jobs == "1" else 2)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, error = process.communicate(timeout=WAIT)
        assert process.returncode == 130
        assert error == "orthoedge: interrupted\n"
        assert_gone(workers)


def test_workers_end_with_a_parent_that_is_killed(bundle, radiograph, tmp_path):
    with running(bundle, radiograph, tmp_path, "--jobs", "2") as process:
        workers = workers_of(process)
        assert workers
        process.kill()
        process.wait()
        assert_gone(workers)


@pytest.mark.parametrize("name", errors.__all__)
def test_every_error_can_come_from_another_process(name):
    words = ("package", "extra", "purpose")
    kind = getattr(errors, name)
    error = kind(*words) if kind is errors.MissingDependency else kind("what was wrong")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (kind, str(error))


@pytest.mark.parametrize(
    "setting",
    [("--jobs", "0"), ("--threads", "x"), ("--deadline-ms", "-1"), ("--memory-mb", "nan")],
)
def test_a_setting_out_of_range_is_refused(setting, radiograph, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["predict", str(radiograph), *setting])
    assert ended.value.code == 2
    assert f"argument {setting[0]}: expected a" in capsys.readouterr().err


def test_limits_cost_the_file_and_not_the_rest(bundle, radiograph, tmp_path, capsys):
    deep = np.random.default_rng(0).integers(0, 2**16, (1500, 1000), dtype=np.uint16)
    cv2.imwrite(str(tmp_path / "deep.png"), deep)
    arguments = ["predict", str(tmp_path), *bundle, "--json"]
    assert main([*arguments, "--memory-mb", "12"]) == 1
    errors_found = [record["error"] for record in records(capsys.readouterr().out)]
    assert "limit 12" in errors_found[0]
    assert errors_found[1] is None
    assert main([*arguments, "--deadline-ms", "0.001"]) == 1
    errors_found = [record["error"] for record in records(capsys.readouterr().out)]
    assert all("overran the deadline of 0.001 ms" in error for error in errors_found)


def test_a_cache_keeps_the_compiled_model(bundle, radiograph, tmp_path, capsys):
    arguments = ["predict", str(radiograph), *bundle, "--threads", "1"]
    for _ in range(2):
        assert main([*arguments, "--cache", str(tmp_path / "cache")]) == 0
        assert list((tmp_path / "cache").glob("*.openvino"))
