"""Start-up: fresh Python processes, timed from their creation to their first line of output."""

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
from orthoedge.targets.x86.compile import installed_cache

_FIRST_FINDING = """
import sys
from pathlib import Path
from orthoedge.runtime.bundles.bundle import read_bundle
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


class PythonProcess:
    """A Python program that prints a line once it is ready; each run is a fresh process."""

    def __init__(self, code: str, environment: dict[str, str], *arguments: object) -> None:
        self._command = [*code_command(code), *map(str, arguments)]
        self._environment = environment

    def run(self) -> tuple[float, str]:
        """Milliseconds from the process's creation to its first line, and its last line.

        Raises:
            EngineError: the program failed.
        """
        # communicate() would lose what readline() has read ahead.
        with tempfile.TemporaryFile() as errors:
            begun = time.perf_counter()
            process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
            )
            with process:
                assert process.stdout is not None  # opened above
                first = process.stdout.readline()
                taken = time.perf_counter() - begun
                printed = first + process.stdout.read()
            if process.returncode != 0 or not printed:
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                reason = (lines or [f"exit status {process.returncode}"])[-1]
                raise EngineError(f"a fresh Python process failed: {reason}")
        return taken * 1e3, printed.splitlines()[-1]

    def last_line(self) -> str:
        """The last line that the program prints."""
        return self.run()[1]


@contextmanager
def installed() -> Iterator[dict[str, str]]:
    """Environment of a process that finds its bytecode compiled, as after an installation.

    The first start fills the cache, so it is never measured.
    """
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        yield environment | {"PYTHONPYCACHEPREFIX": bytecode}


@contextmanager
def first_finding_processes(
    bundle: Path, radiograph: Path, threads: int, target: str = "x86", precision: str = "auto"
) -> Iterator[dict[str, PythonProcess]]:
    """Processes that open a pipeline and print the label of one radiograph.

    One compiles its model. The other, on a target with a compile cache, reads it from a cache that
    its first start fills. Each prints its peak resident memory last, in KiB as Linux counts it.

    Raises:
        EngineError: no start would compile, since this installation keeps the compiled model.
    """
    if target == "x86" and (kept := installed_cache()) is not None:
        raise EngineError(f"no start would compile its model: {kept} keeps it; remove that folder")
    with installed() as environment, tempfile.TemporaryDirectory() as cache:
        arguments = (bundle, radiograph, threads, target, precision)
        children = {"compiled": PythonProcess(_FIRST_FINDING, environment, *arguments, "")}
        if target != "portable":
            children["from the cache"] = PythonProcess(
                _FIRST_FINDING, environment, *arguments, cache
            )
        yield children
