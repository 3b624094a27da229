"""The interface of inference engines, their outputs, their process, and a call's deadline."""

from __future__ import annotations

import ctypes
import os
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import DeadlineExceeded, EngineError
from orthoedge.runtime.settings import LONGEST_S, plain

Precision = Literal["fp32", "fp16", "int8"]
"""Numeric precision of a model."""
ModelKey = Literal["fp32", "fp16", "int8", "int8_cpu"]
"""An ONNX file of a bundle: `model.KEY.onnx`. `int8_cpu` is INT8 in a form for CPU engines."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
"""Precisions that are calibrated and measured, and that every CPU engine runs."""

Key = TypeVar("Key", bound=str)


def calibrated_as(key: Key) -> Key | Literal["fp32"]:
    """Return the model whose calibration, metrics and golden outputs apply to `key`.

    fp16 is the fp32 model with rounded numbers, for comparison: it uses the calibration of fp32,
    and the golden outputs of fp32 with its own tolerance.

    Args:
        key: a `Precision` or a `ModelKey`.
    """
    return "fp32" if key == "fp16" else key


@dataclass(frozen=True)
class Outputs:
    """Outputs of one forward pass. The caller owns the arrays: no later call changes them."""

    logits: npt.NDArray[np.float32]
    """float32 (N, C), before temperature."""
    saliency_map: npt.NDArray[np.float32]
    """float32 (N, C, h, w), non-negative: Grad-CAM++ of each class."""
    feature_vector: npt.NDArray[np.float32]
    """float32 (N, K), pooled features."""
    lesion_mask: npt.NDArray[np.float32] | None = None
    """float32 (N, 1, h', w'), 0 to 1: probability that a cell over the model input is of a lesion;
    None where the network does not outline lesions."""

    def tensors(self) -> dict[str, npt.NDArray[np.float32]]:
        """The outputs that the network has, by their names in the ONNX file."""
        return {name: array for name, array in vars(self).items() if array is not None}


MASK = "lesion_mask"
"""Name of the output that a network need not have."""


def output_names(has_mask: bool) -> tuple[str, ...]:
    """Names of a network's outputs in the ONNX file, in the order of the fields of `Outputs`."""
    names = tuple(Outputs.__dataclass_fields__)
    return names if has_mask else names[:-1]


def join_outputs(parts: Sequence[Outputs]) -> Outputs:
    """Outputs of consecutive passes of one network as those of one pass over all images."""
    if len(parts) == 1:
        return parts[0]
    arrays = zip(*(part.tensors().values() for part in parts), strict=True)
    return Outputs(*map(np.concatenate, arrays))


class Engine(Protocol):
    """A compiled network. The properties state what really runs, not what was requested."""

    @property
    def name(self) -> str:
        """Name of the engine, such as `openvino`."""

    @property
    def version(self) -> str:
        """Version of the engine."""

    @property
    def precision(self) -> Precision:
        """Precision of the compiled model."""

    @property
    def model_sha256(self) -> str:
        """SHA-256 of the ONNX file that it runs; empty where that is not known."""

    @property
    def isa(self) -> str:
        """Instruction set of its kernels, or `not reported`."""

    @property
    def native(self) -> Any:
        """The engine's own object (CompiledModel, InferenceSession, ICudaEngine), for diagnosis."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Events on opening that every finding must report, such as a damaged cache."""

    @property
    def threads(self) -> int:
        """Number of threads of one inference; some engines sum in an order that depends on it."""

    def run(self, images: npt.NDArray[np.uint8], timeout_s: float | None = None) -> Outputs:
        """Run uint8 (N, 1, S, S).

        Args:
            images: uint8 (N, 1, S, S).
            timeout_s: limit in seconds; None for no limit.

        Raises:
            DeadlineExceeded: the run was not done in time and was abandoned. The next call works.
            EngineError: wrong dtype or shape, or the engine failed.
        """


class Inference(Protocol):
    """An inference that was begun. One of its two calls ends it and frees its memory."""

    def result(self) -> tuple[Outputs, float]:
        """Wait for it.

        Returns:
            The outputs, and the milliseconds from its beginning to its end; not the time that they
            then waited for this call.

        Raises:
            EngineError: the engine failed.
        """

    def abandon(self) -> None:
        """Cancel it, and wait until it has ended; nothing where it has ended already."""


class QueueingEngine(Engine, Protocol):
    """An engine that has threads of its own, and may offer them for many images."""

    def begin(self, images: npt.NDArray[np.uint8]) -> Inference:
        """Begin the inference of uint8 (1, 1, S, S), which is copied, and return at once.

        Raises:
            EngineError: wrong dtype or shape, or the engine failed.
        """


def check_images(images: npt.NDArray[np.uint8], size: int) -> None:
    """Raise EngineError unless `images` is uint8 (N, 1, size, size) with N of 1 or more."""
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (1, size, size):
        raise EngineError(
            f"expected uint8 (N, 1, {size}, {size}), got {images.dtype} {images.shape}"
        )
    if len(images) == 0:
        raise EngineError("expected one image or more, got none")


class ProcessGuard:
    """Keeps a forked child from using or destroying what native libraries made in its parent.

    A fork copies the memory of a process and none of its threads: in the child, inference and
    destructors would wait for those threads for ever (fork(2)). So in a child `check` raises, and
    what the guard protects is never destroyed.
    """

    def __init__(self) -> None:
        self._process = os.getpid()
        self._protected: weakref.WeakSet[Any] = weakref.WeakSet()
        _guards.add(self)

    def protect(self, holder: object) -> None:
        """Never destroy `holder`, and with it what it refers to, in a forked child."""
        self._protected.add(holder)

    @property
    def is_own(self) -> bool:
        """Whether this is the process that made the guard."""
        return os.getpid() == self._process

    def check(self) -> None:
        """Check that this is the process that opened the engine.

        Raises:
            EngineError: it is a child forked from it.
        """
        if not self.is_own:
            raise EngineError(
                "the engine was opened before this process was forked: open it in the child"
            )


_guards: weakref.WeakSet[ProcessGuard] = weakref.WeakSet()
_held: list[Any] = []


def _hold() -> None:
    # Also what other threads use: their variables are destroyed before `_leak` is called.
    _held.extend(holder for guard in list(_guards) for holder in list(guard._protected))


def _leak() -> None:
    _hold()  # again, in case another thread forked at the same time and cleared the list
    for holder in _held:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(holder))
    _held.clear()


os.register_at_fork(before=_hold, after_in_parent=_held.clear, after_in_child=_leak)


class Deadline:
    """Time limit of one call, measured on a monotonic clock.

    Args:
        allowed_ms: milliseconds from `start`.
        start: a reading of `time.perf_counter`.
    """

    def __init__(self, allowed_ms: float, start: float) -> None:
        self._allowed_ms = allowed_ms
        self._start = start

    def left_s(self) -> float:
        """Return the remaining seconds, at most `LONGEST_S`; negative after the deadline."""
        return min(self._start + self._allowed_ms / 1e3 - time.perf_counter(), LONGEST_S)

    def check(self, stage: str) -> None:
        """Check that the deadline has not passed.

        Args:
            stage: the stage that was just completed, for the message.

        Raises:
            DeadlineExceeded: it has; the message names stage, deadline and time taken.
        """
        if self.left_s() < 0:
            raise self.exceeded(stage)

    def exceeded(self, stage: str) -> DeadlineExceeded:
        """Build the error for a stage that is completed or was abandoned."""
        taken = (time.perf_counter() - self._start) * 1e3
        return DeadlineExceeded(
            f"{stage} overran the deadline of {plain(self._allowed_ms)} ms: {plain(taken, 3)} ms "
            "since the call began"
        )
