"""What every inference engine looks like from outside."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import DeadlineExceeded, EngineError

Precision = Literal["fp32", "fp16", "int8"]
"""What an engine runs."""
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
"""Those that are calibrated and measured, and that every CPU engine runs."""


def calibrated_as(precision: Precision) -> Precision:
    """The precision whose calibration, metrics and golden answers hold for `precision`.

    fp16 is the fp32 model with rounded numbers, for comparison: it is decided as fp32 is, and held
    to fp32's golden answers within a tolerance of its own.
    """
    return "fp32" if precision == "fp16" else precision


@dataclass(frozen=True)
class Outputs:
    """One forward pass. The caller owns the arrays: no later call changes them."""

    logits: npt.NDArray[np.float32]
    """float32 (N, C), before temperature."""
    saliency_map: npt.NDArray[np.float32]
    """float32 (N, C, h, w), non-negative: Grad-CAM++ of each class."""
    feature_vector: npt.NDArray[np.float32]
    """float32 (N, K), pooled features."""


class Engine(Protocol):
    """A compiled network. The properties say what really ran, not what was asked for."""

    @property
    def name(self) -> str:
        """Engine, such as `openvino`."""

    @property
    def version(self) -> str:
        """The engine's own version."""

    @property
    def precision(self) -> Precision:
        """Precision of the compiled model."""

    @property
    def isa(self) -> str:
        """Instruction set of its kernels, or `not reported`."""

    @property
    def native(self) -> Any:
        """The engine's own object (CompiledModel, InferenceSession, ICudaEngine), for diagnosis."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What happened on opening that every finding must tell, such as a damaged cache."""

    @property
    def threads(self) -> int:
        """How many threads share one inference; some engines sum in another order for each."""

    def run(self, images: npt.NDArray[np.uint8], timeout_s: float | None = None) -> Outputs:
        """Run uint8 (N, 1, S, S).

        Args:
            images: uint8 (N, 1, S, S).
            timeout_s: seconds that it may take; None for as long as it takes.

        Raises:
            DeadlineExceeded: it was not done in time, and was given up. The next call works.
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


class Deadline:
    """Counts from a moment on a clock that nobody can set.

    Args:
        allowed_ms: milliseconds from `start`.
        start: a reading of `time.perf_counter`.
    """

    def __init__(self, allowed_ms: float, start: float) -> None:
        self._allowed_ms = allowed_ms
        self._start = start

    def left_s(self) -> float:
        """Seconds that are left; negative once it is past."""
        return self._start + self._allowed_ms / 1e3 - time.perf_counter()

    def check(self, stage: str) -> None:
        """Raise if it is past.

        Args:
            stage: what has just been done.

        Raises:
            DeadlineExceeded: the stage, the deadline and the time taken.
        """
        if self.left_s() < 0:
            raise self.exceeded(stage)

    def exceeded(self, stage: str) -> DeadlineExceeded:
        """The error that says so of a stage that is done, or was given up."""
        taken = (time.perf_counter() - self._start) * 1e3
        return DeadlineExceeded(
            f"{stage} overran the deadline of {self._allowed_ms:g} ms: {taken:.3g} ms "
            "since the call began"
        )
