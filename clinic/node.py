"""The node: starts receiver, worker and sender, restarts what ends, and ends all on SIGTERM."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.clinic.child import UNUSABLE
from orthoedge.clinic.file_system import check_folder, check_local, only_one
from orthoedge.clinic.log import Log
from orthoedge.clinic.operations.notify import Notifier
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.settings_file import read_settings
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.subprocesses import module_command

if TYPE_CHECKING:
    from http.server import HTTPServer

__all__ = ["is_running", "serve"]

_LOCK = "node.lock"
_POLL_S = 0.2
_STEADY_S = 60.0  # a process that ran for so long is started again at once
_LONGEST_S = 60.0
_GRACE_S = 25.0  # from SIGTERM to SIGKILL; systemd's own is 90


class _Process:
    """One process of the node, and when it is to be started again."""

    def __init__(self, role: str, arguments: Sequence[Path], log: Log) -> None:
        self.role = role
        command = [*module_command("orthoedge.clinic.child"), role]
        self._command = [*command, *map(str, arguments)]
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._started_at = 0.0
        self._start_at = 0.0

    def step(self) -> None:
        """Start the process if it is due.

        Raises:
            EngineError: it cannot run with these settings.
        """
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                self._started_at = now
                try:
                    self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)
                except OSError as error:  # no memory for it at the moment
                    self._start_later(error.strerror or type(error).__name__)
            return
        status = self._process.poll()
        if status is None:
            return
        self._forget()
        if status == UNUSABLE and not self._failures:  # later, the others go on without it
            raise EngineError(f"the {self.role} cannot run; its own line above says why")
        self._start_later(signal.Signals(-status).name if status < 0 else f"exit status {status}")

    def _start_later(self, reason: str) -> None:
        now = time.monotonic()
        self._failures = 1 if now - self._started_at > _STEADY_S else self._failures + 1
        delay = min(2.0 ** min(self._failures - 1, 9) - 1, _LONGEST_S)  # 0, 1, 3, 7 … seconds
        self._start_at = now + delay
        self._log("process ended, will be started again", role=self.role, reason=reason, in_s=delay)

    def kill_if_silent(self, alive: Path, limit_s: float) -> None:
        """Kill the process if it has given no sign of life for `limit_s` seconds."""
        if self._process is None or time.monotonic() - self._started_at < limit_s:
            return
        with contextlib.suppress(OSError):  # no such file yet, or a disk that fails
            silent = time.time() - alive.stat().st_mtime
            if silent > limit_s:
                self._log("process is silent, killed", role=self.role, seconds=round(silent))
                self._process.kill()
                alive.touch()

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Wait for its end, and kill it at the deadline."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._log("process did not end, killed", role=self.role)
            self._process.kill()
            self._process.wait()
        self._forget()

    def _forget(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None


def serve(settings_file: Path, watched: Path | None = None) -> int:
    """Run a node until SIGTERM or SIGINT; return 0 after a clean end.

    Args:
        settings_file: of the node.
        watched: a folder whose files are answered, in place of what comes by DICOM.

    Raises:
        ConfigError: the settings cannot be used, or the spool is on a network file system.
        DataError: another node uses the spool.
        EngineError: a process cannot run with these settings; its reason is on stderr.
        OSError: the spool cannot be made, the folder of the history cannot be written, or the port
            of the metrics is taken.
    """
    settings = read_settings(settings_file)
    check_local("the spool", settings.folder)
    if settings.history.folder:
        check_folder("the history", Path(settings.history.folder))
    log = Log("node")
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _only_node(settings):
        arguments = [settings_file.absolute()]
        first = (
            _Process("receiver", arguments, log)
            if watched is None
            else _Process("watcher", [*arguments, watched.absolute()], log)
        )
        processes = [first, *(_Process(role, arguments, log) for role in ("worker", "sender"))]
        supervisor = Notifier(settings, watched is None)
        log("started", spool=settings.spool, destinations=len(settings.destinations))
        metrics = _serve_metrics(settings)
        try:
            while not stop.wait(_POLL_S):
                supervisor.step()
                for process in processes:
                    process.step()
                    if process.role == "worker":
                        process.kill_if_silent(settings.worker_alive, settings.engine.silent_s)
        finally:
            supervisor.stopping()
            deadline = time.monotonic() + _GRACE_S
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(deadline)
            if metrics is not None:
                metrics.shutdown()
                metrics.server_close()
    log("ended")
    return 0


def _serve_metrics(settings: NodeSettings) -> HTTPServer | None:
    if not settings.operations.metrics_port:
        return None
    from orthoedge.clinic.operations.metrics_server import serve_metrics

    return serve_metrics(settings)


def is_running(folder: Path) -> bool:
    """Return whether a node uses the spool in `folder`."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def _only_node(settings: NodeSettings) -> Iterator[None]:
    """Hold the lock of the spool."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    what = f"{settings.spool}: another node uses this spool"
    with only_one(settings.folder / _LOCK, what, "end it, or give this one a spool of its own"):
        yield
