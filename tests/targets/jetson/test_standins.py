"""Stand-ins have the interface of the real packages and detect misuse that breaks a GPU."""

import importlib
import inspect
import platform
import re
import sys

import numpy as np
import onnx
import pytest

from orthoedge.targets.jetson.plan_builder import build_plan, logger
from orthoedge.targets.jetson.tensorrt_module import cuda_call
from tests.helpers.tensorrt_standin import cudart as standin_cudart
from tests.helpers.tensorrt_standin import execution as standin_execution
from tests.helpers.tensorrt_standin import gpu as standin_gpu
from tests.helpers.tensorrt_standin import model as standin_model
from tests.helpers.tensorrt_standin import tensorrt_api as standin_tensorrt
from tests.helpers.tensorrt_standin import trt11 as standin_trt11

# Where they can be installed their absence is a failure and not a skip.
needs_real = pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no NVIDIA packages here"
)


@needs_real
def test_cuda_has_the_names_parameters_and_numbers_of_cuda_python():
    from cuda.bindings import runtime as real

    functions = [
        name
        for name, it in vars(standin_cudart).items()
        if name.startswith("cuda") and inspect.isfunction(it)
    ]
    assert len(functions) > 15
    for name in functions:
        ours, theirs = (inspect.signature(getattr(m, name)) for m in (standin_cudart, real))
        assert list(ours.parameters) == list(theirs.parameters), name
    for enumeration in ("cudaError_t", "cudaStreamCaptureMode"):
        for member in getattr(standin_cudart, enumeration):
            assert getattr(getattr(real, enumeration), member.name) == member
    for constant in ("cudaHostAllocMapped", "cudaStreamNonBlocking"):
        assert getattr(real, constant) == getattr(standin_cudart, constant)


@needs_real
def test_cuda_answers_in_the_form_of_cuda_python():
    from cuda.bindings import runtime as real

    for name in ("cudaGetErrorName", "cudaGetErrorString"):
        ours, theirs = (
            getattr(m, name)(m.cudaError_t.cudaErrorNoDevice) for m in (standin_cudart, real)
        )
        assert [type(part).__name__ for part in ours] == [type(part).__name__ for part in theirs]
    for name in ("cudaDriverGetVersion", "cudaRuntimeGetVersion"):
        ours, theirs = (getattr(m, name)() for m in (standin_cudart, real))
        assert [type(part).__name__ for part in ours] == [type(part).__name__ for part in theirs]
    assert type(real.cudaGetLastError()) is tuple
    assert int(real.cudaStream_t(7)) == int(standin_cudart.cudaStream_t(7))


@needs_real
def test_tensorrt_has_the_classes_methods_and_parameters_of_tensorrt_rtx():
    import tensorrt_rtx as real

    parts = (standin_model, standin_tensorrt, standin_execution)
    ours = {name: it for part in parts for name, it in vars(part).items() if inspect.isclass(it)}
    ours |= {name: getattr(standin_trt11, name) for name in ("Builder", "Runtime")}
    del ours["Tensor"]  # what a network's input is called there is `ITensor`
    assert len(ours) > 13
    checked = 0
    for name, found in ours.items():
        theirs = getattr(real, name)
        for member in getattr(found, "__members__", ()):
            assert hasattr(theirs, member), f"{name}.{member}"
        for method, it in vars(found).items():
            if method.startswith("_") or not inspect.isfunction(it):
                continue
            taken = list(inspect.signature(it).parameters)[1:]
            assert any(fits(taken, line) for line in documented(theirs, method)), f"{name}.{method}"
            checked += 1
    assert checked >= 30


def documented(owner, method):
    """Parameters of every overload, from the lines of the docstring that pybind writes."""
    text = getattr(owner, method).__doc__
    return re.findall(rf"\b{method}\(self: [^,)]+(.*)\) -> ", text)


def fits(taken, line):
    """Whether a call with those parameters is one that the line documents."""
    names = re.findall(r", (\w+): ", line)
    optional = [" = " in part for part in re.split(r", \w+: ", line)[1:]]
    return names[: len(taken)] == taken and all(optional[len(taken) :])


def stream():
    return cuda_call(standin_cudart, "cudaStreamCreateWithFlags", 1)


def error_of(stream):
    (error,) = standin_cudart.cudaStreamSynchronize(stream)
    return error.name


def close(stream):
    cuda_call(standin_cudart, "cudaStreamDestroy", stream)


@pytest.mark.parametrize("mistake", ["freed", "host", "small"])
def test_a_wrong_address_is_a_lost_gpu(gpu, mistake):
    host = cuda_call(standin_cudart, "cudaHostAlloc", 8, 2)
    address = cuda_call(standin_cudart, "cudaHostGetDevicePointer", host, 0)
    if mistake == "freed":
        cuda_call(standin_cudart, "cudaFreeHost", host)
    address = host if mistake == "host" else address
    shape = (9,) if mistake == "small" else (8,)
    ours = stream()
    standin_gpu.enqueue(ours, lambda: standin_gpu.at(address, shape, np.uint8), first=False)
    assert error_of(ours) == "cudaErrorIllegalAddress"
    assert error_of(ours) == "cudaErrorIllegalAddress", "it stays"


@pytest.mark.parametrize("call", ["cudaStreamSynchronize", "cudaStreamQuery", "cudaHostAlloc"])
def test_a_synchronizing_call_spoils_a_capture(gpu, call):
    ours = stream()
    mode = standin_cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
    cuda_call(standin_cudart, "cudaStreamBeginCapture", ours, mode)
    arguments = (8, 2) if call == "cudaHostAlloc" else (ours,)
    refused = standin_cudart.cudaError_t.cudaErrorStreamCaptureUnsupported
    assert getattr(standin_cudart, call)(*arguments)[0] == refused
    ended = standin_cudart.cudaStreamEndCapture(ours)
    assert (ended[0].name, ended[1]) == ("cudaErrorStreamCaptureInvalidated", None)
    close(ours)


def test_memory_that_the_gpu_works_on_is_not_to_be_freed(gpu):
    host = cuda_call(standin_cudart, "cudaHostAlloc", 8, 2)
    ours = stream()
    standin_gpu.FAULTS.gate.clear()
    standin_gpu.enqueue(ours, lambda: None, first=False)
    cuda_call(standin_cudart, "cudaFreeHost", host)
    standin_gpu.FAULTS.gate.set()
    assert len(standin_gpu.BOOKS.violations) == 1
    standin_gpu.BOOKS.violations.clear()
    standin_cudart.cudaStreamSynchronize(ours)
    close(ours)


def test_an_error_that_nobody_fetched_is_found_by_the_next_inference(gpu):
    ours = stream()
    standin_gpu.FAULTS.gate.clear()
    standin_gpu.enqueue(ours, lambda: None, first=False)
    assert standin_cudart.cudaStreamQuery(ours)[0].name == "cudaErrorNotReady"
    with pytest.raises(standin_gpu.Failed):
        standin_gpu.enqueue(ours, lambda: None, first=False)
    standin_cudart.cudaGetLastError()
    standin_gpu.enqueue(ours, lambda: None, first=False)
    standin_gpu.FAULTS.gate.set()
    standin_cudart.cudaStreamSynchronize(ours)
    close(ours)


def test_an_inference_without_every_address_is_refused(modules, small_bundle):
    trt, said = importlib.import_module(modules.tensorrt), []
    plan = build_plan(small_bundle.model("fp32"), modules.tensorrt)
    log = logger(trt, said)
    context = trt.Runtime(log).deserialize_cuda_engine(plan.data).create_execution_context()
    assert not context.execute_async_v3(1)
    assert "no address is set for ['feature_vector', 'image'" in said[-2][1]
    assert onnx.load_from_string(small_bundle.model("fp32")).graph.output[0].name == "logits"


def test_a_network_that_is_not_strongly_typed_gives_no_plan(gpu):
    from tests.helpers.tensorrt_standin import trt10 as standin_trt10

    said = []
    builder = standin_trt10.Builder(logger(standin_trt10, said))
    network, config = builder.create_network(), builder.create_builder_config()
    assert builder.build_serialized_network(network, config) is None
    assert "types from the ONNX file" in said[-1][1]
