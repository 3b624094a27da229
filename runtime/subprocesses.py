"""Work that may crash or hang, done in a child process that answers in one line."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable

import msgspec

from orthoedge.runtime.errors import EngineError, MissingDependency, OrthoEdgeError

_MISSING = 3  # the child's exit status when a package is not installed


def run_worker(
    module: str, arguments: list[str], what: str, timeout_s: float, given: bytes = b""
) -> bytes:
    """Run a module in a process of its own and return the line that it answers.

    Args:
        module: one of ours that calls `serve_result` when it is run.
        arguments: of the command line.
        what: what the child does, for the error.
        timeout_s: seconds after which it is killed.
        given: what it finds on its standard input.

    Raises:
        MissingDependency: the child says that a package is not installed.
        EngineError: the child's own reason, or the signal that ended it, or that it hung.
    """
    command = [*module_command(module), *arguments]
    try:
        ended = subprocess.run(
            command, input=given, capture_output=True, check=False, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{what} gave no answer in {timeout_s:g} s") from error
    lines = ended.stdout.splitlines() or [b""]
    if ended.returncode == _MISSING:
        raise MissingDependency(*msgspec.json.decode(lines[-1], type=tuple[str, str, str]))
    if ended.returncode < 0:
        name = signal.Signals(-ended.returncode).name
        raise EngineError(f"{what} crashed: the process was ended by {name}")
    if ended.returncode != 0:
        said = ended.stderr.decode(errors="replace").strip().splitlines()
        raise EngineError(f"{what}: {said[-1] if said else f'exit status {ended.returncode}'}")
    return lines[-1]


def serve_result(work: Callable[[], bytes]) -> None:
    """The child's part: print the one line that `work` returns, or end with its error.

    Libraries print to the same stream, so the parent takes the last line.
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
    """The command line that runs `code`; arguments may be appended."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"]


def module_command(name: str) -> list[str]:
    """The command line that runs a module as `python -m name` does; arguments may be appended."""
    return code_command(
        f"from runpy import run_module; run_module({name!r}, run_name='__main__', alter_sys=True)"
    )
