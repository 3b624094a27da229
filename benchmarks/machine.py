"""The machine that a figure was measured on, and the load of other processes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from orthoedge.targets.cpu import available_cores, instruction_sets

_PACKAGES = (
    "orthoedge",
    "numpy",
    "opencv-python-headless",
    "openvino",
    "onnxruntime",
    "tensorrt",
    "cuda-python",
    "torch",
    "timm",
    "grad-cam",
)

_VECTORS = (
    "sse4_1",
    "avx",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_tile",
    "amx_int8",
)
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")

IDLE_LOAD = 0.5
"""Load average above which a run should not be quoted: PyTorch's threads spin while they wait, so
other work slows the PyTorch baseline far more than the lean engines, and flatters their ratio."""

BUSY_CORES = 0.1
"""Cores kept busy by other processes above which a measurement should not be quoted."""


class BackgroundLoad:
    """Processor time that other processes use while this object exists; needs psutil."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._others = _seconds_of_others()

    def cores(self) -> float | None:
        """Cores that others kept busy since the start; None: psutil is not installed.

        Time that a hypervisor took counts as others'. Children count as this process's own once
        they were waited for.
        """
        others = _seconds_of_others()
        if others is None or self._others is None:
            return None
        return max(0.0, others - self._others) / max(time.monotonic() - self._start, 1e-9)


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The machine and the software of a run."""

    cpu: str
    """Model name as the kernel gives it."""
    cores: int
    """Logical cores this process may use."""
    isa: tuple[str, ...]
    """Its instruction sets for vectors and matrices, as Linux names them; empty: not known."""
    governor: str
    """Of the first core's clock; empty: the system does not show one."""
    memory_mb: float
    """Of the system, in 10^6 bytes."""
    kernel: str
    python: str
    load: float
    """Runnable processes over the minute before the run; above IDLE_LOAD, others were busy."""
    packages: dict[str, str]
    """Version of each package that is installed."""


def describe_machine() -> Machine:
    """Describe this machine now."""
    governor, versions = "", {}
    with suppress(OSError):  # most virtual machines have none
        governor = _GOVERNOR.read_text().strip()
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return Machine(
        cpu=_cpu_model(),
        cores=available_cores(),
        isa=tuple(name for name in _VECTORS if name in instruction_sets()),
        governor=governor,
        memory_mb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
        packages=versions,
    )


def _seconds_of_others() -> float | None:
    """Processor time of all processes but this one and its ended children."""
    try:
        import psutil
    except ModuleNotFoundError:
        return None
    total = psutil.cpu_times()
    busy = ("user", "nice", "system", "irq", "softirq", "steal")  # some systems lack the last ones
    used = sum(getattr(total, name, 0.0) for name in busy)
    # os.times has the kernel's exact clock ticks; children are those that were waited for.
    return float(used - sum(os.times()[:4]))


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            # ARM kernels give no model name for a core, but boards give "Model".
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()
