"""A Dask scheduler and its workers, each a process of its own that can be killed."""

import contextlib
import os
import signal
import subprocess
import sys

from tests.helpers.clinic.peers import free_port, wait_for_port


class Cluster:
    """A scheduler at a fixed port, and workers that are started one by one.

    Args:
        folder: for the logs and for what workers write.
        environment: of every process.
    """

    def __init__(self, folder, environment=None):
        self._folder = folder
        self._environment = {**os.environ, **(environment or {})}
        self._port = free_port()
        self._processes = {}
        self.address = f"tcp://127.0.0.1:{self._port}"

    def start_scheduler(self):
        place = ("--host", "127.0.0.1", "--port", str(self._port))
        self._start("scheduler", *place, "--no-dashboard")
        wait_for_port(self._port)

    def start_worker(self, name, **environment):
        """One thread; a nanny starts it again when it is killed."""
        where = ("--local-directory", str(self._folder / name), "--no-dashboard")
        words = (self.address, "--nthreads", "1", "--memory-limit", "0", *where)
        self._start(name, *words, verb="worker", **environment)

    def _start(self, name, *words, verb=None, **environment):
        command = [sys.executable, "-m", "dask", verb or name, *words]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                env=self._environment | environment,
                start_new_session=True,
            )

    def kill(self, name):
        """Kill a process and its children."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(60)

    def pid(self, name):
        """Of the process that was started; a worker's own is its child."""
        return self._processes[name].pid

    def kill_all(self):
        for name in list(self._processes):
            self.kill(name)


@contextlib.contextmanager
def cluster(folder, environment=None):
    """A running scheduler without workers."""
    running = Cluster(folder, environment)
    try:
        running.start_scheduler()
        yield running
    finally:
        running.kill_all()
