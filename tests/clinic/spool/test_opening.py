"""Processes of a node that start at once share one new index."""

import sqlite3
import subprocess
import threading

from orthoedge.clinic.spool.index import open_database
from orthoedge.runtime.subprocesses import code_command

OPEN = """
from pathlib import Path
from orthoedge.clinic.spool.index import open_database
print("ready", flush=True)
sys.stdin.readline()
for number in range(40):
    path = Path(sys.argv[1]) / f"{number}.sqlite"
    open_database(path).close()
"""


def test_several_processes_may_open_a_new_index_at_once(tmp_path):
    command = [*code_command(OPEN), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, **pipes, text=True) for _ in range(4)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            errors = process.communicate(timeout=120)[1]
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_a_new_index_is_opened_once_another_process_has_changed_its_mode(tmp_path):
    path = tmp_path / "index.sqlite"
    first = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    first.execute("BEGIN IMMEDIATE")  # SQLite refuses the change at once, without its timeout
    release = threading.Timer(0.3, first.execute, ["COMMIT"])
    release.start()
    try:
        second = open_database(path)
        assert second.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        second.close()
    finally:
        release.join()
        first.close()
