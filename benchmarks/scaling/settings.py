"""Sizes and durations of the scaling measurements, by mode."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from orthoedge.benchmarks.baselines.folder_throughput import sample
from orthoedge.benchmarks.baselines.sample_files import Sources, write_sources
from orthoedge.benchmarks.run_settings import Mode
from orthoedge.benchmarks.scaling.wording import Shape
from orthoedge.benchmarks.schema import ScalingCurve, Skipped
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.preprocess import Pixels

Curves = tuple[list[ScalingCurve], list[Skipped]]

TINY: Shape = (32, 32)
"""The smallest image: its time is what does not grow with the image."""
_NOISE = 2  # grey levels; an enlarged phantom without noise compresses too well


class Scope(NamedTuple):
    """Counts and durations; rounds and seconds are minimums."""

    limit_s: float
    """No part begins after this."""
    shapes: tuple[Shape, ...]
    rounds: int
    seconds: float
    """Of the timing of one part."""
    batches: tuple[int, ...]
    widths: tuple[int, ...]
    """Multiples of the bundle's number of classes."""
    files: tuple[int, ...]
    commands: int
    """Runs of `orthoedge predict` on each folder."""
    everything: bool
    """Measure memory and folders too."""


_QUICK = ((256, 256), (512, 512), (1024, 1024), (2048, 2048), (3000, 2500))
_LONG = (*_QUICK[:3], (1448, 1448), *_QUICK[3:], (5000, 4000))
_BATCHES, _WIDTHS, _FILES = (1, 2, 4, 8, 16, 32), (1, 4, 16, 64, 256), (1, 4, 16, 64, 256, 1024)

SCOPES: dict[Mode, Scope] = {
    "quick": Scope(15, _QUICK, 3, 0.5, _BATCHES[::2], _WIDTHS[::2], (), 0, False),
    "standard": Scope(120, _LONG, 5, 3, _BATCHES, _WIDTHS, _FILES, 2, True),
    "full": Scope(600, _LONG, 20, 30, _BATCHES, _WIDTHS, _FILES, 7, True),
}


@dataclass(frozen=True)
class ScalingSetup:
    """The pipeline to measure, and how."""

    bundle: Bundle
    target: str
    precision: Precision
    threads: int
    scope: Scope
    folder: Path
    """For temporary files."""

    @property
    def name(self) -> str:
        """Of the pipeline, as among the candidates."""
        return f"{self.target} {self.precision}"

    @cached_property
    def model_input(self) -> Pixels:
        """A prepared radiograph, uint8 (1, 1, S, S)."""
        return self.bundle.manifest.preprocess(sample(512))[None, None]

    @cached_property
    def sources(self) -> Sources:
        """A radiograph of `TINY`, and one of each shape, in memory and as files."""
        images = [radiograph(shape) for shape in (TINY, *self.scope.shapes)]
        return write_sources(images, self.folder)


def radiograph(shape: Shape) -> Pixels:
    """A phantom with the noise of a detector, uint8 (H, W)."""
    resized = cv2.resize(sample(512), shape[::-1], interpolation=cv2.INTER_LINEAR)
    noise = np.random.default_rng(0).integers(-_NOISE, _NOISE + 1, shape, dtype=np.int16)
    noisy: Pixels = np.clip(resized + noise, 0, 255).astype(np.uint8)
    return noisy
