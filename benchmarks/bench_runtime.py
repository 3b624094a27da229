"""Time of each stage of the runtime on the default bundle, by pytest-benchmark: `make bench`."""

from __future__ import annotations

import itertools
import zipfile
from pathlib import Path

import cv2
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from orthoedge.benchmarks.baselines.sample_files import write_dicom
from orthoedge.benchmarks.scaling.settings import radiograph
from orthoedge.benchmarks.scaling.wording import Shape
from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle
from orthoedge.runtime.decision import decide
from orthoedge.runtime.engine import Engine, Precision
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_quality import check_image_quality
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.overlay.overlay import overlay, side_by_side, to_png
from orthoedge.runtime.pipeline import ActiveEngine, Finding, Pipeline
from orthoedge.runtime.preprocess import STANDARD, Preprocess, find_collimated_field
from orthoedge.targets import open_engine

Predicted = dict[Shape, tuple[Radiograph, Finding]]
SMALL, DETECTOR = (512, 512), (2500, 2048)
"""Height and width: a phantom's, and those of a 10 by 12 inch detector at 0.12 mm."""
BUNDLE = read_bundle(EMBEDDED)

every_engine = pytest.mark.parametrize(
    ("target", "precision"),
    [
        *itertools.product(("x86", "portable"), ("int8", "fp32")),
        *itertools.product(("jetson",), ("int8", "fp16", "fp32")),
    ],
)
every_shape = pytest.mark.parametrize("shape", [SMALL, DETECTOR], ids=["512x512", "2500x2048"])


def engine_of(target: str, precision: Precision) -> Engine:
    try:
        return open_engine(BUNDLE, target, precision)
    except (MissingDependency, EngineError) as error:
        if target != "jetson" and isinstance(error, EngineError):  # every other one must open
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def predicted() -> Predicted:
    """A radiograph of each shape with its finding."""
    pipeline = Pipeline(BUNDLE, engine_of("portable", "fp32"))
    return {shape: pipeline.predict_with_image(radiograph(shape)) for shape in (SMALL, DETECTOR)}


@every_shape
@pytest.mark.parametrize("kind", ["png", "jpg", "tiff", "bmp", "dicom"])
def bench_read(benchmark: BenchmarkFixture, kind: str, shape: Shape, tmp_path: Path) -> None:
    path = tmp_path / f"radiograph.{kind}"
    if kind == "dicom":
        pytest.importorskip("pydicom")
        write_dicom(path, radiograph(shape))
    else:
        assert cv2.imwrite(str(path), radiograph(shape))
    benchmark(read_image, path)


@every_shape
def bench_preprocess(benchmark: BenchmarkFixture, shape: Shape) -> None:
    benchmark(STANDARD, radiograph(shape))


@every_shape
def bench_find_field(benchmark: BenchmarkFixture, shape: Shape) -> None:
    benchmark(find_collimated_field, radiograph(shape))


@every_shape
def bench_letterbox(benchmark: BenchmarkFixture, shape: Shape) -> None:
    fit = Preprocess(
        size=224, collimated_field="keep", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )
    benchmark(fit, radiograph(shape))


@pytest.mark.parametrize("shape", [(224, 224), DETECTOR], ids=["224x224", "2500x2048"])
def bench_clahe(benchmark: BenchmarkFixture, shape: Shape) -> None:
    benchmark(cv2.createCLAHE(2.0, (8, 8)).apply, radiograph(shape))


def bench_image_statistics(benchmark: BenchmarkFixture) -> None:
    benchmark(image_statistics, STANDARD(radiograph(SMALL)))


@every_shape
def bench_image_quality(benchmark: BenchmarkFixture, shape: Shape) -> None:
    pixels = radiograph(shape)
    benchmark(check_image_quality, pixels, STANDARD.prepare(pixels)[1], STANDARD.size)


@every_engine
def bench_engine(benchmark: BenchmarkFixture, target: str, precision: Precision) -> None:
    engine = engine_of(target, precision)
    benchmark(engine.run, STANDARD(radiograph(SMALL))[None, None])


def bench_decide(benchmark: BenchmarkFixture) -> None:
    engine, model_input = engine_of("portable", "fp32"), STANDARD(radiograph(SMALL))
    active, outputs = ActiveEngine.for_bundle(BUNDLE, engine), engine.run(model_input[None, None])
    labels, alert = BUNDLE.manifest.labels, BUNDLE.manifest.alert_labels
    statistics = image_statistics(model_input)

    def decide_once() -> None:
        distance = active.ood_score(outputs.feature_vector[0], statistics)
        decide(outputs.logits[0], distance, (), labels, alert, active.calibration)

    benchmark(decide_once)


@every_engine
def bench_pipeline(benchmark: BenchmarkFixture, target: str, precision: Precision) -> None:
    benchmark(Pipeline(BUNDLE, engine_of(target, precision)), radiograph(SMALL))


@every_shape
def bench_overlay(benchmark: BenchmarkFixture, shape: Shape, predicted: Predicted) -> None:
    benchmark(overlay, *predicted[shape])


@every_shape
def bench_side_by_side(benchmark: BenchmarkFixture, shape: Shape, predicted: Predicted) -> None:
    benchmark(side_by_side, *predicted[shape])


@every_shape
def bench_overlay_to_png(benchmark: BenchmarkFixture, shape: Shape, predicted: Predicted) -> None:
    benchmark(to_png, overlay(*predicted[shape]))


def bench_to_json(benchmark: BenchmarkFixture, predicted: Predicted) -> None:
    benchmark(predicted[SMALL][1].to_json)


@pytest.mark.parametrize("form", ["folder", "zip"])
def bench_read_bundle(benchmark: BenchmarkFixture, form: str, tmp_path: Path) -> None:
    path = EMBEDDED
    if form == "zip":
        path = tmp_path / "bundle.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for file in EMBEDDED.rglob("*"):
                archive.write(file, file.relative_to(EMBEDDED))
    benchmark(read_bundle, path)
