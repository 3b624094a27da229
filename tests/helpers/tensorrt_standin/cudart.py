# ruff: noqa: N801, N802, N815, N816 - the names are NVIDIA's
"""CUDA's runtime in the form that cuda-python gives it, for the GPU of `standin_gpu`.

`test_standins.py` holds names, parameters and error numbers against the real cuda-python.
"""

import ctypes
import enum
import functools
import os
import signal
import threading
from types import SimpleNamespace

from tests.helpers.tensorrt_standin import gpu
from tests.helpers.tensorrt_standin.gpu import BOOKS, FAULTS, cudaError_t

cudaHostAllocMapped = 2
cudaStreamNonBlocking = 1


class cudaStreamCaptureMode(enum.IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1
    cudaStreamCaptureModeRelaxed = 2


def _function(outputs=0, device=True):
    """Give what a function returns the form of cuda-python: a tuple that begins with the error."""

    def wrap(work):
        @functools.wraps(work)
        def call(*arguments):
            try:
                if device:
                    gpu.check_device()
                value = work(*arguments)
            except gpu.Failed as failed:
                (BOOKS.last,) = failed.args
                return failed.args + (None,) * outputs
            return (cudaError_t.cudaSuccess, value) if outputs else (cudaError_t.cudaSuccess,)

        return call

    return wrap


class cudaStream_t:
    def __init__(self, handle):
        self._handle = handle

    def __int__(self):
        return self._handle


@_function(1, device=False)
def cudaDriverGetVersion():
    return FAULTS.driver


@_function(1, device=False)
def cudaRuntimeGetVersion():
    return FAULTS.runtime


@_function(1)
def cudaGetDeviceCount():
    if FAULTS.crash:
        os.kill(os.getpid(), signal.SIGSEGV)
    return FAULTS.devices


@_function()
def cudaSetDevice(device):
    if device >= FAULTS.devices:
        raise gpu.Failed(cudaError_t.cudaErrorInvalidValue)


@_function(1)
def cudaGetDeviceProperties(device):
    return SimpleNamespace(
        name=b"Stand-in\0\0", major=8, minor=7, multiProcessorCount=8, totalGlobalMem=7 << 30
    )


@_function(1, device=False)
def cudaGetErrorName(error):
    return error.name.encode()


@_function(1, device=False)
def cudaGetErrorString(error):
    return f"the words for {int(error)}".encode()


def cudaGetLastError():
    last, BOOKS.last = BOOKS.sticky or BOOKS.last, cudaError_t.cudaSuccess
    return (last,)


@_function(1)
def cudaHostAlloc(size, flags):
    gpu.not_while_capturing()
    if flags != cudaHostAllocMapped or size <= 0:
        raise gpu.Failed(cudaError_t.cudaErrorInvalidValue)
    if size + sum(map(ctypes.sizeof, BOOKS.memory.values())) > FAULTS.memory:
        raise gpu.Failed(cudaError_t.cudaErrorMemoryAllocation)
    memory = (ctypes.c_ubyte * size)()
    ctypes.memset(memory, 0xCD, size)
    BOOKS.memory[0x7000_0000_0000 + (next(gpu.numbers) << 20)] = memory
    return ctypes.addressof(memory)


@_function(1)
def cudaHostGetDevicePointer(pHost, flags):
    return gpu.address_of(pHost)


@_function()
def cudaFreeHost(ptr):
    gpu.not_while_capturing()
    memory = BOOKS.memory.pop(gpu.address_of(ptr))
    if any(stream.busy() for stream in gpu.streams()):
        BOOKS.violations.append("memory was freed while the GPU worked")
    ctypes.memset(memory, 0xDB, ctypes.sizeof(memory))
    BOOKS.freed.append(memory)


@_function(1)
def cudaStreamCreateWithFlags(flags):
    return cudaStream_t(gpu.open_handle(gpu.Stream()))


@_function()
def cudaStreamDestroy(stream):
    gpu.find(gpu.Stream, stream).end()
    del BOOKS.handles[int(stream)]


@_function()
def cudaStreamQuery(stream):
    found = gpu.find(gpu.Stream, stream)
    found.check_idle_use()
    if found.busy():
        raise gpu.Failed(cudaError_t.cudaErrorNotReady)


@_function()
def cudaStreamSynchronize(stream):
    found = gpu.find(gpu.Stream, stream)
    found.check_idle_use()
    found.wait()
    gpu.check_device()


@_function()
def cudaStreamBeginCapture(stream, mode):
    found = gpu.find(gpu.Stream, stream)
    if found.captured is not None or not isinstance(mode, cudaStreamCaptureMode):
        raise gpu.Failed(cudaError_t.cudaErrorInvalidValue)
    found.captured, found.invalid, found.thread_id = gpu.Graph(), False, threading.get_ident()


@_function(1)
def cudaStreamEndCapture(stream):
    found = gpu.find(gpu.Stream, stream)
    graph, found.captured = found.captured, None
    if graph is None:
        raise gpu.Failed(cudaError_t.cudaErrorInvalidValue)
    if found.thread_id != threading.get_ident():
        raise gpu.Failed(cudaError_t.cudaErrorStreamCaptureWrongThread)
    if found.invalid:
        raise gpu.Failed(cudaError_t.cudaErrorStreamCaptureInvalidated)
    return gpu.open_handle(graph)


@_function(1)
def cudaGraphInstantiate(graph, flags):
    if not FAULTS.instantiate:
        raise gpu.Failed(cudaError_t.cudaErrorMemoryAllocation)
    return gpu.open_handle(gpu.GraphExec(gpu.find(gpu.Graph, graph)))


@_function()
def cudaGraphLaunch(graphExec, stream):
    BOOKS.launches += 1
    for work in gpu.find(gpu.GraphExec, graphExec):
        gpu.find(gpu.Stream, stream).put(work)


@_function()
def cudaGraphDestroy(graph):
    gpu.find(gpu.Graph, graph)
    del BOOKS.handles[graph]


@_function()
def cudaGraphExecDestroy(graphExec):
    gpu.find(gpu.GraphExec, graphExec)
    del BOOKS.handles[graphExec]
