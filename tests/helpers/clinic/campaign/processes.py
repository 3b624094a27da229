"""The processes of a node without their supervisor, which waits longer after each end."""

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path

from orthoedge.runtime.subprocesses import module_command

ROLES = ("receiver", "worker", "sender")


class Process:
    """One process of a node, started again after each kill."""

    def __init__(self, role, file):
        self._command = [*module_command("orthoedge.clinic.child"), role, str(file)]
        self.log = []
        self._start()

    def _start(self):
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, args=(self._process, self.lines))
        self._reader.start()

    @property
    def pid(self):
        return self._process.pid

    def _read(self, process, lines):
        for line in process.stderr:
            lines.append(line)
            self.log.append(line)

    def kill(self):
        assert self._process.poll() is None, "it ended by itself:\n" + "".join(self.lines[-5:])
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdin.close()
        self._process.stderr.close()

    def kill_child(self, module):
        """Kill the process that it has started for a module; whether there was one."""
        listed = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        for child in listed:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                    os.kill(int(child), signal.SIGKILL)
                    return True
        return False

    def kill_and_restart(self):
        self.kill()
        self._start()


@contextlib.contextmanager
def processes(file, roles=ROLES):
    started = {}
    try:
        for role in roles:
            started[role] = Process(role, file)
        yield started
    finally:
        for process in started.values():
            process.kill()
