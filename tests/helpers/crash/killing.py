"""Work done in forks that are killed with SIGKILL at random points.

The process that forks has imported everything and started no thread, so that a fork costs
milliseconds and holds no lock that nobody will open.
"""

from __future__ import annotations

import os
import random
import resource
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from orthoedge.runtime.errors import OrthoEdgeError

_WRITES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir")
_NEAR_S = 0.003  # about as long as a small file's write and sync take


@dataclass(frozen=True)
class Strike:
    """When to kill: so long after the start, or after the so manieth thing done to a file."""

    after_s: float
    event: int = 0


@dataclass(frozen=True)
class Ended:
    """How a fork ended."""

    code: int
    """Exit code; -9 where it was killed."""
    said: str
    """Its stdout and stderr."""
    events: int
    seconds: float


def draw(rng: random.Random, whole: Ended) -> Strike:
    """A point of `whole`, an undisturbed run: any moment, or one near a write."""
    if rng.random() < 0.5:
        return Strike(rng.uniform(0, whole.seconds))
    return Strike(rng.uniform(0, _NEAR_S), rng.randint(1, max(1, whole.events)))


def forked(
    work: Callable[[], object], watched: Path, strike: Strike | None = None, limit: int = -1
) -> Ended:
    """Do `work` in a fork and wait for its end.

    Args:
        work: returns an exit code, None for 0; what it raises on purpose becomes 2 and one line.
        watched: files opened for writing, renamed or removed below it are events.
        strike: when to kill the fork and all that it started; None lets it end.
        limit: bytes that no file may grow beyond; -1: none.
    """
    seen, told = os.pipe()
    said, out = os.pipe()
    begun = time.monotonic()
    child = os.fork()
    if child == 0:
        _work(work, watched, told, out, limit)
    os.close(told)
    os.close(out)
    events, words = 0, b""
    until = None if strike is None or strike.event else begun + strike.after_s
    while True:
        left = None if until is None else max(0.0, until - time.monotonic())
        ready = select.select([seen, said], [], [], left)[0]
        if not ready:
            _kill(child)
            until = None
        if said in ready:
            words += os.read(said, 65536)
        if seen in ready:
            some = os.read(seen, 4096)
            if not some:
                break
            events += len(some)
            if strike is not None and 0 < strike.event <= events and until is None:
                until = time.monotonic() + strike.after_s
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    _kill(child)  # what it started
    while some := os.read(said, 65536):
        words += some
    os.close(seen)
    os.close(said)
    return Ended(status, words.decode(errors="replace"), events, time.monotonic() - begun)


def _kill(child: int) -> None:
    for end in (os.killpg, os.kill):
        try:
            end(child, signal.SIGKILL)
        except ProcessLookupError:  # no group yet, or it has ended
            continue


def _work(work: Callable[[], object], watched: Path, told: int, out: int, limit: int) -> None:
    os.setpgid(0, 0)
    if limit >= 0:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    os.dup2(out, 1)
    os.dup2(out, 2)
    _tell_of_writes(str(watched), told)
    code = 1
    try:
        code = int(work() or 0)  # type: ignore[call-overload]
    except OrthoEdgeError as error:
        print(f"orthoedge: {error}", file=sys.stderr)
        code = 2
    except OSError as error:
        print(f"orthoedge: {error.filename}: {error.strerror}", file=sys.stderr)
        code = 2
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _tell_of_writes(watched: str, told: int) -> None:
    def hook(event: str, details: tuple[object, ...]) -> None:
        if event == "open":
            mode, flags = details[1], details[2]
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
            writes = writes or (isinstance(mode, str) and not mode.startswith("r"))
        else:
            writes = event in _WRITES
        if writes and str(details[0]).startswith(watched):
            os.write(told, b".")

    sys.addaudithook(hook)
