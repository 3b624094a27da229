"""External baselines: the same work by ONNX Runtime calls, or by another program.

An external program runs in an environment of its own, so nothing of it is imported here. It is
called with its own arguments and the path of a .npy file, uint8 (H, W); loads whatever it needs;
prints `ready`; and then, for each line it reads, runs one prediction and prints its milliseconds.
"""

from __future__ import annotations

import math
import os
import selectors
import shlex
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.baselines.minimal_pipeline import MinimalPreprocess
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.runtime.preprocess import Pixels
from orthoedge.targets.portable.engine import load_onnxruntime

_LOADING_S, _RESPONSE_S = 300.0, 60.0
_SHOWN = 80  # characters of an unexpected line


class ExternalProgram:
    """A running external program.

    Args:
        name: for error messages.
        command: command line; split like a shell does, but run without one.
        image: the .npy file.

    Raises:
        EngineError: the program cannot be started, ends, or prints anything but `ready` in time.
    """

    def __init__(self, name: str, command: str, image: Path) -> None:
        self._name = name
        self._unread = b""
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the program
        try:
            self._process = subprocess.Popen(
                [*shlex.split(command), str(image)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
            )
        except (OSError, ValueError) as error:
            self._stderr.close()
            reason = getattr(error, "strerror", None) or error
            raise EngineError(f"external program {name}: cannot be started: {reason}") from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        try:
            line = self._read_line(_LOADING_S)
            if line != "ready":
                raise EngineError(
                    f"external program {name}: expected 'ready', got {line[:_SHOWN]!r}"
                )
        except BaseException:
            self.close()
            raise

    def predict(self) -> float:
        """Milliseconds of one prediction, as the program counts them.

        Raises:
            EngineError: the program ended, or its output is not a positive number.
        """
        try:
            self._stdin.write(b"\n")
            self._stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None
        line = self._read_line(_RESPONSE_S)
        try:
            milliseconds = float(line)
        except ValueError:
            milliseconds = math.nan
        if not 0 < milliseconds < math.inf:
            raise EngineError(
                f"external program {self._name}: expected milliseconds, got {line[:_SHOWN]!r}"
            )
        return milliseconds

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        with suppress(BrokenPipeError):  # a request that the program has not read
            self._stdin.close()
        self._stdout.close()
        self._stderr.close()

    def _read_line(self, seconds: float) -> str:
        """The next line of output; waits no longer than `seconds`."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdout, selectors.EVENT_READ)
            while b"\n" not in self._unread:
                if not selector.select(max(0.0, until - time.monotonic())):
                    raise EngineError(
                        f"external program {self._name}: no response within {seconds:.0f} s"
                    )
                received = os.read(self._stdout.fileno(), 1 << 16)
                if not received:
                    raise self._ended()
                self._unread += received
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode(errors="replace").strip()

    def _ended(self) -> EngineError:
        status = self._process.wait()
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        reason = f": {lines[-1].strip()}" if lines else ""
        return EngineError(f"external program {self._name}: ended with status {status}{reason}")


class OnnxRuntimeByHand:
    """A straightforward pipeline of ONNX Runtime calls: prepare, run, softmax, argmax, map.

    Args:
        bundle: for its preprocessing.
        model: ONNX file.
        images: uint8 (H, W) each, see `MinimalPreprocess`.
        threads: intra-op threads.

    Raises:
        MissingDependency: ONNX Runtime is not installed.
    """

    def __init__(
        self, bundle: Bundle, model: bytes, images: Sequence[Pixels], threads: int
    ) -> None:
        try:
            onnxruntime = load_onnxruntime()
        except ImportError as error:
            raise MissingDependency("onnxruntime", "portable", "ONNX Runtime by hand") from error
        self.version = str(onnxruntime.__version__)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        size = bundle.manifest.graph.size
        self._image = np.zeros((1, 1, size, size), np.uint8)
        self._images = [
            (MinimalPreprocess(bundle.manifest.preprocess, pixels, self._image[0, 0]), pixels)
            for pixels in images
        ]

    def __call__(self, number: int) -> tuple[int, float, npt.NDArray[np.float32]]:
        """Index of the label, its probability, and its map, float32 (h, w)."""
        prepare, pixels = self._images[number % len(self._images)]
        prepare(pixels)
        logits, maps = self._session.run(["logits", "saliency_map"], {"image": self._image})
        exponent = np.exp(logits[0] - logits[0].max())
        label = int(exponent.argmax())
        return label, float(exponent[label] / exponent.sum()), maps[0, label]
