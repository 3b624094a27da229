"""State of a Jetson at one moment: power mode, clocks, temperatures, rails. Nothing is guessed.

Files and commands are those of NVIDIA's Jetson Linux Developer Guide ("Jetson Orin Nano Series,
Jetson Orin NX Series and Jetson AGX Orin Series": `nvpmodel`, `jetson_clocks`), and of the kernel's
pages on devfreq and thermal zones. Files are only read, never written.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec

from orthoedge.runtime.errors import EngineError
from orthoedge.targets.jetson.power import ROOT, find_rails, no_rails, read_text

_TIMEOUT_S = 10.0  # jetson_clocks is a shell script that reads about a hundred files
_GPU = re.compile(r"\.(gpu|ga10b)$|^gpu-")  # Orin under JetPack 6 and 7, under 5, and Thor
_MODE = re.compile(r"NV Power Mode:\s*(\S+)\s+(\d+)")

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A value that could not be read."""

    what: str
    why: str


class Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A clock of the GPU; it is locked if lowest and highest are equal."""

    name: str
    current_mhz: float
    lowest_mhz: float
    highest_mhz: float


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """State of a board at one moment."""

    model: str | None
    """From the device tree, such as `NVIDIA Jetson Orin Nano Developer Kit`."""
    l4t: str | None
    """First line of /etc/nv_tegra_release: the release of Jetson Linux."""
    power_mode: str | None
    """`nvpmodel -q`: name and number."""
    jetson_clocks: tuple[str, ...]
    """Lines of `jetson_clocks --show`, which needs root."""
    temperatures_c: dict[str, float]
    """By thermal zone."""
    gpu_clocks: tuple[Clock, ...]
    rails_mw: dict[str, float]
    """By power rail."""
    absent: tuple[Absent, ...]
    """What could not be read on this machine, and why."""


def read_board(_root: Path = ROOT) -> Board:
    """Read everything that this machine has; commands are looked up on PATH."""
    absent: list[Absent] = []
    model = _try(absent, "model", read_text, _root / "proc/device-tree/model")
    release = _try(absent, "l4t", read_text, _root / "etc/nv_tegra_release")
    return Board(
        model=model,
        l4t=None if release is None else release.partition("\n")[0].strip("# "),
        power_mode=_try(absent, "power_mode", _power_mode),
        jetson_clocks=_try(absent, "jetson_clocks", _jetson_clocks) or (),
        temperatures_c=_temperatures(_root, absent),
        gpu_clocks=read_clocks(_root, absent),
        rails_mw=_rails(_root, absent),
        absent=tuple(absent),
    )


def read_clocks(root: Path, absent: list[Absent]) -> tuple[Clock, ...]:
    """Read the GPU's clocks through devfreq.

    Args:
        root: root of the file system.
        absent: receives what could not be read.
    """
    folder = root / "sys/class/devfreq"
    devices = [device for device in sorted(folder.glob("*")) if _GPU.search(device.name)]
    if not devices:
        absent.append(Absent(what="gpu_clocks", why=f"no GPU below {folder}"))
    clocks = (_try(absent, f"gpu_clocks {device.name}", _clock, device) for device in devices)
    return tuple(clock for clock in clocks if clock is not None)


def _try(
    absent: list[Absent], what: str, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs
) -> _T | None:
    """Return what `call` returns; if it fails, append the reason to `absent` and return None."""
    try:
        return call(*args, **kwargs)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        absent.append(Absent(what=what, why=f"{where}{error.strerror}"))
    except (ValueError, EngineError) as error:
        absent.append(Absent(what=what, why=str(error)))
    return None


def _clock(device: Path) -> Clock:
    current, lowest, highest = (
        float(read_text(device / f"{which}_freq")) / 1e6 for which in ("cur", "min", "max")
    )
    return Clock(name=device.name, current_mhz=current, lowest_mhz=lowest, highest_mhz=highest)


def _temperatures(root: Path, absent: list[Absent]) -> dict[str, float]:
    folder = root / "sys/class/thermal"
    temperatures: dict[str, float] = {}
    zones = sorted(folder.glob("thermal_zone*"))
    if not zones:
        absent.append(Absent(what="temperatures_c", why=f"no thermal zone below {folder}"))
    for zone in zones:
        name = _try(absent, f"temperatures_c {zone.name}", read_text, zone / "type")
        if name is not None:
            value = _try(absent, f"temperatures_c {name}", _celsius, zone)
            temperatures |= {} if value is None else {name: value}
    return temperatures


def _celsius(zone: Path) -> float:
    return float(read_text(zone / "temp")) / 1e3


def _rails(root: Path, absent: list[Absent]) -> dict[str, float]:
    rails = find_rails(root)
    if not rails:
        absent.append(Absent(what="rails_mw", why=no_rails(root)))
    values = {rail.name: _try(absent, f"rails_mw {rail.name}", rail.milliwatts) for rail in rails}
    return {name: value for name, value in values.items() if value is not None}


def _power_mode() -> str:
    output = _command("nvpmodel", "-q")
    mode = _MODE.search(output)
    if mode is None:
        shown = " ".join(output.split())[:200]
        raise EngineError(f"nvpmodel -q printed no power mode: {shown!r}")
    return f"{mode[1]} ({mode[2]})"


def _jetson_clocks() -> tuple[str, ...]:
    return tuple(_command("jetson_clocks", "--show").splitlines())


def _command(name: str, argument: str) -> str:
    if shutil.which(name) is None:
        raise EngineError(f"{name} is not on PATH")
    try:
        ended = subprocess.run(
            [name, argument],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{name} {argument} did not finish in {_TIMEOUT_S:g} s") from error
    if ended.returncode != 0:
        lines = (ended.stdout + ended.stderr).strip().splitlines() or ["no reason"]
        raise EngineError(f"{name} {argument} failed ({ended.returncode}): {lines[-1]}")
    return ended.stdout
