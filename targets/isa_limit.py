"""OpenVINO as on a lesser processor: its kernels kept to an older instruction set.

oneDNN reads `ONEDNN_MAX_CPU_ISA` once, when it is loaded, so the model runs in a child process:
`python -m orthoedge.targets.isa_limit FOLDER SIZE PRECISION`. The answers are those of that
instruction set; clock, cache and memory stay this machine's, so no times are taken.
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
from orthoedge.targets.cpu import CPUINFO, instruction_sets
from orthoedge.targets.engine_utils import run_batched

_VARIABLE = "ONEDNN_MAX_CPU_ISA"
_TIMEOUT_S = 1800  # SSE4.1 runs a large INT8 ensemble at a few images a second
_MODEL, _IMAGES, _OUTPUTS = "model.onnx", "images.npy", "outputs.npz"


class _Cap(NamedTuple):
    flag: str
    """The processor's flag, as Linux names it; without it oneDNN takes a narrower set unasked."""
    isa: str
    """What OpenVINO calls the kernels; it has no name of its own for the VNNI of AVX2."""


_CAPS = {
    "AVX512_CORE_VNNI": _Cap("avx512_vnni", "avx512"),
    "AVX2_VNNI": _Cap("avx_vnni", "avx2"),
    "AVX2": _Cap("avx2", "avx2"),
    "SSE41": _Cap("sse4_1", "sse42"),
}
ISA_LIMITS = tuple(_CAPS)


def why_unavailable(cap: str, cpuinfo: Path = CPUINFO) -> str:
    """Why this processor cannot stand for one of `cap`; empty where it can."""
    flags = instruction_sets(cpuinfo)
    if not flags:
        return f"{cpuinfo} does not tell the processor's instruction sets"
    flag = _CAPS[cap].flag
    return "" if flag in flags else f"this processor has no {flag}"


def run_with_isa_limit(
    model: bytes, size: int, precision: Precision, images: npt.NDArray[np.uint8], cap: str
) -> tuple[Outputs, str]:
    """Run OpenVINO with no wider instructions than `cap`.

    Args:
        model: an ONNX file with the common face.
        size: side S of its input, in pixels.
        precision: what the file is.
        images: uint8 (N, 1, S, S).
        cap: one of `ISA_LIMITS`.

    Returns:
        The outputs, and the instruction set of the kernels as the engine tells it.

    Raises:
        EngineError: this processor has not those instructions, the cap had no effect, or the engine
            failed.
    """
    if reason := why_unavailable(cap):
        raise EngineError(f"openvino cannot be capped to {cap}: {reason}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / _MODEL).write_bytes(model)
        np.save(folder / _IMAGES, images, allow_pickle=False)
        _run_child([name, str(size), precision], cap)
        with np.load(folder / _OUTPUTS, allow_pickle=False) as found:
            outputs = Outputs(found["logits"], found["saliency_map"], found["feature_vector"])
            isa = str(found["isa"])
    if isa != _CAPS[cap].isa:
        raise EngineError(f"{_VARIABLE}={cap} had no effect: openvino compiled {isa} kernels")
    return outputs, isa


def _run_child(arguments: list[str], cap: str) -> None:
    try:
        ended = subprocess.run(
            [*module_command(__name__), *arguments],
            env=os.environ | {_VARIABLE: cap},
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"openvino capped to {cap} gave no answer in {_TIMEOUT_S} s") from error
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise EngineError(f"openvino capped to {cap} failed: {said[-1]}")


def _main(folder: Path, size: int, precision: Precision) -> None:
    """The child's part: what the parent left in `folder` in, the outputs out."""
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
