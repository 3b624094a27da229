"""OpenVINO with its kernels limited to an older instruction set.

oneDNN reads `ONEDNN_MAX_CPU_ISA` once, when it is loaded, so the model runs in a child process:
`python -m orthoedge.targets.isa_limit FOLDER SIZE PRECISION`. Outputs are those of that instruction
set; clock, cache and memory are still this machine's, so nothing is timed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.engine import Outputs, Precision
from orthoedge.runtime.errors import EngineError, OrthoEdgeError
from orthoedge.runtime.subprocesses import module_command
from orthoedge.targets import open_model
from orthoedge.targets.cpu import instruction_sets
from orthoedge.targets.engine_utils import run_batched

_VARIABLE = "ONEDNN_MAX_CPU_ISA"
_TIMEOUT_S = 1800  # SSE4.1 runs a large INT8 ensemble at a few images a second
_MODEL, _IMAGES, _OUTPUTS = "model.onnx", "images.npy", "outputs.npz"


class _Limit(NamedTuple):
    flag: str
    """The processor's flag, as Linux names it; without it oneDNN silently uses a narrower set."""
    isa: str
    """OpenVINO's name for the kernels; it has none of its own for AVX2 with VNNI."""


_LIMITS = {
    "AVX512_CORE_VNNI": _Limit("avx512_vnni", "avx512"),
    "AVX2_VNNI": _Limit("avx_vnni", "avx2"),
    "AVX2": _Limit("avx2", "avx2"),
    "SSE41": _Limit("sse4_1", "sse42"),
}
ISA_LIMITS = tuple(_LIMITS)


def why_unavailable(isa_limit: str) -> str:
    """Why this processor cannot run with that limit; empty if it can."""
    flags = instruction_sets()
    if not flags:
        return "the processor's instruction sets cannot be read"
    flag = _LIMITS[isa_limit].flag
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
        _run_child([name, str(size), precision], isa_limit)
        with np.load(folder / _OUTPUTS, allow_pickle=False) as arrays:
            outputs = Outputs(arrays["logits"], arrays["saliency_map"], arrays["feature_vector"])
            isa = str(arrays["isa"])
    if isa != _LIMITS[isa_limit].isa:
        raise EngineError(f"{_VARIABLE}={isa_limit} had no effect: openvino compiled {isa} kernels")
    return outputs, isa


def _run_child(arguments: list[str], isa_limit: str) -> None:
    try:
        ended = subprocess.run(
            [*module_command(__name__), *arguments],
            env=os.environ | {_VARIABLE: isa_limit},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        message = f"openvino limited to {isa_limit} did not finish in {_TIMEOUT_S} s"
        raise EngineError(message) from error
    if ended.returncode != 0:
        lines = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise EngineError(f"openvino limited to {isa_limit} failed: {lines[-1]}")


def _main(folder: Path, size: int, precision: Precision) -> None:
    """Run in the child process: read model and images from `folder`, write the outputs there."""
    engine = open_model((folder / _MODEL).read_bytes(), size, "x86", precision)
    outputs = run_batched(engine, np.load(folder / _IMAGES, allow_pickle=False))
    np.savez(
        folder / _OUTPUTS,
        logits=outputs.logits,
        saliency_map=outputs.saliency_map,
        feature_vector=outputs.feature_vector,
        isa=np.array(engine.isa),
    )


if __name__ == "__main__":
    try:
        _main(Path(sys.argv[1]), int(sys.argv[2]), "int8" if sys.argv[3] == "int8" else "fp32")
    except OrthoEdgeError as error:
        sys.exit(str(error))
