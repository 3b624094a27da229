"""What a board says, from files and scripts in the form of its own; what is absent is said."""

import os
import time

import msgspec
import pytest

from orthoedge.targets.jetson import telemetry
from orthoedge.targets.jetson.power import PowerMeter, find_rails
from orthoedge.targets.jetson.telemetry import Board, Clock, read_board, read_clocks
from tests.helpers.jetson import board_files
from tests.helpers.jetson.board_files import GPU, MODEL, RAILS, RELEASE, write, write_command

MILLIWATTS = {name: voltage * current / 1e3 for name, (voltage, current) in RAILS.items()}


@pytest.fixture
def root(tmp_path):
    return board_files.write_orin(tmp_path / "root")


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """Folder of the board's commands, which is all that PATH has."""
    folder = board_files.write_commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(folder))
    return folder


def reason(board, what):
    (why,) = (absent.why for absent in board.absent if absent.what == what)
    return why


def test_a_whole_board_is_read(root, commands):
    board = read_board(root)
    assert board == Board(
        model=MODEL,
        l4t=RELEASE,
        power_mode="MAXN_SUPER (2)",
        jetson_clocks=("SOC family:tegra234", "Online CPUs: 0-5"),
        temperatures_c={"cpu-thermal": 48.5, "gpu-thermal": 47.25},
        gpu_clocks=(Clock(name=GPU, current_mhz=306, lowest_mhz=306, highest_mhz=1020),),
        rails_mw=MILLIWATTS,
        absent=(),
    )
    assert msgspec.json.decode(msgspec.json.encode(board), type=Board) == board


def test_of_a_machine_that_is_no_board_everything_is_absent_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    board = read_board(tmp_path)
    fields = set(msgspec.structs.asdict(board)) - {"absent"}
    assert {absent.what for absent in board.absent} == fields
    assert not any(getattr(board, field) for field in fields)
    assert reason(board, "model") == f"{tmp_path}/proc/device-tree/model: No such file or directory"
    assert reason(board, "power_mode") == "nvpmodel is not on PATH"
    assert "INA3221" in reason(board, "rails_mw")


def test_a_thermal_zone_that_is_switched_off_is_absent_and_the_others_are_read(root, commands):
    """It answers EAGAIN, as an empty pipe does that somebody may write to."""
    zone = root / "sys/class/thermal/thermal_zone2"
    write(zone / "type", "cv0-thermal\n")
    os.mkfifo(zone / "temp")
    writer = os.open(zone / "temp", os.O_RDWR)
    try:
        board = read_board(root)
    finally:
        os.close(writer)
    assert reason(board, "temperatures_c cv0-thermal") == "Resource temporarily unavailable"
    assert set(board.temperatures_c) == {"cpu-thermal", "gpu-thermal"}


def test_a_file_that_holds_no_number_is_absent(root, commands):
    write(root / "sys/class/hwmon/hwmon1/curr2_input", "broken\n")
    write(root / f"sys/class/devfreq/{GPU}/cur_freq", "\n")
    board = read_board(root)
    assert "broken" in reason(board, "rails_mw VDD_CPU_GPU_CV")
    assert set(board.rails_mw) == {"VDD_IN", "VDD_SOC"}
    assert "could not convert" in reason(board, f"gpu_clocks {GPU}")
    assert board.gpu_clocks == ()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo Permission denied >&2; exit 1", "nvpmodel -q failed (1): Permission denied"),
        ("exit 3", "nvpmodel -q failed (3): no reason"),
        ("echo hello", "nvpmodel -q printed no power mode: 'hello'"),
        ("while :; do :; done", "nvpmodel -q did not finish in 0.2 s"),
    ],
)
def test_a_command_that_fails_is_absent_with_its_words(root, commands, script, why, monkeypatch):
    monkeypatch.setattr(telemetry, "_TIMEOUT_S", 0.2)
    write_command(commands, "nvpmodel", script)
    board = read_board(root)
    assert board.power_mode is None
    assert reason(board, "power_mode") == why
    assert board.model == MODEL


@pytest.mark.parametrize("name", ["17000000.ga10b", "17000000.gpu", "gpu-gpc-0"])
def test_the_gpu_is_found_under_each_name_that_jetpack_gives_it(tmp_path, name):
    for which in ("cur", "min", "max"):
        write(tmp_path / f"sys/class/devfreq/{name}/{which}_freq", "612000000")
        write(tmp_path / f"sys/class/devfreq/154c0000.nvenc/{which}_freq", "1")
    absent = []
    assert [clock.name for clock in read_clocks(tmp_path, absent)] == [name]
    assert absent == []


def test_channels_that_are_not_connected_or_are_sums_are_no_rails(root):
    write(root / "sys/class/hwmon/hwmon1/in2_label", "NC\n")
    (root / "sys/class/hwmon/hwmon1/in3_label").unlink()
    assert [rail.name for rail in find_rails(root)] == ["VDD_IN", "hwmon1 channel 3"]


def test_the_older_driver_gives_power_itself(tmp_path):
    sensor = tmp_path / "sys/bus/i2c/drivers/ina3221x/1-0040/iio:device0"
    write(sensor / "rail_name_0", "VDD_IN\n")
    write(sensor / "in_power0_input", "4321\n")
    (rail,) = find_rails(tmp_path)
    assert (rail.name, rail.milliwatts()) == ("VDD_IN", 4321)


def test_power_over_a_stretch_of_time(root):
    with PowerMeter(root, _period_s=0.01) as meter:
        time.sleep(0.05)
        write(root / "new", "2000\n")
        (root / "new").replace(root / "sys/class/hwmon/hwmon1/curr1_input")
        (root / "sys/class/hwmon/hwmon1/curr3_input").unlink()
    assert meter.absent == ""
    module, steady, broken = meter.power.rails
    assert (module.name, steady.name, broken.name) == tuple(RAILS)
    assert module.peak_mw == 10_000  # the last sample is taken when the stretch ends
    assert 5_000 < module.mean_mw < 10_000
    assert steady.mean_mw == steady.peak_mw == 1500
    assert steady.joules == pytest.approx(1.5 * meter.power.seconds)
    assert meter.power.seconds >= 0.05
    assert (steady.failed, module.failed) == (0, 0)
    assert broken.failed >= 1
    assert broken.samples + broken.failed == steady.samples >= 2
    assert broken.mean_mw == 980


def test_without_a_sensor_there_is_no_power_but_a_reason(tmp_path):
    with PowerMeter(tmp_path) as meter:
        pass
    assert meter.power is None
    assert str(tmp_path) in meter.absent


def test_sensors_that_never_answer_are_said(root):
    for n in (1, 2, 3):
        (root / f"sys/class/hwmon/hwmon1/curr{n}_input").unlink()
    with PowerMeter(root) as meter:
        pass
    assert meter.power is None
    assert "no power sensor returned a number" in meter.absent
