"""Time of each stage of the runtime on the embedded bundle, by pytest-benchmark: `make bench`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from orthoedge.runtime.bundles import SAMPLES
from orthoedge.runtime.errors import MissingDependency
from orthoedge.runtime.intake import read_image
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import STANDARD, Pixels
from orthoedge.runtime.render import overlay
from orthoedge.targets import open_pipeline

SMALL, DETECTOR = (512, 512), (2500, 2048)
"""Height and width: a phantom's, and those of a 10 by 12 inch detector at 0.12 mm."""


def radiograph(shape: tuple[int, int]) -> Pixels:
    path = sorted(SAMPLES.glob("*.png"))[0]
    resized = cv2.resize(read_image(path).pixels, shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def pipeline_of(target: str, precision: str) -> Pipeline:
    try:
        return open_pipeline(target=target, precision=precision)  # type: ignore[arg-type]
    except MissingDependency as error:
        pytest.skip(str(error))


every_engine = pytest.mark.parametrize(
    ("target", "precision"),
    [("x86", "int8"), ("x86", "fp32"), ("portable", "int8"), ("portable", "fp32")],
)
every_shape = pytest.mark.parametrize("shape", [SMALL, DETECTOR], ids=["512x512", "2500x2048"])


@every_shape
def bench_preprocess(benchmark: BenchmarkFixture, shape: tuple[int, int]) -> None:
    benchmark(STANDARD, radiograph(shape))


@pytest.mark.parametrize("shape", [(224, 224), DETECTOR], ids=["224x224", "2500x2048"])
def bench_clahe(benchmark: BenchmarkFixture, shape: tuple[int, int]) -> None:
    pixels = radiograph(shape)
    benchmark(lambda: cv2.createCLAHE(2.0, (8, 8)).apply(pixels))


@every_engine
def bench_engine(benchmark: BenchmarkFixture, target: str, precision: str) -> None:
    pipeline = pipeline_of(target, precision)
    square = pipeline.bundle.manifest.preprocess(radiograph(SMALL))
    benchmark(pipeline.engine.run, square[None, None])


@every_engine
def bench_pipeline(benchmark: BenchmarkFixture, target: str, precision: str) -> None:
    benchmark(pipeline_of(target, precision), radiograph(SMALL))


@every_shape
def bench_overlay(benchmark: BenchmarkFixture, shape: tuple[int, int]) -> None:
    benchmark(overlay, *pipeline_of("x86", "auto").predict(radiograph(shape)))
