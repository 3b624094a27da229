"""The OpenVINO engine."""

from __future__ import annotations

import math
import re
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

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
    join_outputs,
    output_names,
)
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.settings import EngineOptions
from orthoedge.targets.x86.compile import cache_failed, obtain_compiled
from orthoedge.targets.x86.openvino_module import load_openvino, openvino_version

_STAGE = "inference"
# Widest first, in OpenVINO's spelling: avx2 includes AVX2 with VNNI, and sse42 means SSE4.1.
_ISA = ("avx512_amx", "avx512", "avx2", "avx", "sse42")


@dataclass(frozen=True, eq=False)
class _Slot:
    """One inference request and the memory it reads and writes."""

    request: Any
    image: npt.NDArray[np.uint8]
    """(1, 1, S, S)"""
    outputs: tuple[npt.NDArray[np.float32], ...]
    """Views that the next inference overwrites."""

    def copied(self) -> Outputs:
        """The outputs of the inference that has ended."""
        return Outputs(*(output.copy() for output in self.outputs))


class _Inference:
    """An inference in a slot, which returns to the idle ones once that has ended."""

    def __init__(self, slot: _Slot, idle: deque[_Slot]) -> None:
        self._slot: _Slot | None = slot
        self._idle = idle
        slot.request.start_async({}, None)

    def result(self) -> tuple[Outputs, float]:
        """Wait for the outputs; see `Inference`."""
        assert self._slot is not None
        try:
            self._slot.request.wait()
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {_last(error)}") from error
        outputs = self._slot.copied(), float(self._slot.request.latency)
        self._free()
        return outputs

    def abandon(self) -> None:
        """Cancel it; see `Inference`."""
        if self._slot is not None:
            self._slot.request.cancel()
            with suppress(RuntimeError):  # so the extension module reports a cancelled one
                self._slot.request.wait()
            self._free()

    def _free(self) -> None:
        if self._slot is not None:
            self._idle.append(self._slot)
            self._slot = None


class OpenVinoEngine:
    """One model compiled for the CPU, for one image at a time; safe to share between threads.

    The model is compiled for the shape of one image, and batches run one by one: one image is
    faster that way, and its outputs do not depend on the other images of a batch.

    Args:
        model: an ONNX file with the interface of a bundle's models, its hash already checked.
        size: side S of its input, in pixels.
        precision: precision of the file; checked against the compiled kernels.
        options: threads, cache folder and streams.
        model_sha256: of the model, where it is known; else it is computed.

    Raises:
        EngineError: OpenVINO refused the model, or the cache cannot be written.
    """

    name = "openvino"

    def __init__(
        self,
        model: bytes,
        size: int,
        precision: Precision,
        options: EngineOptions,
        model_sha256: str = "",
    ) -> None:
        self.version = openvino_version()
        self.model_sha256 = model_sha256 or sha256(model)
        self._size = size
        self._process = ProcessGuard()
        try:
            self.native, refused = obtain_compiled(model, size, options, self.model_sha256)
        except OSError as error:
            raise cache_failed(options.cache, error) from error
        except RuntimeError as error:
            raise EngineError(f"openvino refused the {precision} model: {_last(error)}") from error
        self._process.protect(self)
        self._outputs = output_names(any(MASK in port.names for port in self.native.outputs))
        self.isa, integer = _kernels(self.native)
        if integer != (precision == "int8"):
            layers = "quantized layers" if integer else "no quantized layers"
            raise EngineError(
                f"openvino compiled the {precision} model with{'' if integer else 'out'} integer "
                f"kernels: model.{precision}.onnx contains {layers}"
            )
        self.precision = precision
        self.notes = (f"compile cache: {refused}",) if refused else ()
        self.threads: int = self.native.get_property("INFERENCE_NUM_THREADS")
        self._local = threading.local()
        self._idle: deque[_Slot] = deque()  # of `begin`

    def run(self, images: npt.NDArray[np.uint8], timeout_s: float | None = None) -> Outputs:
        """Run uint8 (N, 1, S, S), one after another; one inference request per calling thread."""
        self._process.check()
        check_images(images, self._size)
        deadline = None if timeout_s is None else Deadline(timeout_s * 1e3, time.perf_counter())
        slot = getattr(self._local, "slot", None)
        if slot is None:
            slot = self._local.slot = self._idle_slot(deadline)
        results = []
        for image in images:
            slot.image[0] = image
            try:
                if deadline is None:
                    slot.request.infer({}, True, False)  # True: without a copy of the outputs
                else:
                    self._infer_in_time(slot, deadline)
            except RuntimeError as error:
                raise EngineError(f"openvino failed: {_last(error)}") from error
            results.append(slot.copied())
        return join_outputs(results)

    def begin(self, images: npt.NDArray[np.uint8]) -> _Inference:
        """Begin the inference of uint8 (1, 1, S, S) in OpenVINO's threads; see `QueueingEngine`."""
        self._process.check()
        check_images(images, self._size)
        if len(images) > 1:
            raise EngineError(f"expected one image, got {len(images)}")
        try:
            try:
                slot = self._idle.pop()
            except IndexError:  # all are in use
                slot = self._open_slot()
            slot.image[:] = images
            return _Inference(slot, self._idle)
        except RuntimeError as error:
            raise EngineError(f"openvino failed: {_last(error)}") from error

    def _infer_in_time(self, slot: _Slot, deadline: Deadline) -> None:
        deadline.check(_STAGE)
        try:
            slot.request.start_async({}, None)
            done = slot.request.wait_for(_milliseconds(deadline))
        except KeyboardInterrupt:  # between the two calls; the memory is still in use
            slot.request.wait()
            raise
        if not done:
            slot.request.cancel()
            self._local.cancelled, self._local.slot = slot, None
            raise deadline.exceeded(_STAGE)
        deadline.check(_STAGE)

    def _idle_slot(self, deadline: Deadline | None) -> _Slot:
        """This thread's slot, once its cancelled inference has ended; a new slot if it has none.

        A cancelled inference ends after the current layer, or, if it is still queued behind those
        of other threads, when its turn comes. A new slot per call would let them pile up.
        """
        slot: _Slot | None = getattr(self._local, "cancelled", None)
        if slot is None:
            return self._open_slot()
        try:
            if deadline is None:
                slot.request.wait()
            elif not slot.request.wait_for(_milliseconds(deadline)):
                raise deadline.exceeded(_STAGE)
        except RuntimeError:
            pass  # the extension module reports a cancelled request this way
        self._local.cancelled = None
        return slot

    def _open_slot(self) -> _Slot:
        request = self.native.create_infer_request()
        image = np.zeros((1, 1, self._size, self._size), np.uint8)
        request.set_input_tensor(load_openvino().Tensor(image, shared_memory=True))
        slot = _Slot(request, image, tuple(request.get_tensor(name).data for name in self._outputs))
        self._process.protect(slot)
        return slot


def _milliseconds(deadline: Deadline) -> int:
    return max(0, math.ceil(deadline.left_s() * 1e3))


def _last(error: RuntimeError) -> str:
    """The last line, which has the reason; the lines before it are places in OpenVINO's source."""
    return str(error).strip().splitlines()[-1]


def _kernels(compiled: Any) -> tuple[str, bool]:
    """Widest instruction set among the convolutions, and whether any computes in integers.

    Convolutions take most of the time, and only their kernels are sure to obey ONEDNN_MAX_CPU_ISA:
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
