"""The same work done by others: by hand with ONNX Runtime, or by a program of its own.

A peer's program lives in an environment of its own, so nothing of it is imported here. It is called
with the path of a .npy file, uint8 (H, W), after its own arguments; loads whatever it needs; prints
`ready`; and then, for each line it reads, runs one prediction and prints its milliseconds.
"""

from __future__ import annotations

import math
import os
import selectors
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.baselines.minimal_pipeline import BareSquare
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.runtime.preprocess import Pixels
from orthoedge.targets.portable.engine import load_onnxruntime

_LOADING_S, _ANSWER_S = 300.0, 60.0
_SHOWN = 80  # characters of an answer that makes no sense


class Peer:
    """A peer's program, running.

    Args:
        name: for messages.
        command: as typed into a shell; no shell runs it.
        image: the .npy file.

    Raises:
        EngineError: the program cannot be started, ends, says something else, or says nothing.
    """

    def __init__(self, name: str, command: str, image: Path) -> None:
        self._name = name
        self._unread = b""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        try:
            self._process = subprocess.Popen(
                [*shlex.split(command), str(image)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
            )
        except (OSError, ValueError) as error:
            self._said.close()
            reason = getattr(error, "strerror", None) or error
            raise EngineError(f"peer {name}: cannot be started: {reason}") from error
        try:
            answer = self._answer(_LOADING_S)
            if answer != "ready":
                raise EngineError(f"peer {name}: said {answer[:_SHOWN]!r} in place of 'ready'")
        except BaseException:
            self.close()
            raise

    def predict(self) -> float:
        """Milliseconds of one prediction, as the program counts them.

        Raises:
            EngineError: the program ended, or its answer is no time.
        """
        try:
            self._pipe(self._process.stdin).write(b"\n")
            self._pipe(self._process.stdin).flush()
        except BrokenPipeError:
            raise self._ended() from None
        answer = self._answer(_ANSWER_S)
        try:
            milliseconds = float(answer)
        except ValueError:
            milliseconds = math.nan
        if not 0 < milliseconds < math.inf:
            raise EngineError(
                f"peer {self._name}: said {answer[:_SHOWN]!r} in place of milliseconds"
            )
        return milliseconds

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            try:
                self._pipe(stream).close()
            except BrokenPipeError:  # what was not read is of no interest any more
                continue
        self._said.close()

    def _answer(self, seconds: float) -> str:
        """The next line; waits no longer than `seconds`."""
        stream = self._pipe(self._process.stdout)
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise EngineError(f"peer {self._name}: no answer in {seconds:.0f} s")
                found = os.read(stream.fileno(), 1 << 16)
                if not found:
                    raise self._ended()
                self._unread += found
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace").strip()

    def _ended(self) -> EngineError:
        status = self._process.wait()
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        reason = f": {lines[-1].strip()}" if lines else ""
        return EngineError(f"peer {self._name}: ended with status {status}{reason}")

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
        assert stream is not None  # both are asked for above
        return stream


class HandWritten:
    """What one writes with ONNX Runtime in an afternoon: prepare, run, softmax, argmax, map.

    Args:
        bundle: whose INT8 file is run.
        pixels: uint8 (H, W), see `BareSquare`.
        threads: intra-op threads.

    Raises:
        MissingDependency: ONNX Runtime is not installed.
    """

    def __init__(self, bundle: Bundle, pixels: Pixels, threads: int) -> None:
        try:
            onnxruntime = load_onnxruntime()
        except ImportError as error:
            raise MissingDependency("onnxruntime", "portable", "ONNX Runtime by hand") from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            bundle.model("int8"), options, providers=["CPUExecutionProvider"]
        )
        size = bundle.manifest.graph.size
        self._image = np.zeros((1, 1, size, size), np.uint8)
        self._prepare = BareSquare(bundle.manifest.preprocess, pixels, self._image[0, 0])
        self._pixels = pixels

    def __call__(self) -> tuple[int, float, npt.NDArray[np.float32]]:
        """Index of the label, its probability, and its map, float32 (h, w)."""
        self._prepare(self._pixels)
        logits, maps = self._session.run(["logits", "saliency_map"], {"image": self._image})
        exponent = np.exp(logits[0] - logits[0].max())
        label = int(exponent.argmax())
        return label, float(exponent[label] / exponent.sum()), maps[0, label]


class Stopwatch:
    """A clock that stands still but in what is timed, so that a program's own figure fits in."""

    def __init__(self) -> None:
        self.nanoseconds = 0

    def read(self) -> int:
        """Nanoseconds counted so far."""
        return self.nanoseconds

    def timed(self, call: Callable[[], object]) -> Callable[[], None]:
        """The call, timed here."""

        def run() -> None:
            begun = time.perf_counter_ns()
            call()
            self.nanoseconds += time.perf_counter_ns() - begun

        return run

    def told(self, call: Callable[[], float]) -> Callable[[], None]:
        """The call, which returns milliseconds of its own."""

        def run() -> None:
            self.nanoseconds += round(call() * 1e6)

        return run
