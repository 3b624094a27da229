"""The ONNX Runtime engine."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from types import ModuleType

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.engine import (
    MASK,
    Deadline,
    Outputs,
    Precision,
    ProcessGuard,
    check_images,
    output_names,
)
from orthoedge.runtime.errors import DeadlineExceeded, EngineError
from orthoedge.targets.cpu import available_cores

_STAGE = "inference"


class OnnxRuntimeEngine:
    """One model in ONNX Runtime's CPU provider; safe to share between threads.

    The last bits of its outputs depend on the number of threads, which share the sums; so the
    number is part of the provenance.

    Args:
        model: an ONNX file with the interface of a bundle's models, its hash already checked.
        size: side S of its input, in pixels.
        precision: precision of the file.
        threads: inference threads; None for one per core.
        model_sha256: of the model, where it is known; else it is computed.

    Raises:
        EngineError: ONNX Runtime refused the model.
    """

    name = "onnxruntime"
    isa = "not reported"
    notes: tuple[str, ...] = ()

    def __init__(
        self,
        model: bytes,
        size: int,
        precision: Precision,
        threads: int | None = None,
        model_sha256: str = "",
    ) -> None:
        ort = load_onnxruntime()
        self.version: str = ort.__version__
        self.precision = precision
        self.model_sha256 = model_sha256 or sha256(model)
        self._size = size
        self._process = ProcessGuard()
        options = ort.SessionOptions()
        options.log_severity_level = 3
        self.threads = options.intra_op_num_threads = threads or available_cores()
        try:
            self.native = ort.InferenceSession(
                model,
                options,
                providers=["CPUExecutionProvider"],
                # This optimizer would round the biases of an INT8 file, which are float32 there.
                disabled_optimizers=["WeightBiasQuantization"],
            )
        # ONNX Runtime's own exceptions share no base but Exception.
        except Exception as error:
            line = str(error).strip().splitlines()[0]
            raise EngineError(f"onnxruntime refused the {precision} model: {line}") from error
        self._process.protect(self)
        has_mask = any(output.name == MASK for output in self.native.get_outputs())
        self._outputs = list(output_names(has_mask))

    def run(self, images: npt.NDArray[np.uint8], timeout_s: float | None = None) -> Outputs:
        """Run uint8 (N, 1, S, S); cancelled at the end of the layer that overruns `timeout_s`."""
        self._process.check()
        check_images(images, self._size)
        try:
            if timeout_s is not None:
                return self._run_in_time(images, timeout_s)
            return Outputs(*self.native.run(self._outputs, {"image": images}))
        except DeadlineExceeded:
            raise
        except Exception as error:
            raise EngineError(f"onnxruntime failed: {str(error).splitlines()[0]}") from error

    def _run_in_time(self, images: npt.NDArray[np.uint8], timeout_s: float) -> Outputs:
        ort = load_onnxruntime()
        deadline = Deadline(timeout_s * 1e3, time.perf_counter())
        deadline.check(_STAGE)
        options = ort.RunOptions()
        options.log_severity_level = 4  # otherwise it prints that it was cancelled
        clock = threading.Timer(deadline.left_s(), setattr, (options, "terminate", True))
        clock.start()
        try:
            outputs = Outputs(*self.native.run(self._outputs, {"image": images}, options))
        except Exception as error:
            if options.terminate:
                raise deadline.exceeded(_STAGE) from error
            raise
        finally:
            clock.cancel()
            clock.join()
        deadline.check(_STAGE)
        return outputs


_NAME, _SWITCH = "onnxruntime", "ORT_DISABLE_TELEMETRY"
_lock = threading.Lock()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()  # a thread that held it does not exist in a forked child


os.register_at_fork(after_in_child=_renew_lock)


def load_onnxruntime() -> ModuleType:
    """Import `onnxruntime` with its telemetry off, or return it if it is imported already.

    Official builds from 1.29 on keep a telemetry database and send it, from the import on; only
    this environment variable, set before loading, prevents it.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    with _lock:
        if _NAME in sys.modules:
            return sys.modules[_NAME]
        before = os.environ.get(_SWITCH)
        os.environ[_SWITCH] = "1"
        try:
            return importlib.import_module(_NAME)
        finally:
            del os.environ[_SWITCH]
            if before is not None:
                os.environ[_SWITCH] = before
