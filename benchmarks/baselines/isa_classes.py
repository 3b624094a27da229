"""Instruction-set classes: this processor kept to the instructions of a lesser one.

Clock, cache and memory stay this machine's, so what is measured belongs to a class of instruction
sets and to no product.
"""

from __future__ import annotations

import os

from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.isa_limit import ISA_LIMITS, run_with_isa_limit

# OpenCV's names: what it is to leave unused, and what its IPP is to use (no less than SSE4.2).
_OPENCV = {
    "AVX512_CORE_VNNI": ("", ""),
    "AVX2_VNNI": ("AVX512-SKX", "avx2"),
    "AVX2": ("AVX512-SKX", "avx2"),
    "SSE41": ("AVX512-SKX,AVX2,FP16,AVX,SSE4.2", "sse42"),
}


def limited_environment(cap: str, bundle: Bundle) -> dict[str, str]:
    """Variables of a process in which OpenVINO and OpenCV use no wider instructions than `cap`.

    They are read once, when the libraries are loaded. ONNX Runtime has no such cap.

    Raises:
        EngineError: no such cap, this processor has not those instructions, or the cap has no
            effect on the bundle's model; the reason is in it.
    """
    if cap not in ISA_LIMITS:
        raise EngineError(f"--isa {cap} is unknown: choose one of {', '.join(ISA_LIMITS)}")
    size = bundle.manifest.graph.size
    # A short run: oneDNN takes another set without a word where it cannot keep to this one.
    run_with_isa_limit(bundle.model("fp32"), size, "fp32", bundle.golden_images()[:1], cap)
    unused, ipp = _OPENCV[cap]
    opencv = {"OPENCV_CPU_DISABLE": unused, "OPENCV_IPP": ipp} if unused else {}
    return os.environ | {"ONEDNN_MAX_CPU_ISA": cap} | opencv


def why_not_limited(target: str) -> str:
    """Why a target cannot be kept to a class; empty where it can."""
    if target == "x86":
        return ""
    return f"target {target}: its engine cannot be kept to an instruction set"
