"""`archive run` as a command, and its processes when they are killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from orthoedge.cli.main import main
from tests.helpers.archives.rows import rows_of, untimed, write_pictures
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
        [sys.executable, "-c", code, *words], stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


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
