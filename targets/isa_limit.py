"""OpenVINO with its kernels limited to an older instruction set.

oneDNN reads `ONEDNN_MAX_CPU_ISA` once, when it is loaded, so the model runs in a child process:
`python -m orthoedge.targets.isa_limit FOLDER SIZE PRECISION`. Outputs are those of that instruction
set; clock, cache and memory are still this machine's, so nothing is timed.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.engine import Outputs, Precision
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.subprocesses import run_worker, serve_result
from orthoedge.targets import open_model
from orthoedge.targets.cpu import instruction_sets
from orthoedge.targets.engine_utils import run_batched

_VARIABLE = "ONEDNN_MAX_CPU_ISA"
_TIMEOUT_S = 1800  # SSE4.1 runs a large INT8 ensemble at a few images a second
_MODEL, _IMAGES, _OUTPUTS = "model.onnx", "images.npy", "outputs.npz"

# The processor's flag, without which oneDNN silently uses a narrower set, and OpenVINO's name for
# the kernels, which it does not have for AVX2 with VNNI.
_LIMITS = {
    "AVX512_CORE_VNNI": ("avx512_vnni", "avx512"),
    "AVX2_VNNI": ("avx_vnni", "avx2"),
    "AVX2": ("avx2", "avx2"),
    "SSE41": ("sse4_1", "sse42"),
}
ISA_LIMITS = tuple(_LIMITS)


def why_unavailable(isa_limit: str) -> str:
    """Why this processor cannot run with that limit; empty if it can."""
    flags = instruction_sets()
    if not flags:
        return "the processor's instruction sets cannot be read"
    flag, _ = _LIMITS[isa_limit]
    return "" if flag in flags else f"this processor has no {flag}"


def run_with_isa_limit(
    model: bytes, size: int, precision: Precision, images: npt.NDArray[np.uint8], isa_limit: str
) -> tuple[Outputs, str]:
    """Run OpenVINO with no wider instructions than `isa_limit`.

    Args:
        model: an ONNX file with the interface of a bundle's models.
        size: side S of its input, in pixels.
        precision: precision of the file.
        images: uint8 (N, 1, S, S).
        isa_limit: one of `ISA_LIMITS`.

    Returns:
        The outputs, and the instruction set of the compiled kernels.

    Raises:
        EngineError: this processor lacks those instructions, the limit had no effect, or the engine
            failed.
    """
    if reason := why_unavailable(isa_limit):
        raise EngineError(f"openvino cannot be limited to {isa_limit}: {reason}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / _MODEL).write_bytes(model)
        np.save(folder / _IMAGES, images, allow_pickle=False)
        what = f"openvino limited to {isa_limit}"
        environment = os.environ | {_VARIABLE: isa_limit}
        arguments = [name, str(size), precision]
        isa = run_worker(__name__, arguments, what, _TIMEOUT_S, environment=environment).decode()
        with np.load(folder / _OUTPUTS, allow_pickle=False) as arrays:
            outputs = Outputs(**arrays)
    if isa != _LIMITS[isa_limit][1]:
        raise EngineError(f"{_VARIABLE}={isa_limit} had no effect: openvino compiled {isa} kernels")
    return outputs, isa


def _main(folder: Path, size: int, precision: Precision) -> bytes:
    """Run in the child process: read model and images from `folder`, write the outputs there."""
    engine = open_model((folder / _MODEL).read_bytes(), size, "x86", precision)
    outputs = run_batched(engine, np.load(folder / _IMAGES, allow_pickle=False))
    arrays: dict[str, Any] = {**outputs.tensors()}
    np.savez(folder / _OUTPUTS, **arrays)
    return engine.isa.encode()


if __name__ == "__main__":
    _folder, _size, _precision = sys.argv[1:]
    serve_result(
        lambda: _main(Path(_folder), int(_size), "int8" if _precision == "int8" else "fp32")
    )
