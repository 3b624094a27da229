"""The child process that probes the GPU, on boards with and without one."""

import platform
import sys

import pytest

from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.targets.jetson import device
from orthoedge.targets.jetson.device import Device, probe, read_device
from orthoedge.targets.jetson.tensorrt_module import Modules, cuda_call, load_cudart, load_tensorrt


def test_the_device_is_what_cuda_and_tensorrt_say(modules):
    found = probe(modules)
    assert found == Device(
        name="Stand-in",
        compute_capability="8.7",
        multiprocessors=8,
        memory_mb=7 << 10,
        driver="13.0",
        cuda="12.6",
        tensorrt={
            "tests.helpers.tensorrt_standin.trt10": "10.3.0",
            "tests.helpers.tensorrt_standin.trt11": "11.4.0",
        }[modules.tensorrt],
    )
    assert read_device(modules) == found, "the child's part, here"


def test_whatever_jetpack_is_installed_is_found(jetpack):
    assert probe().tensorrt == {"JetPack 6.2": "10.3.0", "JetPack 7.2": "11.4.0"}[jetpack]


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"driver": 0}, "no CUDA driver is installed"),
        ({"driver": 12020}, r"the CUDA driver supports 12\.2 and cuda-python was made for 12\.6"),
        ({"devices": 0}, "cudaErrorNoDevice"),
        ({"crash": True}, "crashed: the process was ended by SIGSEGV"),
    ],
)
def test_a_board_that_cannot_run_is_one_line_with_the_reason(gpu, faults, reason):
    gpu(**faults)
    with pytest.raises(EngineError, match=f"^asking for the GPU.*{reason}") as refusal:
        probe(
            Modules("tests.helpers.tensorrt_standin.trt10", "tests.helpers.tensorrt_standin.cudart")
        )
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("def cudaGetDeviceCount(): return cudaError_t.cudaSuccess, 0", "CUDA finds no GPU"),
        # A GPU that is listed, and does not answer any more.
        (
            "def cudaSetDevice(device): return (cudaError_t.cudaErrorIllegalAddress,)",
            "cudaSetDevice: cudaErrorIllegalAddress, the words for 700",
        ),
        ("def cudaSetDevice(device): time.sleep(60)", r"did not end within 1\.5 s"),
        ("def cudaSetDevice(device): sys.exit(7)", "exit status 7"),
        ("def cudaSetDevice(device): raise SystemError('odd')", "SystemError: odd"),
    ],
)
def test_a_gpu_that_was_lost_or_hangs_is_told(gpu, tmp_path, monkeypatch, function, reason):
    head = "import sys, time\nfrom tests.helpers.tensorrt_standin.cudart import *\n"
    (tmp_path / "lost_cudart.py").write_text(head + function + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    if "sleep" in function:
        monkeypatch.setattr(device, "_TIMEOUT_S", 1.5)
    with pytest.raises(EngineError, match=f"^asking for the GPU.*{reason}"):
        probe(Modules("tests.helpers.tensorrt_standin.trt10", "lost_cudart"))


@pytest.mark.parametrize(
    ("modules", "missing"),
    [
        (
            Modules("tensorrt_not_here", "tests.helpers.tensorrt_standin.cudart"),
            "tensorrt_not_here",
        ),
        (Modules("tests.helpers.tensorrt_standin.trt10", "cudart_not_here"), "cudart_not_here"),
    ],
)
def test_what_is_not_installed_is_told_with_where_it_comes_from(gpu, modules, missing):
    with pytest.raises(MissingDependency, match=rf"^{missing} is not installed .*JetPack"):
        probe(modules)


def test_a_library_that_cannot_be_loaded_is_told(tmp_path, monkeypatch):
    (tmp_path / "broken_trt.py").write_text("raise OSError('libnvinfer.so.10: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependency, match=r"libnvinfer\.so\.10: cannot open"):
        load_tensorrt("broken_trt")
    with pytest.raises(MissingDependency, match=r"libnvinfer\.so\.10: cannot open"):
        load_cudart("broken_trt")


def test_without_any_cuda_python_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda", None)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", None)
    with pytest.raises(MissingDependency, match=r"^cuda-python is not installed"):
        load_cudart()


@pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no cuda-python here"
)
def test_the_real_cuda_python_is_asked_in_the_same_way():
    """It can be installed without a GPU, and then tells its version and its errors' names."""
    cudart = load_cudart()
    assert cuda_call(cudart, "cudaRuntimeGetVersion") >= 12000
    with pytest.raises(EngineError, match=r"^cudaGetDeviceProperties: cudaError\w+, \w+"):
        cuda_call(cudart, "cudaGetDeviceProperties", 1000)
