"""Workers: subprocesses for work that may crash or hang, which return one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

import msgspec

from orthoedge.runtime.errors import EngineError, MissingDependency, OrthoEdgeError
from orthoedge.runtime.settings import plain

_MISSING = 3  # exit status of a worker that lacks a package


def run_worker(
    module: str,
    arguments: list[str],
    what: str,
    timeout_s: float,
    stdin: bytes = b"",
    environment: Mapping[str, str] | None = None,
) -> bytes:
    """Run a module in a subprocess and return the line that it prints.

    Args:
        module: a module of orthoedge that calls `serve_result` when it is run.
        arguments: of the command line.
        what: the task, as the subject of an error message.
        timeout_s: seconds after which it is killed.
        stdin: its standard input.
        environment: its environment variables; None for those of this process.

    Raises:
        MissingDependency: the worker lacks a package.
        EngineError: the worker's own error, the signal that ended it, or a timeout.
    """
    command = [*module_command(module), *arguments]
    try:
        worker = subprocess.run(
            command, input=stdin, env=environment, capture_output=True, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{what} did not end within {plain(timeout_s)} s") from error
    output = worker.stdout.splitlines() or [b""]
    if worker.returncode == _MISSING:
        raise MissingDependency(*msgspec.json.decode(output[-1], type=tuple[str, str, str]))
    if worker.returncode < 0:
        name = signal.Signals(-worker.returncode).name
        raise EngineError(f"{what} crashed: the process was ended by {name}")
    if worker.returncode != 0:
        errors = worker.stderr.decode(errors="replace").strip().splitlines()
        raise EngineError(f"{what}: {errors[-1] if errors else f'exit status {worker.returncode}'}")
    return output[-1]


def serve_result(work: Callable[[], bytes]) -> None:
    """Print the line that `work` returns, or exit with its error; called by the worker.

    Libraries print to the same stream, so `run_worker` takes the last line.
    """
    try:
        line = work()
    except MissingDependency as error:
        sys.stdout.buffer.write(b"\n" + msgspec.json.encode(error.args) + b"\n")
        sys.exit(_MISSING)
    except OrthoEdgeError as error:
        sys.exit(str(error))
    sys.stdout.buffer.write(b"\n" + line + b"\n")


def code_command(code: str) -> list[str]:
    """Return the command line that runs `code`; arguments may be appended."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"]


def module_command(name: str) -> list[str]:
    """Return the command line that runs a module as `python -m name` does."""
    return code_command(
        f"from runpy import run_module; run_module({name!r}, run_name='__main__', alter_sys=True)"
    )
