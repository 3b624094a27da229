"""Instruction-set classes: this processor limited to the instructions of a smaller one.

Clock, cache and memory stay this machine's, so the figures belong to a class of instruction sets
and to no product.
"""

from __future__ import annotations

import os

from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.isa_limit import ISA_LIMITS, run_with_isa_limit

# OpenCV's names: features to disable, and the limit of its IPP (at least SSE4.2).
_OPENCV = {
    "AVX512_CORE_VNNI": ("", ""),
    "AVX2_VNNI": ("AVX512-SKX", "avx2"),
    "AVX2": ("AVX512-SKX", "avx2"),
    "SSE41": ("AVX512-SKX,AVX2,FP16,AVX,SSE4.2", "sse42"),
}


def limited_environment(limit: str, bundle: Bundle) -> dict[str, str]:
    """Variables of a process in which OpenVINO and OpenCV use no wider instructions than `limit`.

    The libraries read them once, when they are loaded. ONNX Runtime has no such limit.

    Raises:
        EngineError: the limit is unknown, not available on this processor, or has no effect on
            the bundle's model.
    """
    if limit not in ISA_LIMITS:
        raise EngineError(f"--isa {limit} is unknown: choose one of {', '.join(ISA_LIMITS)}")
    size = bundle.manifest.graph.size
    # A short run, because oneDNN silently uses another set if it does not know this one.
    run_with_isa_limit(bundle.model("fp32"), size, "fp32", bundle.golden_images()[:1], limit)
    unused, ipp = _OPENCV[limit]
    opencv = {"OPENCV_CPU_DISABLE": unused, "OPENCV_IPP": ipp} if unused else {}
    return os.environ | {"ONEDNN_MAX_CPU_ISA": limit} | opencv


def why_not_limited(target: str) -> str:
    """The reason why a target cannot be limited to a class; empty if it can."""
    reason = f"target {target}: its engine cannot be limited to an instruction set"
    return "" if target == "x86" else reason
