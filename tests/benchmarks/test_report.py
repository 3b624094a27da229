import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.benchmarks.report import Report, benchmark, to_markdown, write_report
from orthoedge.cli.main import main
from orthoedge.runtime.errors import DataError, UnknownTarget


@pytest.fixture
def radiographs(tmp_path):
    folder = tmp_path / "radiographs"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i, shape in enumerate([(90, 60), (64, 64)]):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 256, shape, dtype=np.uint8))
    return folder


@pytest.fixture
def torch_threads():
    """PyTorch's thread count, one for the whole process, as it was before the test."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorch_grad_cam")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_every_target_and_precision_is_measured_and_the_report_reads_back(
    small_bundle, radiographs, tmp_path
):
    report = benchmark(small_bundle, ["x86", "portable"], 3, radiographs, seeds=False, threads=1)
    rows = [(row.target, row.engine, row.precision) for row in report.measured]
    assert rows == [
        ("x86", "openvino", "fp32"),
        ("x86", "openvino", "int8"),
        ("portable", "onnxruntime", "fp32"),
        ("portable", "onnxruntime", "int8"),
    ]
    for row in report.measured:
        assert 0 < row.pipeline.p50 <= row.pipeline.p90 <= row.pipeline.p99
        assert row.engine_alone.p50 > 0
        assert row.speedup is None
    assert report.missing == ()
    assert report.data == "2 radiographs, 60×90, 64×64"
    assert report.bundle_sha256 == small_bundle.sha256
    assert report.machine.cpu
    assert "numpy" in report.machine.packages
    write_report(report, tmp_path / "out")
    again = msgspec.json.decode((tmp_path / "out" / "report.json").read_bytes(), type=Report)
    assert again == report
    table = (tmp_path / "out" / "report.md").read_text("utf-8")
    assert table == to_markdown(report)
    assert table.count("openvino") == 2


def test_a_target_that_cannot_run_here_is_a_line_that_says_why(small_bundle, radiographs):
    report = benchmark(small_bundle, ["jetson", "x86"], 1, radiographs, seeds=False, threads=1)
    assert [row.target for row in report.measured] == ["x86", "x86"]
    assert [missing.what for missing in report.missing] == ["jetson fp32", "jetson int8"]
    assert all(missing.why in to_markdown(report) for missing in report.missing)


def test_an_unknown_target_and_an_empty_folder_are_errors(small_bundle, radiographs, tmp_path):
    with pytest.raises(UnknownTarget, match="z80"):
        benchmark(small_bundle, ["z80"], 1, radiographs, seeds=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no radiograph"):
        benchmark(small_bundle, ["x86"], 1, empty, seeds=False)


def test_a_busy_machine_is_said_to_be_one(small_bundle, radiographs):
    report = benchmark(small_bundle, ["portable"], 1, radiographs, seeds=False, threads=1)
    for load, busy in [(0.1, False), (3.0, True)]:
        machine = msgspec.structs.replace(report.machine, load=load)
        table = to_markdown(msgspec.structs.replace(report, machine=machine))
        assert ("not to be quoted" in table) is busy


@pytest.mark.usefixtures("torch_threads")
def test_the_seeds_way_is_timed_beside_the_pipelines(small_bundle, radiographs):
    report = benchmark(small_bundle, ["x86"], 2, radiographs, threads=1, warmup=1)
    assert report.seeds is not None
    for row in report.measured:
        assert row.speedup is not None
        assert row.speedup.low <= row.speedup.p50 <= row.speedup.high
    assert "seeds' way" in to_markdown(report)


@pytest.mark.usefixtures("torch_threads")
def test_seeds_pipeline_labels_and_maps_a_radiograph():
    from orthoedge.benchmarks.seeds import SeedsPipeline

    pixels = np.random.default_rng(0).integers(0, 256, (80, 50), dtype=np.uint8)
    pipeline = SeedsPipeline(threads=1)
    label, saliency = pipeline(pixels)
    assert label in range(4)
    assert saliency.shape == (224, 224)
    assert saliency.dtype == np.float32
    assert 0 <= saliency.min() < saliency.max() <= 1
    again = pipeline(pixels)
    assert again[0] == label
    np.testing.assert_array_equal(again[1], saliency)  # nothing is left over between calls


def test_the_command_prints_the_table_and_writes_one_folder_per_bundle(
    small_bundle, radiographs, tmp_path, capsys
):
    out = tmp_path / "out"
    arguments = ["benchmark", str(small_bundle.path), "--data", str(radiographs), "--rounds", "1"]
    arguments += ["--threads", "1", "--target", "x86", "--no-seeds", "--out", str(out)]
    assert main(arguments) == 0
    assert "| x86 | openvino" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"report.json", "report.md"}


def test_the_command_fails_when_a_named_target_was_not_measured(small_bundle, radiographs, capsys):
    arguments = ["benchmark", str(small_bundle.path), "--data", str(radiographs), "--rounds", "1"]
    assert main([*arguments, "--target", "jetson", "--no-seeds"]) == 1
    assert "jetson int8: not measured" in capsys.readouterr().out


def test_rounds_must_be_a_number_above_zero(capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "--rounds", "0"])
    assert "whole number above 0" in capsys.readouterr().err
