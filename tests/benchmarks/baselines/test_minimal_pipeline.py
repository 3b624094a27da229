"""The minimal implementations do the same work as the pipeline, on the same radiographs."""

import cv2
import numpy as np
import onnxruntime
import pytest

from orthoedge.benchmarks.baselines.folder_throughput import folder_passes, sample, write_pngs
from orthoedge.benchmarks.baselines.minimal_pipeline import (
    MinimalPipeline,
    logits_only,
    read_dicom_minimal,
)
from orthoedge.benchmarks.baselines.sample_files import write_dicom
from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.targets import EngineOptions, open_pipeline


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(PHANTOM)


def framed(rows, columns):
    """A phantom between white margins, so that the field is not the whole picture."""
    pixels = cv2.resize(sample(512), (columns, rows), interpolation=cv2.INTER_LINEAR)
    pixels[:, : columns // 8] = 255
    return pixels


def test_the_minimal_calls_give_the_engine_what_the_pipeline_gives_it(bundle):
    images = [framed(*shape) for shape in ((512, 512), (700, 900), (300, 200))]
    pipeline = open_pipeline(bundle, target="x86", engine=EngineOptions(threads=1))
    minimal = MinimalPipeline(pipeline, images)
    for number in range(4):
        minimal(number)
        model_input = bundle.manifest.preprocess(images[number % 3])
        np.testing.assert_array_equal(minimal.infer.image[0, 0], model_input)
        expected = pipeline.engine.run(model_input[None, None]).logits
        np.testing.assert_array_equal(minimal.infer.logits, expected)


def test_the_model_cut_down_gives_the_same_logits_and_nothing_else(small_bundle):
    whole = onnxruntime.InferenceSession(small_bundle.model("fp32"))
    cut = onnxruntime.InferenceSession(logits_only(small_bundle, "fp32"))
    assert [output.name for output in cut.get_outputs()] == ["logits"]
    image = {"image": small_bundle.golden_images()[:1]}
    np.testing.assert_array_equal(cut.run(None, image)[0], whole.run(["logits"], image)[0])


def test_the_minimal_reader_shows_the_same_picture(tmp_path):
    pytest.importorskip("pydicom")
    large = cv2.resize(sample(512), (2500, 3000), interpolation=cv2.INTER_LINEAR)
    write_dicom(tmp_path / "radiograph.dcm", large)
    expected = read_image(tmp_path / "radiograph.dcm")
    assert expected.source_bits == 14
    assert expected.pixels.shape == (3000, 2500)
    pixels = read_dicom_minimal(tmp_path / "radiograph.dcm")
    # Scaling in float32 may round the other way half-way between two levels.
    assert cv2.norm(pixels, expected.pixels, cv2.NORM_INF) <= 1


def test_a_folder_of_pngs_holds_different_radiographs(tmp_path):
    paths = write_pngs(tmp_path, 70, 48)
    assert len({path.read_bytes() for path in paths}) == 64
    assert read_image(paths[69]).pixels.shape == (48, 48)


def test_a_file_without_a_finding_ends_a_pass_over_a_folder(small_bundle, tmp_path):
    pipeline = open_pipeline(
        small_bundle, target="x86", precision="int8", engine=EngineOptions(threads=1)
    )
    paths = write_pngs(tmp_path, 3, 48)
    map_files, bound = folder_passes(pipeline, paths, cores=2)
    map_files()
    threads = cv2.getNumThreads()
    assert bound() > 0
    assert cv2.getNumThreads() == threads
    paths[1].write_bytes(b"no picture")
    with pytest.raises(EngineError, match=paths[1].name):
        map_files()
