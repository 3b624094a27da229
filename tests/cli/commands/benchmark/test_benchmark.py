"""`orthoedge benchmark`: what it writes, how it ends, and what it refuses."""

import argparse
import shlex

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.benchmarks import run_settings
from orthoedge.benchmarks.schema import Report
from orthoedge.cli.commands import benchmark
from orthoedge.cli.commands.benchmark import measure
from orthoedge.cli.commands.benchmark.measure import command_of
from orthoedge.cli.main import main


@pytest.fixture
def radiographs(small_bundle, tmp_path):
    """A folder of noise in folders named as the bundle's labels."""
    rng = np.random.default_rng(0)
    for label in small_bundle.manifest.labels:
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(2):
            noise = rng.integers(0, 256, (60, 50 + i), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "data" / label / f"{i}.png"), noise)
    return tmp_path / "data"


@pytest.fixture
def quick(monkeypatch, moment, small_bundle, radiographs, tmp_path):
    """Arguments of a run that takes seconds."""
    monkeypatch.setitem(run_settings.PLANS, "quick", moment)
    # Curves take longer than all else, and have tests of their own.
    monkeypatch.setattr("orthoedge.benchmarks.run.scaling_curves", lambda *_: iter(()))
    options = ["--quick", "--no-baseline", "--threads", "1", "--data", str(radiographs)]
    out = ["--out", str(tmp_path / "out")]
    return ["benchmark", "run", str(small_bundle.path), "--target", "portable", *options, *out]


def read(folder):
    return msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)


@pytest.mark.slow
def test_a_run_leaves_a_report_a_text_and_a_page(quick, tmp_path, capsys):
    assert main([*quick, "--fail-if", "macro_f1>=0", "model_mb<0"]) == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html",
        "report.json",
        "report.md",
    }
    report = read(tmp_path / "out")
    assert report.complete
    assert report.settings.data.startswith("6 radiographs of")
    assert [row.images for row in report.accuracy] == [6, 6]
    printed = capsys.readouterr().out
    assert (tmp_path / "out" / "report.md").read_text() in printed
    assert "macro_f1>=0" in printed
    assert "model_mb<0" not in printed.split("## ")[-1].splitlines()[-1]


@pytest.mark.slow
def test_the_load_is_that_of_before_and_not_of_preparing(quick, tmp_path, monkeypatch):
    def busy(*arguments):
        monkeypatch.setattr("os.getloadavg", lambda: (9.0, 9.0, 9.0))
        return real(*arguments)

    real = measure._ensemble
    monkeypatch.setattr(measure, "_ensemble", busy)
    monkeypatch.setattr("os.getloadavg", lambda: (0.25, 9.0, 9.0))
    assert main(quick) == 0
    assert read(tmp_path / "out").machine.load == 0.25


@pytest.mark.slow
def test_what_was_named_and_not_measured_is_a_failure(quick, tmp_path):
    assert main([*quick, "--target", "jetson"]) == 1
    report = read(tmp_path / "out")
    assert {row.target for row in report.candidates} == {"portable"}
    assert any(row.name == "jetson int8" and row.reason for row in report.skipped)


def test_an_interrupted_run_ends_with_130_and_its_report(quick, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("orthoedge.benchmarks.run.write_sources", interrupt)
    assert main(quick) == 130
    report = read(tmp_path / "out")
    assert not report.complete
    assert {row.name for row in report.candidates} >= {"portable int8", "portable fp32"}
    assert (tmp_path / "out" / "report.html").is_file()
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "z80"], "target 'z80' is unknown"),
        (["--fail-if", "speed>2"], "speed"),
        (["--isa", "MMX"], "--isa MMX is unknown"),
        (["--reference", "/nowhere", "--quick"], "/nowhere"),
        (["--data", "/nowhere"], "/nowhere"),
        (["--compare", "/nowhere/a.json", "/nowhere/b.json"], "/nowhere/a.json"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_is_measured(
    arguments, said, monkeypatch, capsys
):
    monkeypatch.setattr(measure, "measure", None)
    assert main(["benchmark", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error.splitlines()[-1]
    assert "Traceback" not in error


def test_the_command_in_the_report_says_what_was_asked_for():
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    words = (
        "run a phantom ./phantom --target x86 --target jetson --full --data 'my data' "
        "--reference r.onnx --out o --threads 2 --isa AVX2 --no-baseline --external 'n=a b' "
        "--fail-if 'p90_ms>2' 'ratio>3'"
    )
    asked = parser.parse_args(shlex.split(words))
    assert parser.parse_args(shlex.split(command_of(asked))[2:]) == asked


@pytest.mark.slow
def test_claims_are_measured_printed_and_written_with_their_report(
    monkeypatch, moment, small_bundle, tmp_path, capsys
):
    pytest.importorskip("openvino")
    monkeypatch.setitem(run_settings.PLANS, "quick", moment)
    arguments = ["claims", "minimal_pipeline", "saliency_map", "--bundle", str(small_bundle.path)]
    options = ["--quick", "--threads", "1", "--rounds", "2", "--out", str(tmp_path / "out")]
    assert main(["benchmark", *arguments, *options]) == 0
    printed = capsys.readouterr().out
    table = (tmp_path / "out" / "claims.md").read_text()
    assert table in printed
    report = read(tmp_path / "out")
    for comparison in report.comparisons[:2]:
        figure = comparison.figure
        assert f"{figure.value:.3g} ({figure.low:.3g} to {figure.high:.3g}) ×" in table
    again = str(tmp_path / "out" / "report.json")
    assert main(["benchmark", "claims", again, "minimal_pipeline,saliency_map"]) == 0
    assert capsys.readouterr().out.strip() == printed.strip()
    assert main(["benchmark", "claims", again, "baseline"]) == 1
