"""The promises about speed: what is timed is the same work, and the table says what was found."""

import shlex
import sys

import cv2
import msgspec
import numpy as np
import onnxruntime
import pytest

from orthoedge.benchmarks.baselines.folder_throughput import sample, write_pngs
from orthoedge.benchmarks.baselines.minimal_pipeline import BareWay, logits_only, read_dicom_bare
from orthoedge.benchmarks.ratio_calls import write_dicom
from orthoedge.benchmarks.ratio_rows import Ratios, difference, ratio_row, to_markdown
from orthoedge.benchmarks.ratios import NAMES, measure
from orthoedge.benchmarks.schema import Missing
from orthoedge.benchmarks.timing.latency import Timings
from orthoedge.benchmarks.timing.startup import Child
from orthoedge.cli.main import main
from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.targets import EngineOptions, open_pipeline


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(EMBEDDED)


def framed(rows, columns):
    """A phantom between white margins, so that the field is not the whole picture."""
    pixels = cv2.resize(sample(512), (columns, rows), interpolation=cv2.INTER_LINEAR)
    pixels[:, : columns // 8] = 255
    return pixels


@pytest.mark.parametrize("shape", [(512, 512), (700, 900), (300, 200)])
def test_the_bare_calls_give_the_engine_what_the_pipeline_gives_it(shape, bundle):
    pixels = framed(*shape)
    pipeline = open_pipeline(bundle, target="x86", engine=EngineOptions(threads=1))
    way = BareWay(pipeline, pixels)
    way()
    square = bundle.manifest.preprocess(pixels)
    np.testing.assert_array_equal(way.infer.image[0, 0], square)
    expected = pipeline.engine.run(square[None, None]).logits
    np.testing.assert_array_equal(way.infer.logits, expected)


def test_the_model_cut_down_gives_the_same_logits_and_nothing_else(small_bundle):
    whole = onnxruntime.InferenceSession(small_bundle.model("fp32"))
    cut = onnxruntime.InferenceSession(logits_only(small_bundle, "fp32"))
    assert [output.name for output in cut.get_outputs()] == ["logits"]
    image = {"image": small_bundle.golden_images()[:1]}
    np.testing.assert_array_equal(cut.run(None, image)[0], whole.run(["logits"], image)[0])


def test_the_minimal_reader_shows_the_same_picture(tmp_path):
    pytest.importorskip("pydicom")
    write_dicom(tmp_path / "radiograph.dcm")
    expected = read_image(tmp_path / "radiograph.dcm")
    assert expected.source_bits == 14
    assert expected.pixels.shape == (3000, 2500)
    found = read_dicom_bare(tmp_path / "radiograph.dcm")
    # Scaling in float32 may round the other way half-way between two levels.
    assert cv2.norm(found, expected.pixels, cv2.NORM_INF) <= 1


def test_a_folder_of_pngs_holds_different_radiographs(tmp_path):
    paths = write_pngs(tmp_path, 70, 48)
    assert len({path.read_bytes() for path in paths}) == 64
    assert read_image(paths[69]).pixels.shape == (48, 48)


@pytest.mark.slow
def test_every_promise_is_measured(bundle):
    pytest.importorskip("pytorch_grad_cam")
    found = measure(bundle, NAMES, rounds=1, threads=1)
    assert {row.name for row in found.rows} == set(NAMES)
    assert [missing.what for missing in found.missing] == ["peers in environments of their own"]


def test_the_command_prints_the_table_and_writes_it(small_bundle, tmp_path, capsys):
    arguments = ["benchmark", str(small_bundle.path), "--ratios", "dicom,bare,map,import"]
    assert main([*arguments, "--rounds", "3", "--threads", "1", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    found = msgspec.json.decode((tmp_path / "ratios.json").read_bytes(), type=Ratios)
    assert [row.name for row in found.rows] == ["bare", "map", "dicom", "import"]
    for row in found.rows:
        assert row.other_value > 0
        assert row.figure.low <= row.figure.value <= row.figure.high
        assert row.limit is not None
    assert found.missing == ()
    assert (tmp_path / "ratios.md").read_text("utf-8") == to_markdown(found)
    assert to_markdown(found) in printed


PAIRS = Timings(np.array([2.0, 4.0, 6.0])), Timings(np.array([1.0, 2.0, 3.0]))


@pytest.mark.parametrize(
    ("at_least", "limit", "figure", "verdict"),
    [
        (False, 2.0, 2.0, "kept"),
        (False, 1.9, 2.0, "MISSED"),
        (True, 0.5, 0.5, "kept"),
        (True, 0.6, 0.5, "MISSED"),
        (False, None, 2.0, "–"),
    ],
)
def test_a_limit_is_kept_or_missed_by_the_median(at_least, limit, figure, verdict):
    ours, other = PAIRS
    row = ratio_row(
        "bare",
        ("ours", ours),
        ("other", other),
        limit=limit,
        at_least=at_least,
        others_cores=None,
        note="",
    )
    assert (row.figure.value, row.verdict) == (figure, verdict)
    assert (row.ours_value, row.other_value, row.rounds) == (4.0, 2.0, 3)


def test_a_limit_inside_the_interval_is_said_to_be_there():
    rng = np.random.default_rng(0)
    first, second = (Timings(rng.lognormal(0, 0.3, 30)) for _ in range(2))
    row = ratio_row(
        "bare", ("", first), ("", second), limit=1.0, at_least=False, others_cores=0.0, note=""
    )
    assert row.figure.low < 1 < row.figure.high
    assert "limit inside the interval" in row.verdict


def test_a_difference_is_that_of_each_round():
    first = Timings(np.array([10.0, 1.0, 1.0]))
    assert difference(first, Timings(np.array([1.0, 5.0, 0.5]))).value == 0.5


def test_a_crowded_row_is_not_to_be_quoted_and_what_is_missing_has_its_reason(small_bundle):
    found = measure(small_bundle, ["map"], rounds=1, threads=1)
    for cores, crowded in [(0.0, False), (0.5, True), (None, False)]:
        rows = tuple(msgspec.structs.replace(row, others_cores=cores) for row in found.rows)
        missing = (Missing(what="seeds", why="torch is not installed"),)
        table = to_markdown(msgspec.structs.replace(found, rows=rows, missing=missing))
        assert ("not to be quoted are map" in table) is crowded
        assert "- seeds: not measured. torch is not installed" in table


def test_a_peer_that_was_named_and_does_not_run_makes_the_command_fail(small_bundle, capsys):
    fine = "print('ready', flush=True)\nwhile input() == '': print(1000, flush=True)"
    gone = "raise SystemExit('no licence')"
    arguments = ["benchmark", str(small_bundle.path), "--ratios", "peers", "--rounds", "1"]
    for name, program in (("ultralytics", fine), ("gone", gone)):
        arguments += ["--peer", f"{name}={shlex.join([sys.executable, '-c', program])}"]
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert "| ultralytics: 1e+03 ms |" in printed
    assert "≥ 4 ×" in printed
    assert "- peer gone: not measured. peer gone: ended with status 1: no licence" in printed


def test_two_programs_of_one_peer_are_compared_beyond_bare_inference(small_bundle):
    program = "print('ready', flush=True)\nwhile input() == '': print({}, flush=True)"
    peers = {
        name: shlex.join([sys.executable, "-c", program.format(milliseconds)])
        for name, milliseconds in (("theirs", 2000), ("theirs-bare", 1500))
    }
    row = measure(small_bundle, ["peers"], 1, 1, peers).rows[-1]
    assert (row.other, row.other_value) == ("theirs beyond theirs-bare", 500.0)
    assert row.figure.value == pytest.approx(row.ours_value - 500, abs=0.1)  # five digits are kept
    assert row.kept


def test_a_child_that_fails_gives_its_last_line():
    child = Child("raise SystemExit('first\\nlast')", {})
    for ask in (child.to_first_line, child.last_line):
        with pytest.raises(EngineError, match="a fresh Python process failed: last"):
            ask()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--ratios", "bare", "--target", "x86"], "--target does not go with --ratios"),
        (["--ratios", "bare", "--training", "tiny"], "--ratios and --training exclude each other"),
        (["--compare", "a", "b", "--quick"], "--quick does not go with --compare"),
        (["--rounds", "9"], "--rounds does not go with a run of the benchmark"),
        (["--peer", "a=b"], "--peer does not go with"),
        (["--ratios", "bare", "--peer", "a=b"], "not among the names"),
        (["--ratios", "peers", "--peer", "a=b", "--peer", "a=c"], "two peers of one name"),
    ],
)
def test_options_that_exclude_each_other_are_one_line(arguments, said, capsys):
    assert main(["benchmark", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--ratios", "bare,dusk"], "'dusk' is unknown"), (["--peer", "x"], "expected NAME=COMMAND")],
)
def test_an_unknown_name_and_a_peer_without_a_command_are_refused(arguments, said, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
