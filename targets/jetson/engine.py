"""The TensorRT engine."""

from __future__ import annotations

import threading
import time
import weakref
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

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
from orthoedge.runtime.errors import DeadlineExceeded, EngineError
from orthoedge.targets.jetson.cuda_stream import Mapped, Stream
from orthoedge.targets.jetson.device import Device
from orthoedge.targets.jetson.plan_builder import layers, logger
from orthoedge.targets.jetson.tensorrt_module import JETPACK, Modules, load_cudart, load_tensorrt

_IMAGE, _OUTPUTS = "image", output_names(False)
_WARM_UP_MS = 60e3  # CUDA loads its kernels in the first inference, perhaps from a slow card


class TensorRtEngine:
    """One plan on the GPU, for one image at a time; safe to share between threads.

    Images lie in memory that processor and GPU share, so nothing is copied to or from the GPU.
    After the first error of CUDA or TensorRT the engine is closed for good: after most GPU errors,
    says "CUDA Runtime API: cudaError", a process must end before CUDA can be used again.

    Args:
        plan: built by TensorRT for this GPU and checked (`plan_cache.obtain_plan`), because a
            damaged plan can end the process.
        size: side S of its input, in pixels.
        precision: precision of the ONNX file that it was built from.
        device: from `probe`, which shows that CUDA and TensorRT can be loaded.
        modules: the packages that are imported as TensorRT and CUDA.

    Raises:
        MissingDependency: TensorRT or cuda-python is not installed.
        EngineError: TensorRT refused the plan, its interface is not a bundle's, or CUDA failed.
    """

    name = "tensorrt"
    threads = 1
    notes: tuple[str, ...] = ()
    model_sha256 = ""
    """Of the ONNX file that the plan was built from, where its opener states it."""

    def __init__(
        self,
        plan: bytes,
        size: int,
        precision: Precision,
        device: Device,
        modules: Modules = JETPACK,
    ) -> None:
        trt, cudart = load_tensorrt(modules.tensorrt), load_cudart(modules.cudart)
        self.version: str = trt.__version__
        self.precision = precision
        self.isa = f"sm_{device.compute_capability.replace('.', '')}"
        self.lost = ""
        """Why the engine is closed; empty while it works."""
        self._size = size
        self._lock = threading.Lock()
        self._messages: list[tuple[int, str]] = []
        self._process = ProcessGuard()
        self._stream = Stream(cudart)
        self._process.protect(self)
        release = weakref.finalize(self, self._stream.close)
        try:
            self._open(trt, plan)
        # TensorRT's and cuda-python's exceptions share no base but Exception.
        except Exception as error:
            release()
            raise EngineError(f"tensorrt cannot run the {precision} plan: {error}") from error

    def _open(self, trt: Any, plan: bytes) -> None:
        self._runtime = trt.Runtime(logger(trt, self._messages))
        self.native = self._require(self._runtime.deserialize_cuda_engine(plan), "deserializing it")
        self._context = self._require(self.native.create_execution_context(), "making a context")
        self.layers = layers(self.native, trt)
        """Name, kind and precision of every layer, as far as TensorRT reports them."""
        shapes = self._check_interface(trt, self.native)
        names = output_names(MASK in shapes)
        self._image = self._bind(_IMAGE, shapes[_IMAGE], np.uint8)
        self._outputs = tuple(self._bind(name, shapes[name], np.float32) for name in names)
        self._warm_up()
        self.graph = "captured"
        """`captured`, or why every inference is enqueued layer by layer."""
        try:
            self._stream.capture(self._enqueue)
        except EngineError as error:
            self.graph = f"no graph: {error}"
        self._warm_up()

    def run(self, images: npt.NDArray[np.uint8], timeout_s: float | None = None) -> Outputs:
        """Run uint8 (N, 1, S, S), one after another.

        Work on a GPU cannot be stopped: after a timeout it runs on, and the next call waits for it.
        """
        self._process.check()
        check_images(images, self._size)
        deadline = None if timeout_s is None else Deadline(timeout_s * 1e3, time.perf_counter())
        results = [self._run_alone(image, deadline) for image in images]
        return join_outputs(results)

    def _run_alone(self, image: npt.NDArray[np.uint8], deadline: Deadline | None) -> Outputs:
        """Run one image uint8 (1, S, S) as soon as no other thread uses the stream."""
        if deadline is None:
            self._lock.acquire()
        elif not self._lock.acquire(timeout=max(0, deadline.left_s())):
            raise deadline.exceeded("inference")
        try:
            if self.lost:
                raise EngineError(self.lost)
            return self._infer(image, deadline)
        finally:
            self._lock.release()

    def _infer(self, image: npt.NDArray[np.uint8], deadline: Deadline | None) -> Outputs:
        try:
            self._stream.wait(deadline)  # for the work of an earlier call that timed out
            self._image.array[0] = image
            if deadline is not None:
                deadline.check("inference")
            self._stream.start(self._enqueue)
            self._stream.wait(deadline)
        except DeadlineExceeded:
            raise
        except Exception as error:
            self.lost = f"tensorrt failed, and its engine is closed: {error}"
            raise EngineError(self.lost) from error
        if deadline is not None:
            deadline.check("inference")
        return Outputs(*(output.array.copy() for output in self._outputs))

    def _enqueue(self, handle: int) -> None:
        self._messages.clear()  # otherwise a warning per image would fill the memory
        if not self._context.execute_async_v3(handle):
            raise EngineError(f"execute_async_v3: {self._reason()}")

    def _warm_up(self) -> None:
        """Run one black image: TensorRT's first inference does work that a graph must not contain.

        NVIDIA's TensorRT documentation, "CUDA Graphs": call `enqueueV3` once before capturing.
        """
        self._stream.start(self._enqueue)
        self._stream.wait(Deadline(_WARM_UP_MS, time.perf_counter()))

    def _check_interface(self, trt: Any, engine: Any) -> dict[str, tuple[int, ...]]:
        """Check names, shapes and types of all tensors; return the shapes by name."""
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        if sorted({*names, MASK}) != sorted((_IMAGE, *_OUTPUTS, MASK)):
            raise EngineError(f"tensors {sorted(names)}, expected {_IMAGE} and {_OUTPUTS}")
        input_shape = (1, 1, self._size, self._size)
        if not self._context.set_input_shape(_IMAGE, input_shape):
            raise EngineError(f"it takes no image of {input_shape}: {self._reason()}")
        shapes = {name: tuple(self._context.get_tensor_shape(name)) for name in names}
        logits, saliency, features = (shapes[name] for name in _OUTPUTS)
        fits = shapes[_IMAGE] == input_shape and len(logits) == len(features) == 2
        if not fits or len(saliency) != 4 or saliency[:2] != logits or features[0] != 1:
            raise EngineError(f"tensors of shapes {shapes} do not fit a bundle's interface")
        mask = shapes.get(MASK, (1, 1, 1, 1))
        if len(mask) != 4 or mask[:2] != (1, 1):
            raise EngineError(f"{MASK} of shape {mask} does not fit a bundle's interface")
        for name in names:
            is_image = name == _IMAGE
            mode = trt.TensorIOMode.INPUT if is_image else trt.TensorIOMode.OUTPUT
            dtype = trt.DataType.UINT8 if is_image else trt.DataType.FLOAT
            actual = engine.get_tensor_mode(name), engine.get_tensor_dtype(name)
            if actual != (mode, dtype):
                shown = " ".join(value.name for value in actual)
                raise EngineError(f"{name} is {shown}, expected {mode.name} {dtype.name}")
        return shapes

    def _bind(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Mapped:
        mapped = self._stream.allocate(shape, dtype)
        if not self._context.set_tensor_address(name, mapped.pointer):
            raise EngineError(f"set_tensor_address {name}: {self._reason()}")
        return mapped

    def _require(self, created: Any, what: str) -> Any:
        if created is None:
            raise EngineError(f"{what}: {self._reason()}")
        return created

    def _reason(self) -> str:
        """TensorRT's most severe message, unchanged."""
        return min(self._messages, key=itemgetter(0), default=(0, "TensorRT gave no reason"))[1]
