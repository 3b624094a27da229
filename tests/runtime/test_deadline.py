"""A call that overruns its deadline raises, and neither the next one nor another thread notices."""

import re
import threading
import time

import numpy as np
import pytest

from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import ConfigError, DeadlineExceeded
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import CallLimits, EngineOptions, open_engine, open_model, open_pipeline

SIZE, LAYERS, CHANNELS = 256, 30, 16
IMAGES = np.random.default_rng(4).integers(0, 256, (2, 1, SIZE, SIZE), dtype=np.uint8)
# A pass over `slow_model` takes a hundred times as long on one thread.
SOON = 0.001


def slow_model():
    """ONNX bytes of the common face: convolutions one after another, so it can end at any."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    constants = {
        "stem": rng.normal(0, 0.002, (CHANNELS, 1, 3, 3)),
        "mix": rng.normal(0, 0.1, (CHANNELS, CHANNELS, 3, 3)),
        "head": rng.normal(0, 1, (3, CHANNELS, 1, 1)),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["x"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "stem"], ["f0"], pads=[1] * 4),
    ]
    for layer in range(LAYERS):
        nodes += [
            helper.make_node("Conv", [f"f{layer}", "mix"], [f"g{layer}"], pads=[1] * 4),
            helper.make_node("Relu", [f"g{layer}"], [f"f{layer + 1}"]),
        ]
    last = f"f{LAYERS}"
    nodes += [
        helper.make_node("ReduceMean", [last, "axes"], ["feature_vector"], keepdims=0),
        helper.make_node("Conv", [last, "head"], ["saliency_map"]),
        helper.make_node("ReduceMean", ["saliency_map", "axes"], ["logits"], keepdims=0),
    ]
    weights = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in constants.items()]
    weights.append(numpy_helper.from_array(np.array([2, 3], np.int64), "axes"))
    face = [helper.make_tensor_value_info("image", onnx.TensorProto.UINT8, ["n", 1, SIZE, SIZE])]
    names = ("logits", "saliency_map", "feature_vector")
    out = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names]
    graph = helper.make_graph(nodes, "slow", face, out, weights)
    opset = helper.make_opsetid("", 18)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()


@pytest.fixture(scope="module", params=["x86", "portable"])
def slow(request):
    return open_model(slow_model(), SIZE, request.param, "fp32", options=EngineOptions(threads=1))


@pytest.fixture(scope="module")
def expected(slow):
    return slow.run(IMAGES[:1])


def same(found, expected):
    names = ("logits", "saliency_map", "feature_vector")
    return all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in names)


def test_inference_is_given_up_and_the_next_call_has_the_same_bits(slow, expected):
    for timeout in (SOON, 0.0, SOON):
        with pytest.raises(DeadlineExceeded, match=r"^inference overran the deadline of"):
            slow.run(IMAGES[1:], timeout)
    assert same(slow.run(IMAGES[:1], 3600.0), expected)
    assert same(slow.run(IMAGES[:1]), expected)


def test_what_is_given_up_ends_long_before_it_would_be_done(slow, expected):
    """By the processor's time, which other programs do not add to; half leaves room for a layer."""

    def seconds(work):
        start = time.process_time()
        work()
        return time.process_time() - start

    def give_up():
        with pytest.raises(DeadlineExceeded):
            slow.run(IMAGES[:1], SOON)
        if slow.name == "openvino":  # it does not wait for the layer that is at work
            slow._idle_slot(None)

    assert seconds(give_up) < seconds(lambda: slow.run(IMAGES[:1])) / 2


def test_one_thread_s_overrun_leaves_another_s_answer_alone(slow, expected):
    wrong, raised = [], []

    def steady():
        wrong.extend(not same(slow.run(IMAGES[:1]), expected) for _ in range(2))

    def hurried():
        for _ in range(6):
            try:
                slow.run(IMAGES[1:], SOON)
            except DeadlineExceeded:
                raised.append(True)
        wrong.append(not same(slow.run(IMAGES[:1]), expected))

    threads = [threading.Thread(target=work) for work in (steady, hurried)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [False] * 3
    assert len(raised) == 6


def test_a_batch_has_one_deadline(small_bundle):
    images = np.zeros((50_000, 1, 32, 32), np.uint8)
    for target in ("x86", "portable"):
        engine = open_engine(small_bundle, target, "fp32")
        with pytest.raises(DeadlineExceeded):
            engine.run(images, 0.005)
        assert same(engine.run(images[:1], 3600.0), engine.run(images[:1]))


@pytest.fixture
def image():
    return np.random.default_rng(5).integers(0, 256, (70, 50), dtype=np.uint8)


def test_an_impossible_deadline_names_the_stage_the_deadline_and_the_time(small_bundle, image):
    pipeline = open_pipeline(
        small_bundle, target="x86", precision="fp32", limits=CallLimits(deadline_ms=0.001)
    )
    with pytest.raises(DeadlineExceeded) as caught:
        pipeline(image)
    pattern = r"reading overran the deadline of 0\.001 ms: \S+ ms since the call began"
    assert re.fullmatch(pattern, str(caught.value))


def test_a_deadline_that_is_kept_changes_nothing(small_bundle, image):
    plain = open_pipeline(small_bundle, target="x86", precision="fp32")
    timed = Pipeline(small_bundle, plain.engine, limits=CallLimits(deadline_ms=3.6e6))
    assert timed(image).verdict == plain(image).verdict
    assert timed(image).provenance == plain(image).provenance
    np.testing.assert_array_equal(timed(image).saliency_map, plain(image).saliency_map)


class Late:
    """An engine that answers when it likes, and once gives up as it should."""

    name, version, precision, isa, threads, notes = "late", "0", "fp32", "none", 1, ()

    def __init__(self, give_up):
        self.give_up, self.allowed = give_up, []

    def run(self, images, timeout_s=None):
        self.allowed.append(timeout_s)
        if len(self.allowed) == 1:
            time.sleep(timeout_s + 0.001)
            if self.give_up:
                raise DeadlineExceeded("its own words")
        zeros = ((1, 3), (1, 3, 4, 4), (1, 8))
        return Outputs(*(np.zeros(shape, np.float32) for shape in zeros))


@pytest.mark.parametrize("give_up", [True, False])
def test_the_engine_is_given_what_is_left_and_the_call_s_deadline_is_named(
    small_bundle, image, give_up
):
    engine = Late(give_up)
    pipeline = Pipeline(small_bundle, engine, limits=CallLimits(deadline_ms=1000))
    with pytest.raises(DeadlineExceeded, match=r"^inference overran the deadline of 1,000 ms"):
        pipeline(image)
    assert 0 < engine.allowed[0] < 1
    assert pipeline(image).label == "fracture"


@pytest.mark.parametrize("setting", [{"deadline_ms": 0}, {"memory_mb": -1.0}])
def test_a_limit_of_nothing_is_refused(small_bundle, setting):
    with pytest.raises(ConfigError, match="must be > 0"):
        open_pipeline(small_bundle, target="x86", precision="fp32", **setting)
