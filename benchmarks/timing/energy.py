"""Energy of a call, by the processor's own counters (RAPL) or a Jetson's power sensors (INA3221).

Source: the kernel's page "Power Capping Framework": energy_uj counts up to max_energy_range_uj and
begins anew. The zones package-N hold cores and what is around them, dram is counted apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from orthoedge.runtime.errors import EngineError
from orthoedge.targets.jetson.power import PowerMeter, find_rails, no_rails

ROOT = Path("/")
_BLOCKS = 8
_CLEAR = 3.0  # standard errors; with 8 blocks, 1 % of noise alone looks like that
_WHOLE = "VDD_IN"  # the rail that feeds all others of an Orin module


class Sensor(Protocol):
    """Something that tells the energy of a stretch of time."""

    def joules(self, action: Callable[[], None]) -> float:
        """Energy of the machine while `action` runs.

        Raises:
            EngineError: the sensor gave no number.
        """


class _Zone(NamedTuple):
    counter: Path
    range_uj: int


class Rapl:
    """The processor's counters.

    Args:
        zones: those to add up.
    """

    def __init__(self, zones: list[_Zone]) -> None:
        self._zones = zones

    def joules(self, action: Callable[[], None]) -> float:
        """Energy of all zones; a counter may begin anew once meanwhile."""
        before = [_number(zone.counter) for zone in self._zones]
        action()
        after = [_number(zone.counter) for zone in self._zones]
        steps = zip(self._zones, before, after, strict=True)
        return sum((last - first) % (zone.range_uj + 1) for zone, first, last in steps) / 1e6


class Rails:
    """A Jetson's power rails.

    Args:
        root: folder in place of `/`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def joules(self, action: Callable[[], None]) -> float:
        """Energy of the rail that feeds the module, or of all rails where none does."""
        with PowerMeter(self._root) as meter:
            action()
        if meter.power is None:
            raise EngineError(meter.absent)
        found = {rail.name: rail.joules for rail in meter.power.rails}
        return found[_WHOLE] if _WHOLE in found else sum(found.values())


def find_sensor(root: Path = ROOT) -> Sensor:
    """The machine's energy sensor.

    Args:
        root: folder in place of `/`.

    Raises:
        EngineError: there is none, or it may not be read; the reason is in it.
    """
    folder = root / "sys/class/powercap"
    zones = [
        _Zone(zone / "energy_uj", _number(zone / "max_energy_range_uj"))
        for zone in sorted(folder.glob("intel-rapl:*"))  # AMD's processors have this name too
        if (zone / "name").read_text().strip().startswith(("package-", "dram"))
    ]
    if zones:
        _number(zones[0].counter)
        return Rapl(zones)
    if find_rails(root):
        return Rails(root)
    raise EngineError(f"no RAPL counter below {folder}, and {no_rails(root)}")


def energy_mj(
    call: Callable[[], object],
    sensor: Sensor,
    *,
    seconds: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Millijoules of one call beyond what the idle machine takes; None: lost in the noise.

    Work and idleness take turns in eight blocks, so that drift of either hits both.

    Args:
        call: what is measured, back to back.
        sensor: from `find_sensor`.
        seconds: of work in all; as long again is spent idle.
        sleep: waits.
        clock: returns seconds.

    Raises:
        EngineError: the sensor gave no number.
    """
    block = seconds / _BLOCKS
    found = []
    for _ in range(_BLOCKS):
        begun = clock()
        idle_w = sensor.joules(lambda: sleep(block)) / (clock() - begun)
        work = _Work(call, block, clock)
        joules = sensor.joules(work)
        found.append((joules - idle_w * work.taken) / work.calls * 1e3)
    mean, error = np.mean(found), np.std(found, ddof=1) / np.sqrt(_BLOCKS)
    return float(mean) if mean > _CLEAR * error else None


class _Work:
    """Calls back to back for a while."""

    def __init__(
        self, call: Callable[[], object], seconds: float, clock: Callable[[], float]
    ) -> None:
        self._call, self._seconds, self._clock = call, seconds, clock
        self.calls, self.taken = 0, 0.0

    def __call__(self) -> None:
        begun = self._clock()
        while self.calls == 0 or self.taken < self._seconds:
            self._call()
            self.calls += 1
            self.taken = self._clock() - begun


def _number(path: Path) -> int:
    """A number that the kernel tells.

    Raises:
        EngineError: it may not be read.
    """
    try:
        return int(path.read_text())
    except OSError as error:
        raise EngineError(f"{path}: {error.strerror}") from error
