"""The two packages that JetPack brings: TensorRT, and CUDA's runtime for Python.

They are given by name because child processes load them too; `tensorrt_rtx`, which builds without a
GPU, has TensorRT's interface.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from orthoedge.runtime.errors import EngineError, MissingDependency

# Where cuda-python keeps the runtime; versions as old as 12.6 may have no `cuda.bindings` yet.
_CUDART = ("cuda.bindings.runtime", "cuda.cudart")


@dataclass(frozen=True)
class Modules:
    """Which modules stand behind the target."""

    tensorrt: str = "tensorrt"
    """TensorRT, or a package of the same interface."""
    cudart: str = ""
    """CUDA's runtime; empty for cuda-python's, wherever its version keeps it."""


JETPACK = Modules()


def load_tensorrt(module: str = "tensorrt") -> Any:
    """TensorRT's Python package.

    Raises:
        MissingDependency: it is not installed, or a library of it cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    # OSError: it looks for its libraries itself, and says so of one that is not there.
    except (ImportError, OSError) as error:
        purpose = f"target jetson (it comes with JetPack, not from pip; {error})"
        raise MissingDependency(module, "jetson", purpose) from error


def load_cudart(module: str = "") -> Any:
    """CUDA's runtime for Python, which every call of `cuda_call` goes to.

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
        cudart: what `load_cudart` gave.
        function: its documented name, such as `cudaStreamCreate`.
        arguments: as in cuda-python, without the pointers that C fills in.

    Returns:
        What the function gives beside its error: a value, or None.

    Raises:
        EngineError: the function and CUDA's own name and words for what went wrong.
    """
    error, *values = getattr(cudart, function)(*arguments)
    if int(error) != 0:
        name, words = (
            text.decode() if isinstance(text, bytes) else str(text)
            for text in (cudart.cudaGetErrorName(error)[1], cudart.cudaGetErrorString(error)[1])
        )
        raise EngineError(f"{function}: {name}, {words}")
    return values[0] if values else None
