"""`verify --record`, `build` and `doctor` from end to end, on a board of stand-ins.

TensorRT and CUDA are those of `standin_gpu`, sensors are files, `nvpmodel` and `jetson_clocks` are
scripts on PATH; everything between the command line and these is the real thing.
"""

import os
from functools import partial

import msgspec
import pytest

from orthoedge.benchmarks import device_record as recording
from orthoedge.benchmarks.device_record_schema import Record
from orthoedge.cli.main import main
from orthoedge.runtime.atomic_files import sha256
from orthoedge.targets.jetson import telemetry
from tests.helpers.jetson import board_files
from tests.helpers.jetson.board_files import GPU, MODEL, RAILS

one_jetpack = pytest.mark.parametrize("jetpack", ["JetPack 6.2"], indirect=True)


@pytest.fixture
def board(jetpack, tmp_path, monkeypatch):
    """Root of the board's files; stretches are short."""
    root = board_files.write_orin(tmp_path / "root")
    commands = board_files.write_commands(tmp_path / "bin")
    monkeypatch.setenv("PATH", os.pathsep.join([str(commands), os.environ["PATH"]]))
    short = partial(recording.make_record, _root=root, _calls=20, _seconds=0)
    monkeypatch.setattr(recording, "make_record", short)
    monkeypatch.setattr(telemetry, "read_board", partial(telemetry.read_board, root))
    return root


@pytest.fixture
def verify(small_bundle, tmp_path):
    """Exit status and record of the command; plans are kept in a folder that stays."""

    def run():
        file, store = tmp_path / "out" / "record.json", tmp_path / "plans"
        given = ["--target", "jetson", "--cache", str(store), "--record", str(file)]
        status = main(["verify", str(small_bundle.path), *given])
        return status, msgspec.json.decode(file.read_bytes(), type=Record)

    return run


def test_the_record_of_a_board(board, verify, small_bundle, jetpack, capsys):
    status, record = verify()
    assert status == 0, capsys.readouterr().out
    assert record.passed
    version = {"JetPack 6.2": "10.3.0", "JetPack 7.2": "11.4.0"}[jetpack]
    assert (record.device.tensorrt, record.device.compute_capability) == (version, "8.7")
    for moment in (record.before, record.after):
        assert (moment.model, moment.power_mode) == (MODEL, "MAXN_SUPER (2)")
        assert moment.absent == ()
    assert [one.precision for one in record.ran] == list(small_bundle.manifest.golden.tolerance)
    for one in record.ran:
        assert (one.engine, one.version, one.isa) == ("tensorrt", version, "sm_87")
        assert one.model_sha256 == sha256(small_bundle.model(one.precision))
        assert (one.plan.built, one.plan.refused, one.plan.graph) == (True, "", "captured")
        assert sum(one.plan.layer_counts.values()) == len(one.plan.layers) > 5
        for times in (one.engine_alone, one.pipeline):
            assert times.calls == 20
            assert [clock.name for clock in times.gpu_clocks] == [GPU]
            assert [rail.name for rail in times.power.rails] == list(RAILS)
            assert times.power.rails[0].mean_mw == 5000
            assert times.no_power == ""
    out = capsys.readouterr().out
    assert "pass  tensorrt int8 golden logits" in out
    assert "pass  tensorrt int8 clear decisions changed: 0" in out
    status, again = verify()
    assert status == 0
    assert [one.plan.built for one in again.ran] == [False] * len(again.ran)
    assert [one.plan.sha256 for one in again.ran] == [one.plan.sha256 for one in record.ran]


@pytest.mark.slow
@one_jetpack
def test_a_gpu_that_is_lost_on_the_way_is_on_record(board, verify, gpu, capsys):
    gpu(runs=30)
    status, record = verify()
    assert status == 1
    assert not record.passed
    assert record.ran == ()
    assert all("cudaErrorLaunchFailure" in missing.why for missing in record.missing)
    assert record.after.model == MODEL
    assert "FAIL  jetson fp32: tensorrt failed" in capsys.readouterr().out


@one_jetpack
def test_a_board_without_a_gpu_has_a_record_that_says_so(board, verify, gpu):
    gpu(devices=0)
    status, record = verify()
    assert status == 1
    (missing,) = record.missing
    assert missing.what == "jetson"
    assert "cudaErrorNoDevice" in missing.why
    assert (record.device, record.ran) == (None, ())
    assert record.before.model == MODEL


def test_a_machine_without_tensorrt_has_a_record_that_says_so(verify, capsys):
    status, record = verify()
    assert status == 1
    assert [missing.what for missing in record.missing] == ["jetson"]
    assert capsys.readouterr().out.count("FAIL") == 1


@pytest.mark.slow
@one_jetpack
def test_build_fills_the_store_once_and_tells_the_layers(board, small_bundle, tmp_path, capsys):
    store = tmp_path / "plans"
    command = ["build", str(small_bundle.path), "--target", "jetson", "--cache", str(store)]
    assert main(command) == 0
    first = capsys.readouterr()
    assert "built" in first.out
    assert "layers:" in first.out
    (plan,) = store.glob("*.tensorrt")
    content = plan.read_bytes()
    assert main(command) == 0
    assert "already there" in capsys.readouterr().out
    plan.write_bytes(content[:-1])
    assert main(command) == 0
    damaged = capsys.readouterr()
    assert "built" in damaged.out
    assert damaged.err.startswith("tensorrt: ")
    assert plan.read_bytes() == content


@one_jetpack
def test_doctor_tells_of_the_board(board, small_bundle, capsys):
    (board / "sys/class/hwmon/hwmon1/curr2_input").unlink()
    assert main(["doctor", "--bundle", str(small_bundle.path)]) == 0
    out = capsys.readouterr().out
    assert "target jetson: yes: tensorrt 10.3.0" in out
    assert f"board: {MODEL}; R36 (release), REVISION: 4.3" in out
    assert f"{GPU} 306 to 1020 MHz" in out
    assert "VDD_IN, VDD_SOC" in out
    assert "rails_mw VDD_CPU_GPU_CV  absent: " in out
    assert "medical use" in out
