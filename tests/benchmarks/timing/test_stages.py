"""The stages that are timed do what the pipeline does, on the same radiographs in every form."""

import sys

import numpy as np
import pytest

from orthoedge.benchmarks.baselines import minimal_pipeline
from orthoedge.benchmarks.baselines.folder_throughput import sample
from orthoedge.benchmarks.baselines.sample_files import write_sources
from orthoedge.benchmarks.timing.stages import STAGES, stage_calls
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.targets import EngineOptions, open_pipeline


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    pytest.importorskip("pydicom")
    images = [sample(96), np.ascontiguousarray(sample(128)[:100, ::-1])]
    return write_sources(images, tmp_path_factory.mktemp("sources"))


def test_every_form_of_a_radiograph_shows_the_same_picture(sources):
    assert set(sources.files) == {"png", "jpeg", "dicom"}
    for number, pixels in enumerate(sources.images):
        for kind, limit in (("png", 0), ("jpeg", 12), ("dicom", 1)):
            read = read_image(sources.files[kind][number])
            assert read.source_bits == (14 if kind == "dicom" else 8)
            difference = np.abs(read.pixels.astype(int) - pixels)
            assert difference.max() <= limit  # of 255; JPEG loses some, the window rounds


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_every_stage_can_be_called_for_every_radiograph(target, sources, small_bundle):
    pipeline = open_pipeline(
        small_bundle, target=target, precision="int8", engine=EngineOptions(threads=1)
    )
    found = stage_calls(pipeline, sources, target)
    assert found.skipped == ()
    assert tuple(found.calls) == STAGES
    for call in found.calls.values():
        call(0)
        call(3)


def test_stages_give_what_the_pipeline_gives(sources, small_bundle):
    pipeline = open_pipeline(
        small_bundle, target="portable", precision="fp32", engine=EngineOptions(threads=1)
    )
    calls = stage_calls(pipeline, sources, "portable").calls
    pixels = sources.images[1]
    square = small_bundle.manifest.preprocess(pixels)
    expected = pipeline.engine.run(square[None, None])
    assert calls["from memory"](1).probabilities == pipeline(pixels).probabilities
    assert calls["from png"](1).probabilities == pipeline(pixels).probabilities
    np.testing.assert_array_equal(calls["read png"](1).pixels, pixels)
    np.testing.assert_array_equal(calls["preprocess"](1)[0], square)
    np.testing.assert_array_equal(calls["engine"](1).logits, expected.logits)
    assert calls["decision"](1) == pipeline(pixels).verdict
    whole, alone = calls["minimal inference"](1), calls["minimal inference, logits only"](1)
    assert len(whole) == 3
    assert len(alone) == 1
    np.testing.assert_array_equal(alone[0], expected.logits)


def test_the_bare_engine_on_x86_infers_what_it_is_given(sources, small_bundle, monkeypatch):
    inferred = []

    class Recorded(minimal_pipeline.MinimalInference):
        def __call__(self):
            super().__call__()
            inferred.append(self.logits.copy())

    monkeypatch.setattr("orthoedge.benchmarks.timing.stages.MinimalInference", Recorded)
    pipeline = open_pipeline(
        small_bundle, target="x86", precision="fp32", engine=EngineOptions(threads=1)
    )
    calls = stage_calls(pipeline, sources, "x86").calls
    for name in ("minimal inference", "minimal inference, logits only"):
        for number in (0, 1):
            calls[name](number)
    model_inputs = [
        small_bundle.manifest.preprocess(pixels)[None, None] for pixels in sources.images
    ]
    expected = [pipeline.engine.run(square).logits for square in model_inputs]
    np.testing.assert_allclose(inferred, expected * 2, rtol=1e-5)  # the cut graph may fuse anew


def test_what_cannot_be_timed_is_named_with_its_reason(small_bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom.dataset", None)
    monkeypatch.setitem(sys.modules, "onnx", None)
    sources = write_sources([sample(96)], tmp_path)
    (skipped,) = sources.skipped
    assert skipped.name == "read dicom, from dicom"
    assert "pip install 'orthoedge[dicom]'" in skipped.reason
    pipeline = open_pipeline(
        small_bundle, target="portable", precision="fp32", engine=EngineOptions(threads=1)
    )
    found = stage_calls(pipeline, sources, "portable")
    (skipped,) = found.skipped
    assert skipped.name == "portable fp32: minimal inference, logits only"
    assert "onnx is not installed" in skipped.reason
    absent = {"read dicom", "from dicom", "minimal inference, logits only"}
    assert set(found.calls) == set(STAGES) - absent
    elsewhere = stage_calls(pipeline, sources, "jetson")
    assert len(elsewhere.skipped) == 2
    assert "minimal inference" not in elsewhere.calls
