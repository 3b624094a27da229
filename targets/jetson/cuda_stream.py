"""One CUDA stream, with its memory and its graph.

Function names are those of NVIDIA's "CUDA Runtime API"; their form is the same in cuda-python 12.6
(`cuda.cudart`) to 13 (`cuda.bindings.runtime`): each returns a tuple that begins with the error.
"""

from __future__ import annotations

import ctypes
import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.engine import Deadline
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.jetson.tensorrt_module import cuda_call

_SPIN_S = 5e-3  # longer than an inference should take; a longer wait sleeps between queries
_NAP_S = 1e-3


@dataclass(frozen=True)
class Mapped:
    """Page-locked memory that processor and GPU both see; on a Jetson it is the same memory."""

    array: npt.NDArray[Any]
    """The processor's view; dead once its stream is closed."""
    pointer: int
    """The GPU's address of it."""


class Stream:
    """A stream that does not wait for the default stream; for one thread at a time.

    Args:
        cudart: the module from `load_cudart`.

    Raises:
        EngineError: CUDA failed; the message names its error.
    """

    def __init__(self, cudart: Any) -> None:
        self._cudart = cudart
        self._process = os.getpid()
        self._owned = ExitStack()
        self._pending = False
        self._graph: Any = None
        self._stream = self._call("cudaStreamCreateWithFlags", cudart.cudaStreamNonBlocking)
        self._owned.callback(self._release, "cudaStreamDestroy", self._stream)
        self.handle = int(self._stream)
        """The stream as an integer, for TensorRT."""

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Mapped:
        """Allocate memory of that shape, which `close` frees.

        Raises:
            EngineError: there is not enough, or the GPU cannot see the host's memory.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        host = self._call("cudaHostAlloc", size, self._cudart.cudaHostAllocMapped)
        self._owned.callback(self._release, "cudaFreeHost", host)
        pointer = int(self._call("cudaHostGetDevicePointer", host, 0))
        memory = memoryview((ctypes.c_ubyte * size).from_address(int(host)))
        return Mapped(np.frombuffer(memory, dtype).reshape(shape), pointer)

    def capture(self, enqueue: Callable[[int], None]) -> None:
        """Record what `enqueue` puts on the stream as a graph, which `start` launches from then on.

        Args:
            enqueue: called once with the stream's handle; its work does not run now.

        Raises:
            EngineError: CUDA or `enqueue` failed. The stream still works, without a graph.
        """
        # Capture this thread only: others may open engines meanwhile and would invalidate it.
        mode = self._cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        with ExitStack() as cleanup:
            # Otherwise the next call would report an error made here.
            cleanup.callback(self._cudart.cudaGetLastError)
            self._call("cudaStreamBeginCapture", self._stream, mode)
            try:
                enqueue(self.handle)
            finally:
                graph = self._call("cudaStreamEndCapture", self._stream)
                cleanup.callback(self._release, "cudaGraphDestroy", graph)
            self._graph = self._call("cudaGraphInstantiate", graph, 0)
            self._owned.callback(self._release, "cudaGraphExecDestroy", self._graph)

    def start(self, enqueue: Callable[[int], None]) -> None:
        """Launch the graph, or if there is none call `enqueue`.

        Raises:
            EngineError: CUDA failed.
        """
        self._pending = True
        if self._graph is None:
            enqueue(self.handle)
        else:
            self._call("cudaGraphLaunch", self._graph, self._stream)

    def wait(self, deadline: Deadline | None = None) -> None:
        """Wait until all launched work is done.

        It polls, because before 12.9.1 cuda-python held the GIL while CUDA waited: no other thread
        could run, and a GPU that hangs would hang the whole process.

        Raises:
            DeadlineExceeded: it is not done in time, and still runs.
            EngineError: CUDA reports an error, of this work or of earlier work.
        """
        if not self._pending:
            return
        start = time.perf_counter()
        while self._busy():
            if deadline is not None:
                deadline.check("inference")
            time.sleep(0 if time.perf_counter() - start < _SPIN_S else _NAP_S)
        self._call("cudaStreamSynchronize", self._stream)
        self._pending = False

    def close(self) -> None:
        """Wait for the GPU and free everything; errors of a lost GPU are ignored.

        In a forked child nothing is done: CUDA does not work there, and all this is the parent's.
        """
        if os.getpid() != self._process:
            return
        if self._pending:
            self._release("cudaStreamSynchronize", self._stream)
        self._owned.close()

    def _busy(self) -> bool:
        not_ready = self._cudart.cudaError_t.cudaErrorNotReady
        if self._cudart.cudaStreamQuery(self._stream)[0] != not_ready:
            return False
        self._cudart.cudaGetLastError()  # NotReady counts as an error and stays until it is fetched
        return True

    def _call(self, function: str, *arguments: Any) -> Any:
        return cuda_call(self._cudart, function, *arguments)

    def _release(self, function: str, handle: Any) -> None:
        with suppress(EngineError):
            self._call(function, handle)
