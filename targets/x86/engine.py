"""The OpenVINO engine."""

from __future__ import annotations

import importlib.metadata
import os
import re
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.engine import Outputs, Precision, check_images
from orthoedge.runtime.errors import EngineError

_OUTPUTS = ("logits", "saliency_map", "feature_vector")
# Widest first, in OpenVINO's spelling: it says avx2 for AVX2 with VNNI too, and sse42 for SSE4.1.
_ISA = ("avx512_amx", "avx512", "avx2", "avx", "sse42")


class OpenVinoEngine:
    """One model compiled for the CPU; safe to share between threads.

    Args:
        model: an ONNX file with the common face, its hash already checked.
        size: side S of its input, in pixels.
        precision: what the file is said to be; checked against the compiled kernels.
        threads: inference threads; None for one per core.

    Raises:
        EngineError: OpenVINO refused the model.
    """

    name = "openvino"

    def __init__(
        self, model: bytes, size: int, precision: Precision, threads: int | None = None
    ) -> None:
        # The engine's telemetry would write a file in the home folder and reach for the network.
        os.environ.setdefault("OPENVINO_TELEMETRY_OPT_OUT", "1")
        import openvino as ov

        self.version = importlib.metadata.version("openvino")
        self._size = size
        # Without the hint "fp32" runs in bf16 on processors that have it.
        config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        if threads is not None:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            core = ov.Core()
            self._compiled = core.compile_model(core.read_model(model), "CPU", config)
        except RuntimeError as error:
            raise EngineError(f"openvino refused the {precision} model: {_last(error)}") from error
        self.isa, integer = _what_runs(self._compiled)
        if integer != (precision == "int8"):
            raise EngineError(
                f"openvino compiled the {precision} model with"
                f"{'' if integer else 'out'} integer kernels: the file is not what it says"
            )
        self.precision = precision
        self._local = threading.local()

    def run(self, images: npt.NDArray[np.uint8]) -> Outputs:
        """Run uint8 (N, 1, S, S); one inference request per calling thread."""
        check_images(images, self._size)
        request = getattr(self._local, "request", None)
        if request is None:
            request = self._local.request = self._compiled.create_infer_request()
        try:
            request.infer([np.ascontiguousarray(images)], share_inputs=True)
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {_last(error)}") from error
        return Outputs(*(request.get_tensor(name).data.copy() for name in _OUTPUTS))


def _last(error: RuntimeError) -> str:
    """The last line says what is wrong; those before it are places in OpenVINO's source."""
    return str(error).strip().splitlines()[-1]


def _what_runs(compiled: Any) -> tuple[str, bool]:
    """Widest instruction set among the convolutions, and whether any computes in integers.

    They are where the time goes, and the only kernels that ONEDNN_MAX_CPU_ISA is sure to cap:
    OpenVINO's own reductions use whatever the processor has.
    """
    kernels = []
    for operation in compiled.get_runtime_model().get_ops():
        info = operation.get_rt_info()
        if "primitiveType" in info and info["layerType"].astype(str) == "Convolution":
            kernels.append(str(info["primitiveType"].astype(str)).lower())
    isa = next((isa for isa in _ISA if any(isa in kernel for kernel in kernels)), "not reported")
    # A kernel's name ends in the precision it computes in, such as jit_avx2_1x1_i8.
    return isa, any(re.search(r"_[iu]8$", kernel) for kernel in kernels)
