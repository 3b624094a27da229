"""The processor: its instruction sets, its cores, and the precision that suits it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from orthoedge.runtime.engine import Precision

# Widest first. INT8 measured faster than fp32 on these, and slower on SSE alone.
_FAST_INT8 = ("avx512_vnni", "avx_vnni", "avx2")
_CPUINFO = Path("/proc/cpuinfo")


def instruction_sets() -> frozenset[str]:
    """Flags of the first processor, as Linux names them; empty where they cannot be read."""
    try:
        flags = re.search(r"^flags.*?:(.*)", _CPUINFO.read_text(), re.MULTILINE)
    except OSError:
        flags = None
    return frozenset(flags[1].split() if flags else ())


def choose_precision() -> tuple[Precision, str]:
    """INT8 where the processor has 256-bit integer instructions, else fp32; and the reason."""
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    if limit.upper() in ("SSE41", "AVX"):
        return "fp32", f"ONEDNN_MAX_CPU_ISA={limit} leaves no fast INT8 instructions"
    flags = instruction_sets()
    for flag in _FAST_INT8:
        if flag in flags:
            return "int8", f"the processor has {flag}"
    return "fp32", "the processor has no 256-bit integer instructions"


def threads_beside_a_reader() -> int:
    """Threads, each with a stream of its own, of an x86 engine whose caller reads ahead."""
    return max(1, available_cores() - 1)


def choose_onnxruntime_precision() -> tuple[Precision, str]:
    """INT8 where the processor multiplies 8-bit integers (VNNI), else fp32; and the reason.

    With AVX2 alone ONNX Runtime was as fast in fp32 (docs/how/benchmarks.md).
    """
    flags = instruction_sets()
    for flag in _FAST_INT8:
        if flag in flags and flag.endswith("vnni"):
            return "int8", f"the processor has {flag}"
    return "fp32", "ONNX Runtime is no faster in INT8 on a processor without VNNI"


def available_cores() -> int:
    """Logical cores this process may use; a container or taskset can allow fewer than exist."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
