"""Power of a Jetson's rails from its INA3221 sensors, at one moment and over a period.

Source: the kernel's page "Kernel driver ina3221" (hwmon: in[123]_input in mV, curr[123]_input in
mA); the rails' names are the device tree's, on Orin VDD_IN (the whole module), VDD_CPU_GPU_CV and
VDD_SOC (NVIDIA, Jetson Linux Developer Guide).
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

ROOT = Path("/")
_OLD = "sys/bus/i2c/drivers/ina3221x"  # NVIDIA's driver, before the kernel had one


class RailPower(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One rail over a period."""

    name: str
    mean_mw: float
    """Of the samples."""
    peak_mw: float
    """Highest sample; peaks between two samples are missed."""
    joules: float
    """Mean times the period."""
    samples: int
    failed: int
    """Samples that could not be read."""


class Power(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All rails over a period."""

    seconds: float
    rails: tuple[RailPower, ...]


@dataclass(frozen=True)
class Rail:
    """One channel of a sensor."""

    name: str
    """Its label in the board's device tree."""
    value: Path
    """File with its voltage in mV, or with its power in mW if there is no file for the current."""
    current: Path | None
    """File with its current in mA."""

    def milliwatts(self) -> float:
        """Read its power now; voltage and current are read one after the other.

        Raises:
            OSError: the sensor cannot be read.
            ValueError: it does not return a number.
        """
        value = float(read_text(self.value))
        return value if self.current is None else value * float(read_text(self.current)) / 1e3


@dataclass
class _Samples:
    rail: Rail
    milliwatts: list[float] = field(default_factory=list)
    failed: int = 0

    def take(self) -> None:
        try:
            self.milliwatts.append(self.rail.milliwatts())
        except (OSError, ValueError):
            self.failed += 1

    def over(self, seconds: float) -> RailPower:
        mean = sum(self.milliwatts) / len(self.milliwatts)
        return RailPower(
            name=self.rail.name,
            mean_mw=mean,
            peak_mw=max(self.milliwatts),
            joules=mean / 1e3 * seconds,
            samples=len(self.milliwatts),
            failed=self.failed,
        )


class PowerMeter:
    """Context manager that samples every rail in a separate thread.

    The sensors average over some time, so sampling faster than every 0.1 s reads the same numbers
    again.
    """

    def __init__(self, _root: Path = ROOT, _period_s: float = 0.1) -> None:
        self._samples = [_Samples(rail) for rail in find_rails(_root)]
        self._period_s = _period_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="power", daemon=True)
        self.power: Power | None = None
        """Set when the context ends; None if nothing was measured."""
        self.absent = no_rails(_root)
        """Why nothing was measured; empty if something was."""

    def __enter__(self) -> PowerMeter:
        """Start sampling."""
        self._start = time.perf_counter()
        if self._samples:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the last sample and summarize."""
        if not self._samples:
            return
        self._done.set()
        self._thread.join()
        self._take()
        seconds = time.perf_counter() - self._start
        rails = tuple(rail.over(seconds) for rail in self._samples if rail.milliwatts)
        self.absent = "" if rails else "no power sensor returned a number"
        if rails:
            self.power = Power(seconds=seconds, rails=rails)

    def _sample(self) -> None:
        while True:
            self._take()
            if self._done.wait(self._period_s):
                return

    def _take(self) -> None:
        for samples in self._samples:
            samples.take()


def find_rails(_root: Path = ROOT) -> list[Rail]:
    """The power rails of every INA3221, by the kernel's hwmon, or by NVIDIA's older driver.

    Channels 1 to 3 are rails; higher numbers of the driver are shunts and their sum. A channel
    labelled `NC` is not connected.
    """
    rails = []
    for sensor in sorted((_root / "sys/class/hwmon").glob("hwmon*")):
        if _text_or(sensor / "name", "") == "ina3221":
            for voltage in sorted(sensor.glob("in[123]_input")):
                n = voltage.name[len("in")]
                name = _text_or(sensor / f"in{n}_label", f"{sensor.name} channel {n}")
                rails.append(Rail(name, voltage, sensor / f"curr{n}_input"))
    for power in sorted((_root / _OLD).glob("*/iio:device*/in_power[012]_input")):
        n = power.name[len("in_power")]
        name = _text_or(power.with_name(f"rail_name_{n}"), f"{power.parent.name} channel {n}")
        rails.append(Rail(name, power, None))
    return [rail for rail in rails if rail.name != "NC"]


def no_rails(root: Path) -> str:
    """The reason to report if `find_rails` returns nothing."""
    return f"no INA3221 power sensor below {root / 'sys/class/hwmon'}"


def read_text(path: Path) -> str:
    """Read a file of the kernel, without surrounding whitespace.

    Raises:
        OSError: it does not exist, or has no value now: reading a thermal zone that is switched off
            fails with `Resource temporarily unavailable`.
    """
    # Python's file objects turn that error into a TypeError.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return os.read(descriptor, 1 << 16).decode(errors="replace").strip("\0 \n\t")
    finally:
        os.close(descriptor)


def _text_or(path: Path, other: str) -> str:
    try:
        return read_text(path)
    except OSError:
        return other
