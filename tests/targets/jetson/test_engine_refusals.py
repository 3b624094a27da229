"""What the TensorRT engine refuses to open or to run, and what it says."""

import threading

import numpy as np
import pytest

from orthoedge.runtime.errors import EngineError
from orthoedge.targets.jetson.engine import TensorRtEngine
from orthoedge.targets.jetson.plan_builder import build_plan
from tests.helpers.jetson.open_plans import IMAGES, ORIN, SIZE, TEN, open_plan, with_face
from tests.helpers.tensorrt_standin import gpu as standin_gpu


@pytest.fixture
def model(small_bundle):
    return small_bundle.model("fp32")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"devices": 0}, "cudaErrorNoDevice"),
        ({"driver": 12000}, "cudaErrorInsufficientDriver"),
    ],
)
def test_without_a_gpu_nothing_is_opened(gpu, model, fault, reason):
    gpu(**fault)
    with pytest.raises(EngineError, match=f"cudaStreamCreateWithFlags: {reason}"):
        open_plan(model)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"deserialize": False}, "deserializing it: .*another version"),
        ({"context": False}, "making a context: .*out of device memory"),
        ({"address": False}, "set_tensor_address image: .*is planted"),
        ({"memory": SIZE * SIZE}, "cudaHostAlloc: cudaErrorMemoryAllocation"),
        ({"enqueues": 0}, "enqueueV3 was planted to fail"),
        ({"runs": 0}, "cudaErrorLaunchFailure"),
        ({"runs": 1}, "cudaErrorLaunchFailure"),
    ],
)
def test_what_fails_at_opening_is_told_and_leaves_nothing_open(gpu, model, fault, reason):
    gpu(**fault)
    with pytest.raises(EngineError, match=f"tensorrt cannot run the fp32 plan: .*{reason}") as held:
        open_plan(model)
    if not standin_gpu.BOOKS.sticky:  # then CUDA frees nothing any more
        assert standin_gpu.still_open() == [], f"even while somebody holds {held}"


def test_a_gpu_that_hangs_at_opening_is_no_endless_wait(gpu, model, monkeypatch):
    monkeypatch.setattr("orthoedge.targets.jetson.engine._WARM_UP_MS", 20)
    standin_gpu.FAULTS.gate.clear()
    threading.Timer(0.1, standin_gpu.FAULTS.gate.set).start()  # memory is freed only then
    with pytest.raises(EngineError, match="cannot run the fp32 plan: inference overran"):
        open_plan(model)


def test_a_plan_of_another_generation_is_refused(gpu, model):
    data = build_plan(model, "tests.helpers.tensorrt_standin.trt11").data
    with pytest.raises(EngineError, match="the engine is of another version"):
        TensorRtEngine(data, SIZE, "fp32", ORIN, TEN)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"image": ("picture", 2, ["n", 1, SIZE, SIZE])}, "'picture'.*expected image and"),
        ({"logits": ("scores", 1, ["n", 3])}, "'scores'.*expected image and"),
        ({"image": ("image", 1, ["n", 1, SIZE, SIZE])}, "image is INPUT FLOAT, expected .* UINT8"),
        ({"logits": ("logits", 10, ["n", 3])}, "logits is OUTPUT HALF, expected OUTPUT FLOAT"),
        ({"logits": ("logits", 1, ["n", 4])}, "do not fit a bundle.s interface"),
        ({"feature_vector": ("feature_vector", 1, ["n", 8, 1])}, "do not fit a bundle.s interface"),
        ({"saliency_map": ("saliency_map", 1, ["n", 3, 16])}, "do not fit a bundle.s interface"),
        ({"feature_vector": ("feature_vector", 1, [2, 8])}, "do not fit a bundle.s interface"),
        ({"image": ("image", 2, ["n", 1, 16, 16])}, r"no image of \(1, 1, 32, 32\): .*profile"),
    ],
)
def test_tensors_unlike_those_of_a_bundle_are_refused(gpu, changes, reason):
    with pytest.raises(EngineError, match=reason):
        open_plan(with_face(changes))


def test_the_common_face_itself_is_taken(gpu):
    assert open_plan(with_face({})).run(IMAGES[:2]).logits.shape == (2, 3)


@pytest.mark.parametrize(
    "images", [IMAGES.astype(np.float32), IMAGES[0], IMAGES[:, :, :16], IMAGES[:0]]
)
def test_wrong_input_is_refused_with_what_was_expected(gpu, model, images):
    engine = open_plan(model)
    with pytest.raises(EngineError, match="expected"):
        engine.run(images)
