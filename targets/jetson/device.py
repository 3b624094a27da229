"""The GPU, its driver and TensorRT, which a plan depends on apart from the model.

They are queried in a child process, `python -m orthoedge.targets.jetson.device TENSORRT CUDART`,
because a driver or library in a bad state can end or hang the process that queries it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import msgspec

from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.subprocesses import run_worker, serve_result
from orthoedge.targets.jetson import tensorrt_module
from orthoedge.targets.jetson.tensorrt_module import JETPACK, Modules, cuda_call

_TIMEOUT_S = 120  # CUDA's first start after a boot takes long on a small board


@dataclass(frozen=True)
class Device:
    """One GPU and the software that drives it."""

    name: str
    """CUDA's name for it."""
    compute_capability: str
    """Such as `8.7`."""
    multiprocessors: int
    """Number in use: it differs among boards of the same name, and with the power mode."""
    memory_mb: int
    """Memory that CUDA may use, in MiB; on a Jetson the CPU shares it."""
    driver: str
    """The newest CUDA version that the driver supports, such as `12.6`."""
    cuda: str
    """CUDA runtime version of cuda-python, such as `12.6`."""
    tensorrt: str
    """TensorRT's version, such as `10.3.0`."""


def probe(modules: Modules = JETPACK) -> Device:
    """Query the GPU, its driver and TensorRT without loading a library into this process.

    Args:
        modules: the packages that are imported as TensorRT and CUDA.

    Raises:
        MissingDependency: TensorRT or cuda-python is not installed.
        EngineError: no driver, no device, a driver older than the runtime, a lost GPU, or the child
            process crashed or hung.
    """
    arguments = [modules.tensorrt, modules.cudart]
    result = run_worker(__name__, arguments, "asking for the GPU", _TIMEOUT_S)
    return msgspec.json.decode(result, type=Device)


def read_device(modules: Modules) -> Device:
    """Query the device in this process, which loads both libraries; run in the child of `probe`."""
    cudart = tensorrt_module.load_cudart(modules.cudart)
    driver, runtime = (cuda_call(cudart, f"cuda{part}GetVersion") for part in ("Driver", "Runtime"))
    if driver == 0:
        raise EngineError("no CUDA driver is installed")
    if driver < runtime:
        raise EngineError(
            f"the CUDA driver supports {_version(driver)} and cuda-python was made for "
            f"{_version(runtime)}: install a cuda-python no newer than the driver"
        )
    if cuda_call(cudart, "cudaGetDeviceCount") == 0:
        raise EngineError("CUDA finds no GPU")
    # Creates the context, so that a GPU that is listed but lost fails here.
    cuda_call(cudart, "cudaSetDevice", 0)
    device = cuda_call(cudart, "cudaGetDeviceProperties", 0)
    return Device(
        name=bytes(device.name).split(b"\0")[0].decode(errors="replace"),
        compute_capability=f"{device.major}.{device.minor}",
        multiprocessors=device.multiProcessorCount,
        memory_mb=device.totalGlobalMem >> 20,
        driver=_version(driver),
        cuda=_version(runtime),
        tensorrt=tensorrt_module.load_tensorrt(modules.tensorrt).__version__,
    )


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"


if __name__ == "__main__":
    serve_result(lambda: msgspec.json.encode(read_device(Modules(*sys.argv[1:]))))
