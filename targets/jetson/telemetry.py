"""What a Jetson says about itself at one moment. What is absent is said, not guessed.

Files and commands are those of NVIDIA's Jetson Linux Developer Guide ("Jetson Orin Nano Series,
Jetson Orin NX Series and Jetson AGX Orin Series": `nvpmodel`, `jetson_clocks`), and of the kernel's
pages on devfreq and thermal zones. Everything below `root` is read; nothing is ever set.
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

_TIMEOUT_S = 10.0  # jetson_clocks is a shell script that reads some hundred files
_GPU = re.compile(r"\.(gpu|ga10b)$|^gpu-")  # Orin under JetPack 6 and 7, under 5, and Thor
_MODE = re.compile(r"NV Power Mode:\s*(\S+)\s+(\d+)")

_Given = ParamSpec("_Given")
_Found = TypeVar("_Found")


class Absent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that was asked for and could not be had."""

    what: str
    why: str


class Clock(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A clock of the GPU; where lowest and highest are one, it is locked."""

    name: str
    current_mhz: float
    lowest_mhz: float
    highest_mhz: float


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A board at one moment."""

    model: str | None
    """The device tree's, such as `NVIDIA Jetson Orin Nano Developer Kit`."""
    l4t: str | None
    """First line of /etc/nv_tegra_release: the release of Jetson Linux."""
    power_mode: str | None
    """`nvpmodel -q`: name and number."""
    jetson_clocks: tuple[str, ...]
    """Lines of `jetson_clocks --show`, which wants to be root."""
    temperatures_c: dict[str, float]
    """By thermal zone."""
    gpu_clocks: tuple[Clock, ...]
    rails_mw: dict[str, float]
    """By power rail."""
    absent: tuple[Absent, ...]
    """What this machine has not, or would not tell, and why."""


def read_board(root: Path = ROOT) -> Board:
    """Read all that this machine has; commands are those on PATH.

    Args:
        root: folder in place of `/`.
    """
    absent: list[Absent] = []
    model = _ask(absent, "model", read_text, root / "proc/device-tree/model")
    release = _ask(absent, "l4t", read_text, root / "etc/nv_tegra_release")
    return Board(
        model=model,
        l4t=None if release is None else release.partition("\n")[0].strip("# "),
        power_mode=_ask(absent, "power_mode", _power_mode),
        jetson_clocks=_ask(absent, "jetson_clocks", _jetson_clocks) or (),
        temperatures_c=_temperatures(root, absent),
        gpu_clocks=read_clocks(root, absent),
        rails_mw=_rails(root, absent),
        absent=tuple(absent),
    )


def read_clocks(root: Path, absent: list[Absent]) -> tuple[Clock, ...]:
    """The GPU's clocks now, through devfreq.

    Args:
        root: folder in place of `/`.
        absent: takes what could not be read.
    """
    folder = root / "sys/class/devfreq"
    devices = [device for device in sorted(folder.glob("*")) if _GPU.search(device.name)]
    if not devices:
        absent.append(Absent(what="gpu_clocks", why=f"no GPU below {folder}"))
    found = (_ask(absent, f"gpu_clocks {device.name}", _clock, device) for device in devices)
    return tuple(clock for clock in found if clock is not None)


def _ask(
    absent: list[Absent],
    what: str,
    call: Callable[_Given, _Found],
    *args: _Given.args,
    **kwargs: _Given.kwargs,
) -> _Found | None:
    """What `call` returns; where it fails, None, and the reason goes to `absent`."""
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
    found: dict[str, float] = {}
    zones = sorted(folder.glob("thermal_zone*"))
    if not zones:
        absent.append(Absent(what="temperatures_c", why=f"no thermal zone below {folder}"))
    for zone in zones:
        name = _ask(absent, f"temperatures_c {zone.name}", read_text, zone / "type")
        if name is not None:
            value = _ask(absent, f"temperatures_c {name}", _celsius, zone)
            found |= {} if value is None else {name: value}
    return found


def _celsius(zone: Path) -> float:
    return float(read_text(zone / "temp")) / 1e3


def _rails(root: Path, absent: list[Absent]) -> dict[str, float]:
    rails = find_rails(root)
    if not rails:
        absent.append(Absent(what="rails_mw", why=no_rails(root)))
    values = {rail.name: _ask(absent, f"rails_mw {rail.name}", rail.milliwatts) for rail in rails}
    return {name: value for name, value in values.items() if value is not None}


def _power_mode() -> str:
    said = _command("nvpmodel", "-q")
    mode = _MODE.search(said)
    if mode is None:
        raise EngineError(f"nvpmodel -q said something else: {' '.join(said.split())[:200]!r}")
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
        raise EngineError(f"{name} {argument} gave no answer in {_TIMEOUT_S:g} s") from error
    if ended.returncode != 0:
        said = (ended.stdout + ended.stderr).strip().splitlines() or ["no reason"]
        raise EngineError(f"{name} {argument} failed ({ended.returncode}): {said[-1]}")
    return ended.stdout
