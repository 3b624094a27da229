"""Import the two packages of JetPack: TensorRT, and CUDA's runtime for Python.

They are passed by name because child processes import them too; `tensorrt_rtx`, which builds plans
without a GPU, has TensorRT's interface.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from orthoedge.runtime.errors import EngineError, MissingDependency

# Places of the runtime in cuda-python; versions as old as 12.6 may not have `cuda.bindings` yet.
_CUDART = ("cuda.bindings.runtime", "cuda.cudart")


@dataclass(frozen=True)
class Modules:
    """Names of the packages that the target imports."""

    tensorrt: str = "tensorrt"
    """TensorRT, or a package of the same interface."""
    cudart: str = ""
    """CUDA's runtime; empty for that of cuda-python, at its place in the installed version."""


JETPACK = Modules()


def load_tensorrt(module: str = "tensorrt") -> Any:
    """Import TensorRT's Python package.

    Raises:
        MissingDependency: it is not installed, or a library of it cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    # OSError: the package loads its libraries itself, and one is missing.
    except (ImportError, OSError) as error:
        purpose = f"target jetson (it comes with JetPack, not from pip; {error})"
        raise MissingDependency(module, "jetson", purpose) from error


def load_cudart(module: str = "") -> Any:
    """Import CUDA's runtime for Python, which `cuda_call` calls.

    Raises:
        MissingDependency: it is not installed, or a library of it cannot be loaded.
    """
    reason: Exception | None = None
    for name in (module,) if module else _CUDART:
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            reason = error
    purpose = f"target jetson (of the CUDA version that JetPack has; {reason})"
    raise MissingDependency(module or "cuda-python", "jetson", purpose) from reason


def cuda_call(cudart: Any, function: str, *arguments: Any) -> Any:
    """Call one function of CUDA's runtime.

    Args:
        cudart: the module from `load_cudart`.
        function: its documented name, such as `cudaStreamCreate`.
        arguments: as in cuda-python, without the pointers that C fills in.

    Returns:
        The value that the function returns after its error code, or None.

    Raises:
        EngineError: with the function, and CUDA's name and description of the error.
    """
    error, *values = getattr(cudart, function)(*arguments)
    if int(error) != 0:
        name, description = (
            text.decode() if isinstance(text, bytes) else str(text)
            for text in (cudart.cudaGetErrorName(error)[1], cudart.cudaGetErrorString(error)[1])
        )
        raise EngineError(f"{function}: {name}, {description}")
    return values[0] if values else None
