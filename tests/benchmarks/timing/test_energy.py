"""Energy of a call, from counters and sensors that are planted."""

import pytest
from msgspec.structs import replace

from orthoedge.benchmarks.timing import energy
from orthoedge.benchmarks.timing.energy import Rails, Rapl, energy_mj, find_sensor
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.jetson.power import PowerMeter

RANGE = 262_143_328_850


@pytest.fixture
def zones(tmp_path):
    """Write the kernel's files of one counter."""

    def write(zone, name, microjoules):
        folder = tmp_path / "sys/class/powercap" / zone
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{microjoules}\n")
        (folder / "max_energy_range_uj").write_text(f"{RANGE}\n")

    return write


def test_packages_and_memory_are_added_and_a_counter_may_begin_anew(tmp_path, zones):
    zones("intel-rapl:0", "package-0", RANGE - 1_000_000)
    zones("intel-rapl:0:0", "core", 0)
    zones("intel-rapl:0:1", "dram", 500)
    sensor = find_sensor(tmp_path)
    assert isinstance(sensor, Rapl)

    def work():
        zones("intel-rapl:0", "package-0", 999_999)
        zones("intel-rapl:0:0", "core", 77_000_000)  # a part of the package
        zones("intel-rapl:0:1", "dram", 1_000_500)

    assert sensor.joules(work) == pytest.approx(3.0)


def test_a_jetsons_module_is_not_counted_twice(tmp_path, monkeypatch):
    folder = tmp_path / "sys/class/hwmon/hwmon1"
    folder.mkdir(parents=True)
    (folder / "name").write_text("ina3221\n")
    for channel, label, milliamperes in ((1, "VDD_IN", 1000), (2, "VDD_CPU_GPU_CV", 700)):
        (folder / f"in{channel}_label").write_text(label)
        (folder / f"in{channel}_input").write_text("5000")
        (folder / f"curr{channel}_input").write_text(str(milliamperes))
    sensor = find_sensor(tmp_path)
    assert isinstance(sensor, Rails)

    class Frozen(PowerMeter):
        """Ten seconds, whatever the clock says."""

        def __exit__(self, *_):
            super().__exit__()
            assert self.power is not None
            rails = (replace(rail, joules=rail.mean_mw / 1e3 * 10) for rail in self.power.rails)
            self.power = replace(self.power, rails=tuple(rails))

    with monkeypatch.context() as patch:
        patch.setattr(energy, "PowerMeter", Frozen)
        assert sensor.joules(lambda: None) == pytest.approx(50)
        (folder / "in1_label").write_text("VDD_SOC")
        assert sensor.joules(lambda: None) == pytest.approx(85)
    (folder / "curr1_input").unlink()
    (folder / "curr2_input").unlink()
    with pytest.raises(EngineError, match="no power sensor returned a number"):
        sensor.joules(lambda: None)


def test_without_a_sensor_the_reason_is_told(tmp_path, zones):
    with pytest.raises(EngineError, match=r"no RAPL counter .* and no INA3221"):
        find_sensor(tmp_path)
    zones("intel-rapl:0", "package-0", 0)
    counter = tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj"
    counter.unlink()
    counter.mkdir()  # root may read what others may not, but nobody reads a folder
    with pytest.raises(EngineError, match="energy_uj: Is a directory"):
        find_sensor(tmp_path)


class Machine:
    """A clock and a sensor: so many watts idle, so many millijoules a call more."""

    def __init__(self, idle_w, call_mj, noise=()):
        self.now, self.used = 0.0, 0.0
        self.idle_w, self.call_mj, self.noise = idle_w, call_mj, list(noise)

    def spend(self, seconds):
        self.now += seconds
        self.used += self.idle_w * seconds

    def call(self):
        self.spend(0.001)
        self.used += self.call_mj / 1e3

    def joules(self, action):
        before = self.used
        action()
        return self.used - before + (self.noise.pop() if self.noise else 0)

    def measure(self):
        return energy_mj(self.call, self, seconds=0.8, _sleep=self.spend, _clock=lambda: self.now)


def test_energy_of_a_call_is_what_it_takes_beyond_idleness():
    assert Machine(idle_w=20, call_mj=7).measure() == pytest.approx(7)


def test_energy_that_is_lost_in_the_noise_is_none():
    noise = [1.0, -1.0, -1.0, 1.0] * 4  # J; of 0.1 s, in which 100 calls take 0.7 J more
    assert Machine(idle_w=20, call_mj=7, noise=noise).measure() is None
    assert Machine(idle_w=20, call_mj=0).measure() is None
