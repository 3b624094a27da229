"""Starts: each round is a process of its own, timed from its creation to its first line."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orthoedge.runtime.errors import EngineError

_FIRST_FINDING = """
import sys
from pathlib import Path
from orthoedge.targets import open_pipeline
cache = Path(sys.argv[4]) if sys.argv[4] else None
finding = open_pipeline(sys.argv[1], threads=int(sys.argv[3]), cache=cache)(sys.argv[2])
print(finding.label, flush=True)
lines = Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
"""
IMPORT_BASE = "import numpy, cv2\nprint(flush=True)"
IMPORT_OURS = "import numpy, cv2, orthoedge.runtime.pipeline\nprint(flush=True)"


class Child:
    """A program for Python that says something once it is ready; every call starts it anew.

    Args:
        code: the program.
        environment: its variables.
        arguments: its arguments.
    """

    def __init__(self, code: str, environment: dict[str, str], *arguments: object) -> None:
        self._command = [sys.executable, "-c", code, *map(str, arguments)]
        self._environment = environment

    def to_first_line(self) -> float:
        """Milliseconds from the process's creation to its first line.

        Raises:
            EngineError: the program failed.
        """
        begun = time.perf_counter()
        with self._start() as process:
            first = process.stdout.readline()  # type: ignore[union-attr]
            taken = time.perf_counter() - begun
            self._finish(process, first)
        return taken * 1e3

    def last_line(self) -> str:
        """What the program printed last.

        Raises:
            EngineError: the program failed.
        """
        with self._start() as process:
            return self._finish(process, "").splitlines()[-1]

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self._command,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def _finish(self, process: subprocess.Popen[str], first: str) -> str:
        """Everything it printed, once it has ended."""
        rest, said = process.communicate()
        if process.returncode != 0 or not first + rest:
            reason = (said.strip().splitlines() or [f"exit status {process.returncode}"])[-1]
            raise EngineError(f"a fresh Python process failed: {reason}")
        return first + rest


@contextmanager
def installed() -> Iterator[dict[str, str]]:
    """Variables of a process that finds its bytecode compiled, as after an installation.

    The first start fills the folder, so it belongs to no measurement.
    """
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        yield environment | {"PYTHONPYCACHEPREFIX": bytecode}


@contextmanager
def first_findings(bundle: Path, radiograph: Path, threads: int) -> Iterator[dict[str, Child]]:
    """Processes that open the default pipeline and print the label of one radiograph.

    One compiles its model, the other finds it in a cache, which its first start fills. Each prints
    its peak resident memory last, in KiB as Linux counts it.
    """
    with installed() as environment, tempfile.TemporaryDirectory() as cache:
        arguments = (bundle, radiograph, threads)
        yield {
            "compiled": Child(_FIRST_FINDING, environment, *arguments, ""),
            "from the cache": Child(_FIRST_FINDING, environment, *arguments, cache),
        }
