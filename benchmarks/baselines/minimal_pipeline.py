"""Minimal reference implementations, as fast as Python allows: the pipeline is compared with them.

They check and decide nothing, and reuse whatever can be reused: buffers, the letterbox geometry,
the object that applies CLAHE.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import ModelKey
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels, Preprocess
from orthoedge.targets.x86.openvino_module import load_openvino

_LOGITS = "logits"


class MinimalPreprocess:
    """Halve, resize and apply CLAHE to radiographs of one shape and one collimated field.

    Args:
        settings: the bundle's preprocessing, with CLAHE after resizing.
        pixels: uint8 (H, W), the only radiograph that the field is searched on.
        out: uint8 (S, S) that every call fills.

    Raises:
        EngineError: the settings ask for a step that is not implemented here.
    """

    def __init__(self, settings: Preprocess, pixels: Pixels, out: Pixels) -> None:
        expected, placement = settings.prepare(pixels)
        x0, y0, x1, y1 = placement.field
        self._field = (slice(y0, y1), slice(x0, x1))
        left, top, right, bottom = placement.content
        self._fitted = (right - left, bottom - top)
        self._halvings = []
        width, height = x1 - x0, y1 - y0
        while max(width, height) >= 2 * settings.size and min(width, height) >= 2:
            width, height = width // 2, height // 2
            self._halvings.append((width, height, np.empty((height, width), np.uint8)))
        self._enlarged = np.zeros((settings.size, settings.size), np.uint8)
        self._content = self._enlarged[top:bottom, left:right]
        self._clahe = cv2.createCLAHE(
            settings.clahe_clip, (settings.clahe_tiles, settings.clahe_tiles)
        )
        self._out = out
        self(pixels)
        if not np.array_equal(out, expected):
            raise EngineError(
                "the minimal calls apply CLAHE last, which is not the bundle's preprocessing"
            )

    def __call__(self, pixels: Pixels) -> None:
        """Fill `out` from uint8 (H, W)."""
        part = pixels[self._field]
        for width, height, half in self._halvings:
            even = part[: 2 * height, : 2 * width]
            part = cv2.resize(even, (width, height), half, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
        cv2.resize(part, self._fitted, self._content, interpolation=cv2.INTER_LINEAR)
        self._clahe.apply(self._enlarged, self._out)


class MinimalInference:
    """One request of a compiled OpenVINO model, its input and output memory reused.

    Args:
        compiled: what `compile_model` returned.
        size: side S of its input, in pixels.
    """

    def __init__(self, compiled: Any, size: int) -> None:
        self.image = np.zeros((1, 1, size, size), np.uint8)
        self._request = compiled.create_infer_request()
        self._request.set_input_tensor(load_openvino().Tensor(self.image, shared_memory=True))
        self.logits = self._request.get_tensor(_LOGITS).data
        """float32 (1, C); overwritten by the next call."""

    def __call__(self) -> None:
        """Infer the content of `image`."""
        self._request.infer({}, True, False)  # True: without a copy of the outputs


class MinimalPipeline:
    """Radiographs in memory, 8 bits, to logits, map and features."""

    def __init__(self, pipeline: Pipeline, images: Sequence[Pixels]) -> None:
        manifest = pipeline.bundle.manifest
        self.infer = MinimalInference(native_model(pipeline), manifest.graph.size)
        model_input = self.infer.image[0, 0]
        self._images = [
            (MinimalPreprocess(manifest.preprocess, pixels, model_input), pixels)
            for pixels in images
        ]

    def __call__(self, number: int) -> None:
        """Prepare and infer the radiograph of that number, modulo their count."""
        prepare, pixels = self._images[number % len(self._images)]
        prepare(pixels)
        self.infer()


def native_model(pipeline: Pipeline) -> Any:
    """The compiled model of an x86 pipeline; a second one would bring threads of its own."""
    return pipeline.engine.native


def logits_only(bundle: Bundle, key: ModelKey) -> bytes:
    """Cut a bundle's model down to its logits, without map and features.

    Raises:
        MissingDependency: onnx is not installed.
    """
    try:
        import onnx
        from onnx.utils import Extractor
    except ImportError as error:
        raise MissingDependency("onnx", "compress", "cutting a model down") from error
    whole = onnx.load_model_from_string(bundle.model(key))
    cut = Extractor(whole).extract_model(["image"], [_LOGITS])
    return bytes(cut.SerializeToString())


def read_dicom_minimal(path: Path) -> Pixels:
    """Read an uncompressed 16-bit grey DICOM file with a window as uint8 (H, W), unchecked."""
    import pydicom

    dataset = pydicom.dcmread(path)
    stored = np.frombuffer(dataset.PixelData, np.uint16).reshape(dataset.Rows, dataset.Columns)
    centre, width = float(dataset.WindowCenter), float(dataset.WindowWidth)
    scale = 255 / (width - 1)
    low = centre - 0.5 - (width - 1) / 2
    # OpenCV's fastest way to scale, shift and clip; a table of 65,536 values takes longer.
    least, most, _, _ = cv2.minMaxLoc(stored)
    ends = (least - low) * scale, (most - low) * scale
    return cv2.normalize(stored, None, *ends, cv2.NORM_MINMAX, cv2.CV_8U)  # type: ignore[call-overload,no-any-return]
