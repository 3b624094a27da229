"""The ONNX Runtime engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.engine import Outputs, Precision, check_images
from orthoedge.runtime.errors import EngineError

_OUTPUTS = ["logits", "saliency_map", "feature_vector"]


class OnnxRuntimeEngine:
    """One model in ONNX Runtime's CPU provider; safe to share between threads.

    Args:
        model: an ONNX file with the common face, its hash already checked.
        size: side S of its input, in pixels.
        precision: what the file is.
        threads: inference threads; None for one per core.

    Raises:
        EngineError: ONNX Runtime refused the model.
    """

    name = "onnxruntime"
    isa = "not reported"

    def __init__(
        self, model: bytes, size: int, precision: Precision, threads: int | None = None
    ) -> None:
        import onnxruntime as ort

        self.version: str = ort.__version__
        self.precision = precision
        self._size = size
        options = ort.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(
                model,
                options,
                providers=["CPUExecutionProvider"],
                # It would round the biases of an INT8 file, which the file says are float32.
                disabled_optimizers=["WeightBiasQuantization"],
            )
        # ONNX Runtime's own exceptions share no base but Exception.
        except Exception as error:
            first = str(error).strip().splitlines()[0]
            message = f"onnxruntime refused the {precision} model: {first}"
            raise EngineError(message) from error

    def run(self, images: npt.NDArray[np.uint8]) -> Outputs:
        """Run uint8 (N, 1, S, S)."""
        check_images(images, self._size)
        try:
            return Outputs(*self._session.run(_OUTPUTS, {"image": images}))
        except Exception as error:
            raise EngineError(f"onnxruntime failed: {str(error).splitlines()[0]}") from error
