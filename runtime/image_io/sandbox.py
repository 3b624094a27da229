"""Sandboxed reading of untrusted files, in a subprocess with limits of time and memory.

A damaged file can make a C decoder crash, hang or exhaust memory. The subprocess is reused, since
it takes longer to start than most files take to read, and replaced when it had to be killed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections import deque
from pathlib import Path

from orthoedge.runtime.errors import ConfigError, EngineError, InputError
from orthoedge.runtime.image_io.radiograph import Radiograph, path_of
from orthoedge.runtime.image_io.sandbox_client import Request, SandboxProcess
from orthoedge.runtime.settings import LONGEST_S, is_above_zero

_MOST_MB = 2.0**40  # in bytes within what the system's limits hold


@dataclasses.dataclass(frozen=True)
class SandboxLimits:
    """Limits of reading one file."""

    time_s: float = 10.0
    """Wall-clock seconds; the largest JPEG 2000 images take several on a small processor."""
    memory_mb: float = 512.0
    """MiB of address space beyond that of the idle subprocess."""


class SandboxedReader:
    """A reader like `read_image` that decodes in subprocesses, one for each concurrent thread.

    A pipeline can use it in place of `read_image`: `open_pipeline(reader=SandboxedReader())`.
    Linux only. A child process forked from this one starts subprocesses of its own.

    Args:
        limits: of each file.

    Raises:
        ConfigError: a limit is not above 0.
        EngineError: the system is not Linux.
    """

    def __init__(self, limits: SandboxLimits | None = None) -> None:
        self._limits = limits or SandboxLimits()
        for name, value in dataclasses.asdict(self._limits).items():
            if not is_above_zero(value):
                raise ConfigError(f"{name}: expected a number above 0, got {value}")
        if sys.platform != "linux":
            raise EngineError(f"sandboxed reading needs Linux, this is {sys.platform}")
        self._idle = deque([SandboxProcess()])  # started now, outside the deadline of any file

    def __call__(self, source: Path | str | bytes, *, memory_mb: float | None = None) -> Radiograph:
        """Read one file.

        Args:
            source: a path, or the content of the file.
            memory_mb: see `read_image`; the lower of this and the reader's own limit applies.

        Raises:
            InputError: as `read_image`; or the decoder crashed or exceeded a limit.
            MissingDependency: as `read_image`.
            EngineError: the subprocess does not start.
        """
        limit = min(self._limits.memory_mb, memory_mb or self._limits.memory_mb, _MOST_MB)
        seconds = min(self._limits.time_s, LONGEST_S)
        content = source if isinstance(source, bytes) else b""
        try:
            path = b"" if isinstance(source, bytes) else os.fsencode(path_of(source).absolute())
        except OSError as error:  # the working folder was removed
            raise InputError.unreadable(error) from error
        process = self._take_idle() or SandboxProcess()
        try:
            return process.read(Request(path, len(content), seconds, limit), content)
        finally:
            if process.idle:
                self._idle.append(process)
            else:
                process.kill()

    def _take_idle(self) -> SandboxProcess | None:
        while self._idle:
            with contextlib.suppress(IndexError):  # another thread took the last one
                process = self._idle.pop()
                if not process.abandoned:
                    return process
        return None

    def close(self) -> None:
        """End the subprocesses; a later call starts a new one."""
        while (process := self._take_idle()) is not None:
            process.kill()

    def __enter__(self) -> SandboxedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):  # the constructor may have raised
            self.close()
