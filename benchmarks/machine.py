"""What a figure was measured on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
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

QUIET = 0.5
"""Load above which a run is not to be quoted: PyTorch's threads wait spinning, so other work slows
the seeds' way far more than the lean engines, and the ratio flatters them."""


CROWDED = 0.1
"""Cores kept busy by other processes above which one timing run is not to be quoted."""


class BackgroundLoad:
    """What the rest of the machine does while something of this process is timed."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._others = _others_seconds()

    def cores(self) -> float | None:
        """Cores kept busy by others since this object was made; None: the system does not say.

        Time that a hypervisor took counts as others'. Children are this process's own once they
        were waited for.
        """
        others = _others_seconds()
        if others is None or self._others is None:
            return None
        return max(0.0, others - self._others) / max(time.monotonic() - self._begun, 1e-9)


class Machine(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The machine and the software of a run."""

    cpu: str
    """Model name as the kernel gives it."""
    cores: int
    """Logical cores this process may use."""
    isa: tuple[str, ...]
    """Its instruction sets for vectors and matrices, as Linux names them; empty: not told."""
    governor: str
    """Of the first core's clock; empty: the system does not show one."""
    memory_mb: float
    """That the system has, in 10^6 bytes."""
    kernel: str
    python: str
    load: float
    """Runnable processes over the minute before the run; above QUIET, others were at work."""
    packages: dict[str, str]
    """Version of each package that is installed."""


def describe_machine() -> Machine:
    """Describe this machine now."""
    return Machine(
        cpu=_cpu_model(),
        cores=available_cores(),
        isa=tuple(name for name in _VECTORS if name in instruction_sets()),
        governor=_governor(),
        memory_mb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        load=round(os.getloadavg()[0], 2),
        packages=_versions(),
    )


def _others_seconds() -> float | None:
    """Processor time of all but this process and its ended children, as Linux counts it."""
    try:
        first = Path("/proc/stat").read_text().splitlines()[0].split()
    except OSError:
        return None
    user, nice, system, _, _, irq, softirq, steal = map(int, first[1:9])
    busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
    own = os.times()
    return busy - sum(own[:4])  # user and system time, its own and that of its children


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            key, _, value = line.partition(":")
            # ARM kernels give no model name for a core, but boards give "Model".
            if key.strip() in ("model name", "Model"):
                return value.strip()
    return platform.processor() or platform.machine()


def _governor() -> str:
    try:
        return _GOVERNOR.read_text().strip()
    except OSError:  # most virtual machines have none
        return ""


def _versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # absence is the information: the package is not in the table
    return versions
