"""Energy of a call, by the processor's own counters (RAPL) or a Jetson's power sensors (INA3221).

Source: the kernel's page "Power Capping Framework": energy_uj counts up to max_energy_range_uj and
wraps around. The zones package-N include the cores; dram is counted separately.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from orthoedge.runtime.errors import EngineError
from orthoedge.targets.jetson.power import PowerMeter, find_rails, no_rails

ROOT = Path("/")
_BLOCKS = 8
_CLEAR = 3.0  # standard errors; with 8 blocks, 1 % of noise alone looks like that
_WHOLE = "VDD_IN"  # the rail that feeds all others of an Orin module


class _Zone(NamedTuple):
    counter: Path
    range_uj: int


@dataclass(frozen=True)
class Rapl:
    """The processor's RAPL counters."""

    zones: Sequence[_Zone]
    """To add up."""

    def joules(self, action: Callable[[], None]) -> float:
        """Energy of all zones while `action` runs; a counter may wrap around once.

        Raises:
            EngineError: a counter is not readable.
        """
        before = [_number(zone.counter) for zone in self.zones]
        action()
        after = [_number(zone.counter) for zone in self.zones]
        steps = zip(self.zones, before, after, strict=True)
        return sum((last - first) % (zone.range_uj + 1) for zone, first, last in steps) / 1e6


@dataclass(frozen=True)
class Rails:
    """A Jetson's power rails."""

    root: Path
    """Folder in place of `/`."""

    def joules(self, action: Callable[[], None]) -> float:
        """Energy of the rail that feeds the module, or of all rails where none does.

        Raises:
            EngineError: the sensor gave no number.
        """
        with PowerMeter(self.root) as meter:
            action()
        if meter.power is None:
            raise EngineError(meter.absent)
        joules = {rail.name: rail.joules for rail in meter.power.rails}
        return joules[_WHOLE] if _WHOLE in joules else sum(joules.values())


def find_sensor(_root: Path = ROOT) -> Rapl | Rails:
    """The machine's energy sensor.

    Raises:
        EngineError: there is none, or it is not readable.
    """
    folder = _root / "sys/class/powercap"
    zones = [
        _Zone(zone / "energy_uj", _number(zone / "max_energy_range_uj"))
        for zone in sorted(folder.glob("intel-rapl:*"))  # AMD's processors have this name too
        if (zone / "name").read_text().strip().startswith(("package-", "dram"))
    ]
    if zones:
        _number(zones[0].counter)
        return Rapl(zones)
    if find_rails(_root):
        return Rails(_root)
    raise EngineError(f"no RAPL counter below {folder}, and {no_rails(_root)}")


def energy_mj(
    call: Callable[[], object],
    sensor: Rapl | Rails,
    *,
    seconds: float,
    _sleep: Callable[[float], None] = time.sleep,
    _clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Millijoules of one call above the idle machine; None: not distinguishable from noise.

    Work and idling alternate in eight blocks, so that drift affects both.

    Args:
        call: repeated without a pause.
        sensor: from `find_sensor`.
        seconds: of work in all; the same time is spent idle.

    Raises:
        EngineError: the sensor gave no number.
    """
    block = seconds / _BLOCKS
    energies, calls, taken = [], 0, 0.0

    def work() -> None:
        nonlocal calls, taken
        begun, calls, taken = _clock(), 0, 0.0
        while calls == 0 or taken < block:
            call()
            calls += 1
            taken = _clock() - begun

    for _ in range(_BLOCKS):
        begun = _clock()
        idle_w = sensor.joules(lambda: _sleep(block)) / (_clock() - begun)
        joules = sensor.joules(work)
        energies.append((joules - idle_w * taken) / calls * 1e3)
    mean, error = np.mean(energies), np.std(energies, ddof=1) / np.sqrt(_BLOCKS)
    return float(mean) if mean > _CLEAR * error else None


def _number(path: Path) -> int:
    """A number in a file of the kernel.

    Raises:
        EngineError: it is not readable.
    """
    try:
        return int(path.read_text())
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}") from error
