"""Starts: each round is a process of its own, timed from its creation to its first line."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.subprocesses import code_command

_FIRST_FINDING = """
import sys
from pathlib import Path
from orthoedge.runtime.bundles import read_bundle
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import open_engine
bundle, radiograph, threads, target, precision, folder = sys.argv[1:]
bundle, cache = read_bundle(Path(bundle)), Path(folder) if folder else None
pipeline = Pipeline(bundle, open_engine(bundle, target, precision, int(threads), cache))
print(pipeline(radiograph).label, flush=True)
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
        self._command = [*code_command(code), *map(str, arguments)]
        self._environment = environment

    def run(self) -> tuple[float, str]:
        """Milliseconds from the process's creation to its first line, and its last line.

        Raises:
            EngineError: the program failed.
        """
        # Not through communicate(): it leaves out what readline() has read ahead.
        with tempfile.TemporaryFile() as said:
            begun = time.perf_counter()
            process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
                errors="replace",
            )
            with process:
                assert process.stdout is not None  # it was asked for
                first = process.stdout.readline()
                taken = time.perf_counter() - begun
                printed = first + process.stdout.read()
            if process.returncode != 0 or not printed:
                said.seek(0)
                lines = said.read().decode(errors="replace").strip().splitlines()
                reason = (lines or [f"exit status {process.returncode}"])[-1]
                raise EngineError(f"a fresh Python process failed: {reason}")
        return taken * 1e3, printed.splitlines()[-1]

    def to_first_line(self) -> float:
        """The first part of `run`."""
        return self.run()[0]

    def last_line(self) -> str:
        """The second part of `run`."""
        return self.run()[1]


@contextmanager
def installed() -> Iterator[dict[str, str]]:
    """Variables of a process that finds its bytecode compiled, as after an installation.

    The first start fills the folder, so it belongs to no measurement.
    """
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        yield environment | {"PYTHONPYCACHEPREFIX": bytecode}


@contextmanager
def first_findings(
    bundle: Path, radiograph: Path, threads: int, target: str = "x86", precision: str = "auto"
) -> Iterator[dict[str, Child]]:
    """Processes that open a pipeline and print the label of one radiograph.

    One compiles its model; the other, where the target can keep what it compiled, finds it in a
    cache, which its first start fills. Each prints its peak resident memory last, in KiB as Linux
    counts it.
    """
    with installed() as environment, tempfile.TemporaryDirectory() as cache:
        arguments = (bundle, radiograph, threads, target, precision)
        children = {"compiled": Child(_FIRST_FINDING, environment, *arguments, "")}
        if target != "portable":
            children["from the cache"] = Child(_FIRST_FINDING, environment, *arguments, cache)
        yield children
