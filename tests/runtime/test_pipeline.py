"""From a file to a finding that says what ran and can be run again."""

import json

import cv2
import numpy as np
import pytest

from orthoedge.runtime import PHANTOM_SAMPLES
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import EngineError, InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.sandbox import SandboxedReader
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import open_pipeline
from tests.runtime.dicom.drawn import drawn


@pytest.fixture(scope="module")
def pipeline(small_bundle):
    return open_pipeline(small_bundle, target="x86", precision="fp32")


@pytest.fixture
def image():
    return np.random.default_rng(5).integers(0, 256, (70, 50), dtype=np.uint8)


def test_array_bytes_and_path_give_one_finding(pipeline, image, tmp_path):
    encoded = cv2.imencode(".png", image)[1].tobytes()
    path = tmp_path / "a.png"
    path.write_bytes(encoded)
    findings = [pipeline(source) for source in (image, encoded, path, str(path))]
    for finding in findings[1:]:
        assert finding.verdict == findings[0].verdict
        np.testing.assert_array_equal(finding.saliency_map, findings[0].saliency_map)


def test_the_map_is_that_of_the_label(pipeline, small_bundle, image):
    finding = pipeline(image)
    model_input = small_bundle.manifest.preprocess(image)
    outputs = pipeline.engine.run(model_input[None, None])
    label = small_bundle.manifest.labels.index(finding.label)
    assert label == outputs.logits[0].argmax()
    np.testing.assert_array_equal(finding.saliency_map, outputs.saliency_map[0, label])


def test_a_finding_says_what_ran_and_with_which_thresholds(pipeline, small_bundle, image):
    record = json.loads(pipeline(image).to_json())
    assert record["provenance"]["bundle_sha256"] == small_bundle.sha256
    assert record["provenance"]["engine"] == "openvino"
    assert record["provenance"]["precision"] == "fp32"
    calibration = small_bundle.manifest.calibration["fp32"]
    assert record["thresholds"]["temperature"] == calibration.temperature
    assert record["notice"] == small_bundle.manifest.intended_use
    timing = record["timing_ms"]
    stages = [timing[stage] for stage in ("read", "preprocess", "inference", "decide")]
    assert timing["total"] == pytest.approx(sum(stages))
    assert min(stages) >= 0


def test_running_again_gives_the_same_record(pipeline, image):
    first, second = (json.loads(pipeline(image).to_json()) for _ in range(2))
    first.pop("timing_ms")
    second.pop("timing_ms")
    assert first == second


@pytest.mark.parametrize("intent", ["FOR PRESENTATION", "FOR PROCESSING"])
@pytest.mark.parametrize("sandboxed", [False, True])
def test_data_for_processing_is_at_best_referred(intent, sandboxed):
    pytest.importorskip("pydicom")
    grey = cv2.imread(str(min(PHANTOM_SAMPLES.glob("*.png"))), cv2.IMREAD_GRAYSCALE)
    changes = [
        *((0x00280100, "US", [8]), (0x00280101, "US", [8]), (0x00280102, "US", [7])),
        *((0x00281050, "DS", "127.5"), (0x00281051, "DS", "255"), (0x00080068, "CS", intent)),
        *((0x00281056, "CS", "LINEAR_EXACT"), (0x7FE00010, "OB", grey.tobytes())),
    ]
    with SandboxedReader() as reader:
        pipeline = open_pipeline("phantom", reader=reader if sandboxed else read_image)
        radiograph, finding = pipeline.predict_with_image(drawn(changes, grey))
    assert np.array_equal(radiograph.pixels, grey)
    assert finding.verdict.reasons == radiograph.refer_reasons
    if intent == "FOR PRESENTATION":
        assert (finding.decision, finding.verdict.reasons) == ("report", ())
    else:
        (reason,) = finding.verdict.reasons
        assert (finding.decision, reason[:28]) == ("refer", "detector data for processing")


def test_what_is_no_radiograph_is_refused(pipeline, tmp_path):
    with pytest.raises(InputError, match="uint8"):
        pipeline(np.zeros((4, 4), np.float32))
    with pytest.raises(InputError, match="empty"):
        pipeline(b"")


def test_logits_that_are_not_finite_are_no_answer(small_bundle, image):
    class Broken:
        name, version, precision, isa, threads = "broken", "0", "fp32", "none", 1

        def run(self, images):
            return Outputs(
                np.full((1, 3), np.nan, np.float32),
                np.zeros((1, 3, 4, 4), np.float32),
                np.zeros((1, 8), np.float32),
            )

    with pytest.raises(EngineError, match="not finite"):
        Pipeline(small_bundle, Broken())(image)


def test_outputs_of_other_shapes_than_the_manifest_s_are_no_answer(small_bundle, image):
    class Broken:
        name, version, precision, isa, threads = "broken", "0", "fp32", "none", 1

        def run(self, images):  # one feature would spread over all of the statistics' features
            arrays = ((1, 3), (1, 3, 4, 4), (1, 1))
            return Outputs(*(np.zeros(shape, np.float32) for shape in arrays))

    with pytest.raises(EngineError, match="not those of the manifest"):
        Pipeline(small_bundle, Broken())(image)


def test_a_fallback_is_part_of_the_finding(small_bundle, pipeline, image):
    spoken = Pipeline(small_bundle, pipeline.engine, fallback_reason="no GPU here")(image)
    assert spoken.provenance.fallback == "no GPU here"
