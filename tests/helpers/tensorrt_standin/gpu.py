# ruff: noqa: N801, N815 - the names are NVIDIA's
"""A GPU that is not there, for the stand-ins of CUDA and TensorRT.

A stream is a thread, memory is ctypes' own under addresses that only `at` understands, and work is
whatever `enqueue` was given. Misuse that a GPU would answer with a crash some day is an error at
once here, or is noted in `BOOKS`. Failures are planted in `FAULTS`; child processes read them from
the environment, as JSON in `STANDIN_FAULTS`.
"""

import ctypes
import enum
import itertools
import json
import os
import queue
import threading
from dataclasses import dataclass, field

import numpy as np


class cudaError_t(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorInsufficientDriver = 35
    cudaErrorNoDevice = 100
    cudaErrorInvalidResourceHandle = 400
    cudaErrorNotReady = 600
    cudaErrorIllegalAddress = 700
    cudaErrorLaunchFailure = 719
    cudaErrorStreamCaptureUnsupported = 900
    cudaErrorStreamCaptureInvalidated = 901
    cudaErrorStreamCaptureWrongThread = 908


@dataclass
class Faults:
    """What goes wrong. Nothing does by default."""

    driver: int = 13000
    runtime: int = 12060
    devices: int = 1
    crash: bool = False
    """Counting the devices ends the process by a signal."""
    memory: int = 1 << 30
    """Bytes that can be allocated."""
    runs: int = 1 << 30
    """Executions after which every further one is a launch failure."""
    enqueues: int = 1 << 30
    """Calls of `execute_async_v3` after which TensorRT refuses further ones."""
    capture: bool = True
    """Whether TensorRT's work can be captured; else it synchronizes within."""
    instantiate: bool = True
    deserialize: bool = True
    context: bool = True
    address: bool = True
    """These three: whether TensorRT takes a plan, makes a context, takes addresses."""
    gate: threading.Event = field(default_factory=threading.Event)
    """Executions wait for it; set."""

    def __post_init__(self):
        self.gate.set()


@dataclass
class Books:
    """What is open, and what was done that must not be."""

    memory: dict = field(default_factory=dict)
    """Device's address -> ctypes array."""
    handles: dict = field(default_factory=dict)
    """Handle -> stream, graph or executable graph."""
    violations: list = field(default_factory=list)
    sticky: cudaError_t = cudaError_t.cudaSuccess
    last: cudaError_t = cudaError_t.cudaSuccess
    runs: int = 0
    launches: int = 0
    """Of graphs."""
    deserialized: int = 0
    freed: list = field(default_factory=list)
    """Kept and filled with rubbish, so that late readers see it and do not crash."""


FAULTS = Faults(**json.loads(os.environ.get("STANDIN_FAULTS", "{}")))
BOOKS = Books()
numbers = itertools.count(1)


def reset(**faults):
    """A GPU as after a restart, with these faults."""
    FAULTS.__dict__.update(Faults(**faults).__dict__)
    BOOKS.__dict__.update(Books().__dict__)


def still_open():
    """Everything that nobody freed."""
    return sorted(map(hex, BOOKS.memory)) + [type(it).__name__ for it in BOOKS.handles.values()]


class Failed(Exception):
    """A CUDA error within a call, or within work on a stream."""


def check_device():
    if FAULTS.driver < FAULTS.runtime:
        raise Failed(cudaError_t.cudaErrorInsufficientDriver)
    if FAULTS.devices == 0:
        raise Failed(cudaError_t.cudaErrorNoDevice)
    if BOOKS.sticky:
        raise Failed(BOOKS.sticky)


def open_handle(it):
    handle = 0x5000 + next(numbers)
    BOOKS.handles[handle] = it
    return handle


def find(kind, handle):
    it = BOOKS.handles.get(int(handle))
    if not isinstance(it, kind):
        raise Failed(cudaError_t.cudaErrorInvalidResourceHandle)
    return it


class Stream:
    """One thread that does the work in order, or while capturing a list that keeps it."""

    def __init__(self):
        self.captured = None
        self.invalid = False
        self.thread_id = 0
        self._work = queue.SimpleQueue()
        self._left = 0
        self._done = threading.Condition()
        threading.Thread(target=self._serve, daemon=True).start()

    def put(self, work):
        if self.captured is not None:
            self.captured.append(work)
            return
        with self._done:
            self._left += 1
        self._work.put(work)

    def busy(self):
        return self._left > 0

    def wait(self):
        with self._done:
            self._done.wait_for(lambda: self._left == 0)

    def end(self):
        self._work.put(None)

    def check_idle_use(self):
        """What may not be asked of a stream that is capturing."""
        if self.captured is not None:
            self.invalid = True
            raise Failed(cudaError_t.cudaErrorStreamCaptureUnsupported)

    def _serve(self):
        while (work := self._work.get()) is not None:
            FAULTS.gate.wait()
            try:
                if not BOOKS.sticky:
                    work()
            except Failed as failed:
                (BOOKS.sticky,) = failed.args
            with self._done:
                self._left -= 1
                self._done.notify_all()


class Graph(list):
    """Work of one capture."""


class GraphExec(list):
    """That work, ready."""


def streams():
    return [it for it in BOOKS.handles.values() if isinstance(it, Stream)]


def not_while_capturing():
    """Calls that may synchronize spoil every capture of their thread."""
    for stream in streams():
        if stream.captured is not None and stream.thread_id == threading.get_ident():
            stream.check_idle_use()


def address_of(host):
    """The device's address of what lies at the host's."""
    for pointer, memory in BOOKS.memory.items():
        if ctypes.addressof(memory) == int(host):
            return pointer
    raise Failed(cudaError_t.cudaErrorInvalidValue)


def enqueue(handle, work, first):
    """Put work on a stream; where it cannot be captured, or is a context's first, spoil that."""
    stream = find(Stream, handle)
    if BOOKS.last:  # TensorRT looks whether its own launches failed, and finds what was left there
        raise Failed(BOOKS.last)
    if stream.captured is not None and (first or not FAULTS.capture):
        stream.invalid = True
        raise Failed(cudaError_t.cudaErrorStreamCaptureUnsupported)
    stream.put(work)


def count_run():
    """Fail the execution that was planted to fail."""
    BOOKS.runs += 1
    if BOOKS.runs > FAULTS.runs:
        raise Failed(cudaError_t.cudaErrorLaunchFailure)


def at(pointer, shape, dtype):
    """The array that the GPU finds at an address of its own."""
    memory = BOOKS.memory.get(pointer)
    dtype = np.dtype(dtype)
    count = int(np.prod(shape))
    if memory is None or ctypes.sizeof(memory) < count * dtype.itemsize:
        raise Failed(cudaError_t.cudaErrorIllegalAddress)
    return np.frombuffer(memory, dtype, count).reshape(shape)
