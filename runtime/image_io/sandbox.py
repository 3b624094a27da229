"""Reading files in a child process: a decoder that crashes, hangs or swells takes nothing along.

Damaged files make C decoders do all three. The child is kept, since it takes longer to start than
most files take to read, and replaced when it has to be ended.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from orthoedge.runtime.errors import ConfigError, EngineError
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.image_io.sandbox_client import Request, SandboxProcess


@dataclass(frozen=True)
class SandboxLimits:
    """Limits of reading one file."""

    time_s: float = 10.0
    """Wall-clock seconds; the largest JPEG 2000 detectors take some on a small processor."""
    memory_mb: float = 512.0
    """MiB of address space beyond what the idle child has."""


class SandboxedReader:
    """Reads as `read_image`, in child processes: one for each thread that reads at the time.

    A pipeline takes it in place of the reading in its own process:
    `open_pipeline(reader=SandboxedReader())`. Linux only.

    Args:
        limits: of each file.

    Raises:
        RecipeError: a limit is not above 0.
        EngineError: not on this system.
    """

    def __init__(self, limits: SandboxLimits | None = None) -> None:
        self._limits = limits or SandboxLimits()
        for name in ("time_s", "memory_mb"):
            value = getattr(self._limits, name)
            if not value > 0:
                raise ConfigError(f"{name}: expected a number above 0, got {value}")
        if sys.platform != "linux":
            raise EngineError(f"reading in a child process needs Linux, this is {sys.platform}")
        self._idle = deque([SandboxProcess()])  # now, so that no file's deadline pays for it

    def __call__(self, source: Path | str | bytes, *, memory_mb: float | None = None) -> Radiograph:
        """Read one file.

        Args:
            source: a path, or the content of the file.
            memory_mb: see `read_image`; the lower of this and the reader's own holds.

        Raises:
            InputError: as `read_image`; or the decoder crashed, or went beyond a limit.
            MissingDependency: as `read_image`.
            EngineError: the child does not start.
        """
        limit = min(self._limits.memory_mb, memory_mb or self._limits.memory_mb)
        content = source if isinstance(source, bytes) else b""
        path = b"" if isinstance(source, bytes) else os.fsencode(os.path.abspath(source))  # noqa: PTH100
        try:
            child = self._idle.pop()
        except IndexError:
            child = SandboxProcess()
        try:
            request = Request(path, len(content), self._limits.time_s, limit)
            return child.ask(request, content)
        finally:
            if child.idle:
                self._idle.append(child)
            else:
                child.end()

    def close(self) -> None:
        """End the children; a later call starts another."""
        while self._idle:
            self._idle.pop().end()

    def __enter__(self) -> SandboxedReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_idle"):  # the constructor may have refused
            self.close()
