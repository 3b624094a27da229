"""Every line of the TensorRT engine, on stand-ins that replay ONNX Runtime; no GPU was here."""

import os
import re
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle
from orthoedge.runtime.errors import DeadlineExceeded, EngineError
from orthoedge.targets.jetson.cuda_stream import Stream
from orthoedge.targets.portable.engine import OnnxRuntimeEngine
from orthoedge.targets.verification import check_engine
from tests.conftest import FEATURES
from tests.helpers.jetson.open_plans import IMAGES, SIZE, open_plan, with_face
from tests.helpers.tensorrt_standin import cudart as standin_cudart
from tests.helpers.tensorrt_standin import gpu as standin_gpu


@pytest.fixture
def model(small_bundle):
    return small_bundle.model("fp32")


@pytest.mark.parametrize("source", ["embedded", "small"])
def test_the_golden_answers_come_back(modules, source, small_bundle):
    bundle = small_bundle if source == "small" else read_bundle(EMBEDDED)
    size = bundle.manifest.graph.size
    for precision in bundle.manifest.golden.tolerance:
        engine = open_plan(bundle.model(precision), size, precision, modules)
        assert [str(check) for check in check_engine(bundle, engine) if not check.passed] == []
        assert (engine.name, engine.precision, engine.threads) == ("tensorrt", precision, 1)
        assert engine.version in ("10.3.0", "11.4.0")
        assert engine.isa == "sm_87"


def test_a_network_in_half_precision_keeps_the_face(modules):
    half = with_face({}, wide=TensorProto.FLOAT16)
    engine = open_plan(half, SIZE, "fp16", modules)
    assert engine.precision == "fp16"
    outputs, expected = (
        engine.run(IMAGES[:1]),
        OnnxRuntimeEngine(half, SIZE, "fp32").run(IMAGES[:1]),
    )
    for got, wanted in zip(*(o.tensors().values() for o in (outputs, expected)), strict=True):
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, wanted)


def test_inferences_are_launches_of_one_graph(gpu, model):
    engine = open_plan(model)
    assert engine.graph == "captured"
    before = standin_gpu.BOOKS.launches
    engine.run(IMAGES[:3])
    assert standin_gpu.BOOKS.launches == before + 3


def test_every_layer_is_read_back(modules, small_bundle):
    engine = open_plan(small_bundle.model("int8"), SIZE, "int8", modules)
    assert len(engine.layers) == len(onnx.load_from_string(small_bundle.model("int8")).graph.node)
    assert any("int8" in layer.precision for layer in engine.layers)


def test_the_caller_owns_the_answers(gpu, model):
    engine = open_plan(model)
    first = engine.run(IMAGES[:1])
    kept = [array.copy() for array in first.tensors().values()]
    engine.run(IMAGES[1:2])
    for array, before in zip(first.tensors().values(), kept, strict=True):
        np.testing.assert_array_equal(array, before)


def test_eight_threads_get_the_answers_of_one(gpu, model):
    engine = open_plan(model)
    alone = [engine.run(IMAGES[i : i + 1]).logits.tobytes() for i in range(8)]
    assert len(set(alone)) == 8  # one for another is seen
    together = threading.Barrier(8)

    def work(first):
        together.wait()
        order = [(first + i) % 8 for i in range(8)] * 5
        return [i for i in order if engine.run(IMAGES[i : i + 1]).logits.tobytes() != alone[i]]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[]] * 8


def test_after_an_overrun_the_next_call_waits_and_works(gpu, model):
    engine = open_plan(model)
    expected = engine.run(IMAGES[1:2]).logits
    standin_gpu.FAULTS.gate.clear()
    for _ in range(2):  # the second finds the GPU at work on the first
        with pytest.raises(DeadlineExceeded, match="inference overran"):
            engine.run(IMAGES[:1], timeout_s=0.02)
    runs = standin_gpu.BOOKS.runs
    standin_gpu.FAULTS.gate.set()
    np.testing.assert_array_equal(engine.run(IMAGES[1:2], timeout_s=60).logits, expected)
    assert standin_gpu.BOOKS.runs == runs + 2, "what was given up, and the next; nothing piled up"
    assert engine.lost == ""


def test_waiting_for_another_thread_counts(gpu, model):
    engine = open_plan(model)
    engine._lock.acquire()
    with pytest.raises(DeadlineExceeded, match="inference overran"):
        engine.run(IMAGES[:1], timeout_s=0.01)
    engine._lock.release()
    engine.run(IMAGES[:1])


def test_an_engine_dropped_while_the_gpu_works_waits_before_it_frees(gpu, model):
    engine = open_plan(model)
    standin_gpu.FAULTS.gate.clear()
    with pytest.raises(DeadlineExceeded):
        engine.run(IMAGES[:1], timeout_s=0.01)
    threading.Timer(0.05, standin_gpu.FAULTS.gate.set).start()
    del engine  # the fixture checks what was freed
    assert standin_gpu.still_open() == []


def test_a_lost_gpu_closes_the_engine_with_cudas_own_name(gpu, model):
    engine = open_plan(model)
    engine.run(IMAGES[:1])
    standin_gpu.FAULTS.runs = standin_gpu.BOOKS.runs + 1
    engine.run(IMAGES[:1])
    with pytest.raises(EngineError, match="cudaStreamSynchronize: cudaErrorLaunchFailure") as first:
        engine.run(IMAGES[:1])
    assert "closed" in engine.lost
    standin_gpu.reset()  # even if the GPU came back
    with pytest.raises(EngineError, match=re.escape(str(first.value))):
        engine.run(IMAGES[:1])


def test_without_graph_a_refusal_of_tensorrt_closes_the_engine(gpu, model):
    gpu(capture=False)
    engine = open_plan(model)
    assert re.match("no graph: .*cudaErrorStreamCaptureInvalidated", engine.graph)
    engine.run(IMAGES[:1])
    assert standin_gpu.BOOKS.launches == 0
    standin_gpu.FAULTS.enqueues = 0
    with pytest.raises(EngineError, match="enqueueV3 was planted to fail"):
        engine.run(IMAGES[:1])
    assert "planted" in engine.lost


def test_a_refused_capture_leaves_a_stream_that_works(gpu):
    def refuse(handle):
        raise EngineError("not now")

    stream, done = Stream(standin_cudart), []
    with pytest.raises(EngineError, match="not now"):
        stream.capture(refuse)
    stream.start(lambda handle: standin_gpu.enqueue(handle, lambda: done.append(1), first=False))
    stream.wait()
    assert done == [1]
    stream.close()


def test_an_error_that_cuda_python_has_no_name_for_closes_the_engine_too(gpu, model, monkeypatch):
    def unknown(*arguments):
        raise ValueError("98765 is not a valid cudaError_t")

    engine = open_plan(model)
    monkeypatch.setattr(standin_cudart, "cudaGraphLaunch", unknown)
    with pytest.raises(EngineError, match="98765"):
        engine.run(IMAGES[:1])
    assert "98765" in engine.lost


def test_where_no_graph_can_be_made_the_answers_are_the_same(gpu, model):
    engine = open_plan(model)
    expected = engine.run(IMAGES).logits
    gpu(instantiate=False)
    plain = open_plan(model)
    assert "cudaGraphInstantiate: cudaErrorMemoryAllocation" in plain.graph
    np.testing.assert_array_equal(plain.run(IMAGES).logits, expected)


def test_what_tensorrt_says_at_every_image_is_not_kept(gpu, model):
    gpu(capture=False)
    engine = open_plan(model)
    for _ in range(3):
        engine._messages.append((2, "a warning"))
        engine.run(IMAGES[:1])
    assert len(engine._messages) == 0


def test_an_engine_is_freed_with_its_last_reference(gpu, model):
    engine = open_plan(model)
    gone = weakref.ref(engine)
    assert standin_gpu.still_open() != []
    del engine
    assert gone() is None
    assert standin_gpu.still_open() == []


def test_a_forked_child_neither_runs_nor_frees_what_is_on_the_gpu(gpu, model, modules):
    engine = open_plan(model, modules=modules)
    child = os.fork()
    if child == 0:  # each step that goes wrong gives another exit status
        status = 3
        try:
            engine.run(IMAGES[:1])
        except EngineError as error:
            status = 0 if "forked" in str(error) else 2
        stream, still_open = engine._stream, len(standin_gpu.still_open())
        stream.close()
        del engine
        status = status or (4 if len(standin_gpu.still_open()) != still_open else 0)
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    engine.run(IMAGES[:1])


# The optional output.


def masked(model, name="lesion_mask", channels=1):
    """The same network with one more output: a convolution of its features and a sigmoid."""
    proto = onnx.load_from_string(model)
    weight = np.random.default_rng(3).normal(0, 1, (channels, FEATURES, 1, 1)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "mask_weight"))
    proto.graph.node.append(helper.make_node("Conv", ["features", "mask_weight"], ["mask_logits"]))
    proto.graph.node.append(helper.make_node("Sigmoid", ["mask_logits"], [name]))
    shape = ["n", channels, SIZE // 8, SIZE // 8]
    proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return proto.SerializeToString()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_mask_is_that_of_the_reference_engine(modules, small_bundle, precision):
    model = masked(small_bundle.model(precision))
    engine = open_plan(model, SIZE, precision, modules)
    expected = OnnxRuntimeEngine(model, SIZE, precision).run(IMAGES[:2]).lesion_mask
    mask = engine.run(IMAGES[:2]).lesion_mask
    assert mask.shape == (2, 1, SIZE // 8, SIZE // 8)
    np.testing.assert_allclose(mask, expected, atol=1e-6)
    assert (
        open_plan(small_bundle.model(precision), SIZE, precision, modules)
        .run(IMAGES[:1])
        .lesion_mask
        is None
    )


@pytest.mark.parametrize("changed", [{"name": "another"}, {"channels": 2}])
def test_another_output_is_refused(gpu, small_bundle, changed):
    with pytest.raises(EngineError, match=r"another|lesion_mask of shape"):
        open_plan(masked(small_bundle.model("fp32"), **changed))
