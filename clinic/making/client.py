"""The worker's side of the process that makes results."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import numpy as np

from orthoedge.clinic.destination import ResultKind
from orthoedge.clinic.making.messages import (
    LENGTH,
    Failure,
    HeaderFacts,
    MadeObject,
    Request,
    Response,
    encode,
)
from orthoedge.clinic.results.answer import Answer
from orthoedge.clinic.spool.records import SpooledImage
from orthoedge.runtime.errors import ConfigError, InputError, MissingDependency, OrthoEdgeError
from orthoedge.runtime.subprocesses import module_command

__all__ = ["ResultMaker"]

_WORK_S = 60.0  # of the processor for one request; a slow one has to be enough
_LONGEST_S = 240.0  # less than the worker may be silent (`engine.silent_s`)
_LOOK_S = 1.0
_NOTHING = np.empty((0, 0), np.uint8)


class ResultMaker:
    """Reads headers and makes results in a process, which is reused, and replaced once it ended.

    Args:
        memory_mb: MiB that one request may take.
    """

    def __init__(self, memory_mb: float) -> None:
        self._command = [*module_command("orthoedge.clinic.making.process"), str(memory_mb)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, so that the first image does not wait for it.

        Raises:
            OSError: the system does not start one.
        """
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # libraries may print a value of the image
            start_new_session=True,  # Ctrl-C reaches the worker only, which ends this process
            # Else glibc keeps the memory of large pictures for later.
            env={"MALLOC_MMAP_THRESHOLD_": "1048576", **os.environ},
        )

    def check(self, kinds: Iterable[ResultKind], language: str) -> None:
        """Check that all is installed that images and these kinds of results take.

        Raises:
            ConfigError: no font for the language.
            MissingDependency: a decoder, highdicom or typst is not installed.
            OrthoEdgeError: the process ended, or needed more time or memory than it may.
        """
        self._ask(Request(kinds=tuple(kinds), language=language), _NOTHING)

    def read_header(self, folder: Path, image: SpooledImage) -> HeaderFacts:
        """Read the header of an image in the spool `folder`.

        Raises:
            InputError: no DICOM, or of another SOP instance than its sender announced.
            MissingDependency: pydicom is not installed.
            OrthoEdgeError: the process ended, or needed more time or memory than it may.
            OSError: the disk fails.
        """
        response = self._ask(Request(str(folder), image), _NOTHING)
        assert response.facts is not None
        return response.facts

    def make(
        self, folder: Path, image: SpooledImage, kinds: Iterable[ResultKind], answer: Answer
    ) -> tuple[MadeObject, ...]:
        """Make results and write their files into the spool.

        Args:
            folder: of the spool.
            image: in it.
            kinds: which results; what has nothing to show is left out.
            answer: the finding and the radiograph.

        Raises:
            InputError, MissingDependency, OrthoEdgeError: as `read_header`.
            OSError: the disk is full or fails.
        """
        pixels = np.ascontiguousarray(answer.radiograph.pixels)
        request = Request(
            str(folder),
            image,
            tuple(kinds),
            answer.finding,
            dataclasses.replace(answer.radiograph, pixels=_NOTHING),
            (pixels.shape[0], pixels.shape[1]),
            answer.received,
            answer.language,
            answer.paper,
            answer.alert_labels,
            answer.history,
        )
        return self._ask(request, pixels).objects

    def _ask(self, request: Request, pixels: np.ndarray) -> Response:
        self.start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        limit = _TimeLimit(process)
        try:
            process.stdin.write(encode(request))
            process.stdin.write(pixels.data)
            process.stdin.flush()
            length = process.stdout.read(LENGTH.size)
            if len(length) < LENGTH.size:
                raise BrokenPipeError
            data = process.stdout.read(*LENGTH.unpack(length))
            response = msgspec.msgpack.decode(data, type=Response)
        except (BrokenPipeError, msgspec.DecodeError) as error:
            self.close()
            raise OrthoEdgeError(limit.exceeded or _ended(process.returncode)) from error
        finally:
            limit.end()
        if response.failure is not None:
            raise _error(response.failure)
        return response

    def close(self) -> None:
        """End the process; a later request starts another one."""
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what it had not read yet
                    pipe.close()
        process.kill()
        process.wait()


class _TimeLimit:
    """Kills a process that takes too long for a request.

    Its time on the processor counts. On a machine that is busy with other things a request takes
    many times as long as it should, and an image must not become a dead letter for that.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._end = threading.Event()
        self.exceeded = ""
        """Which limit the process was killed for; empty if it was not."""
        threading.Thread(target=self._watch, daemon=True).start()

    def end(self) -> None:
        """The request has been answered, or the process has ended."""
        self._end.set()

    def _watch(self) -> None:
        began, worked = time.monotonic(), _processor_s(self._process.pid)
        while not self._end.wait(_LOOK_S):
            if _processor_s(self._process.pid) - worked > _WORK_S:
                limit = f"{_WORK_S:.0f} s of the processor"
            elif time.monotonic() - began > _LONGEST_S:
                limit = f"{_LONGEST_S:.0f} s"
            else:
                continue
            self.exceeded = f"reading its header or making its results took over {limit}"
            self._process.kill()
            return


def _processor_s(pid: int) -> float:
    """Seconds that a process has had the processor; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _ended(status: int) -> str:
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return f"the process that reads its header and makes its results ended by {how}"


def _error(failure: Failure) -> Exception:
    if failure.kind == "input":
        return InputError(*failure.text)
    if failure.kind == "config":
        return ConfigError(*failure.text)
    if failure.kind == "missing":
        return MissingDependency(*failure.text)
    if failure.kind == "disk":
        return OSError(failure.number, *failure.text)
    return OrthoEdgeError(*failure.text)
