"""Curves of scaling: the fit, the sentences, the model with more classes, and every part."""

from pathlib import Path

import numpy as np
import pytest

from orthoedge.benchmarks.run_settings import PLANS
from orthoedge.benchmarks.scaling import by_size, curves, wording
from orthoedge.benchmarks.scaling.memory import peak_bytes
from orthoedge.benchmarks.scaling.more_classes import widen
from orthoedge.benchmarks.scaling.power_law import exponent, upper_half
from orthoedge.benchmarks.scaling.settings import SCOPES, ScalingSetup, Scope
from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle
from orthoedge.runtime.errors import EngineError
from orthoedge.targets import EngineOptions, open_model
from orthoedge.targets.cpu import available_cores

SMALL = Scope(
    limit_s=1000,
    shapes=((64, 64), (96, 128)),
    rounds=2,
    seconds=0,
    batches=(1, 3),
    widths=(1, 2),
    files=(1, 2),
    commands=1,
    everything=False,
)
SIZES = (1, 4, 16, 64, 256, 1024)


def power(k, constant=0.0, noise=0.05):
    rng = np.random.default_rng(3)
    return {n: (constant + 2 * float(n) ** k) * rng.normal(1, noise, 20) for n in SIZES}


@pytest.mark.parametrize("k", [0.5, 1, 2, -0.5])
def test_a_planted_power_lies_within_a_narrow_interval(k):
    found = exponent(power(k))
    assert found.low <= k <= found.high
    assert found.high - found.low < 0.1


def test_a_constant_at_the_small_end_does_not_hide_the_power():
    assert exponent(power(1, constant=20)).value == pytest.approx(1, abs=0.2)


def test_a_bent_curve_has_a_wider_interval_than_a_straight_one():
    straight = power(1, noise=0.001)
    bent = {n: np.full(20, np.log(n + 1) ** 3) for n in SIZES}
    widths = [exponent(curve).high - exponent(curve).low for curve in (straight, bent)]
    assert widths[1] > 10 * widths[0]


@pytest.mark.parametrize(
    "samples",
    [
        power(0),
        {n: np.full(3, 150 + n * 1e-3) for n in SIZES},
        {n: np.zeros(3) for n in SIZES},
        {1: np.ones(5)},
        {1: np.array([1.0]), 2: np.array([2.0])},
    ],
    ids=["noise", "next to nothing", "zero", "one size", "two with no spread"],
)
def test_what_does_not_grow_or_cannot_be_told_has_no_exponent(samples):
    assert exponent(samples) is None


def test_the_upper_half_has_two_points_where_there_are_two():
    halves = [upper_half(range(n)) for n in (1, 2, 3, 4, 5, 6)]
    assert [list(half) for half in halves] == [[0], [0, 1], [1, 2], [2, 3], [2, 3, 4], [3, 4, 5]]


def test_sentences_say_what_was_measured_and_nothing_else():
    small, large = (256, 256), (3000, 2500)
    words = wording.parts_sentence({small: {"a": 3, "b": 1}, large: {"a": 1, "b": 9}})
    assert words == "At 2500×3000 b takes most, 90% of the time; at 256×256 a, 75%."
    words = wording.parts_sentence({small: {"a": 3, "b": 1}, large: {"a": 9, "b": 1}})
    assert words == "At 256×256 as at 2500×3000 a takes most: 75% of the time, and 90%."
    assert wording.batch_sentence(16, 1, 8).endswith("a batch saves 50%.")
    assert wording.batch_sentence(16, 1, 24).endswith("a batch costs 50% more.")
    assert wording.batch_sentence(16, 1, 16.2).endswith("a batch saves nothing.")
    assert wording.classes_sentence(4, 1, 1024, 1.01) == "1,024 classes take no longer than 4."
    assert "each adds 1 µs" in wording.classes_sentence(4, 1, 1004, 2)
    assert wording.threads_sentence(2, 1, 0.5).startswith("2 threads take 0.50 of the time")
    assert "as if 100%" in wording.threads_sentence(2, 1, 0.5)
    assert wording.threads_sentence(2, 1, 1.3) == "2 threads make one inference no faster here."
    words = wording.files_sentence(1, 502, 101, 702)
    assert words == (
        "Starting takes 0.50 s and each file 2 ms: up to 250 files the start is the larger part."
    )
    assert wording.risen_sentence(1, 80, 101, 80.02, "files").endswith(
        "0.2 kB for each of the files."
    )
    assert wording.risen_sentence(1, 80, 2, 79.9, "threads").endswith("no rise.")
    assert wording.files_sentence(1, 502, 101, 500) == "1 files take 502 ms, 101 take 500 ms."


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("phantom", [False, True])
def test_a_widened_model_gives_each_class_again(precision, phantom, small_bundle):
    bundle = read_bundle(PHANTOM) if phantom else small_bundle
    images, graph = bundle.golden_images()[:2], bundle.manifest.graph
    model = bundle.model(precision)
    wide = widen(model, graph.classes, 3)
    for target in ("portable", "x86"):
        before, after = (
            open_model(m, graph.size, target, precision, options=EngineOptions(threads=1)).run(
                images
            )
            for m in (model, wide)
        )
        for name in ("logits", "saliency_map"):
            expected = np.concatenate([getattr(before, name)] * 3, axis=1)
            # Another shape of a product is another order of its sum.
            np.testing.assert_allclose(getattr(after, name), expected, rtol=1e-4, atol=1e-5)


def test_features_that_are_as_many_as_the_classes_are_refused(small_bundle):
    features = small_bundle.manifest.graph.features
    with pytest.raises(EngineError, match="as many features"):
        widen(small_bundle.model("fp32"), features, 2)


def test_peak_memory_sees_what_was_given_back_before_the_end():
    size = 32_000_000
    taken = peak_bytes(lambda: np.ones(size, np.uint8).sum())
    assert size * 0.97 < taken < size * 1.2  # sum() takes blocks of its own


def test_the_sentence_names_the_part_that_was_planted(small_bundle, monkeypatch, tmp_path):
    pytest.importorskip("pydicom")
    planted = {"2 read dicom": 10, "2 read dicom: given its bytes": 3, "2 read png": 10}
    planted |= {"2 read png: OpenCV's decoder": 8, "2 read png: given its bytes": 9}

    def planted_times(calls, warmup, rounds, seconds):
        for call in calls.values():
            call(0)
        yield {name: np.full((2, 1), planted.get(name, 1.0)) for name in calls}

    monkeypatch.setattr(by_size, "interleave", planted_times)
    setup = ScalingSetup(small_bundle, "portable", "int8", 1, SMALL, tmp_path)
    found, skipped = by_size.time_by_pixels(setup)
    where = {curve.name: curve.explanation for curve in found}
    assert skipped == []
    assert "At 128×96 fetching the file takes most, 70% of the time" in where["read dicom"]
    assert where["read png"].endswith("OpenCV's decoder takes most: 100% of the time, and 80%.")
    assert dict(found[0].points) == {64.0 * 64: 1.0, 96.0 * 128: 10.0}
    assert {"portable int8, from memory", "portable int8, from png", "preprocess"} <= set(where)


def curves_of(bundle, monkeypatch, scope):
    monkeypatch.setitem(SCOPES, "quick", scope)
    parts = list(curves.scaling_curves(bundle, "portable", "int8", 1, "quick"))
    found, skipped = ([one for part in parts for one in part[i]] for i in (0, 1))
    for curve in found:
        sizes = [size for size, _ in curve.points]
        assert sizes == sorted(set(sizes)), curve.name
        assert curve.explanation.endswith(".")
        assert min(value for _, value in curve.points) >= 0
    return {(curve.name, curve.by, curve.unit) for curve in found}, {
        m.name: m.reason for m in skipped
    }


def test_every_quick_curve_is_measured_on_a_real_engine(small_bundle, monkeypatch):
    pytest.importorskip("pydicom")
    found, skipped = curves_of(small_bundle, monkeypatch, SMALL)
    engine, pixels = "portable int8 engine", ("preprocess", "read png", "read jpeg", "read dicom")
    assert {(of, "pixels", "ms") for of in (*pixels, "portable int8, from png")} <= found
    assert {(engine, "images at once", "ms"), (engine, "classes", "ms")} <= found
    assert {unit for _, _, unit in found} == {"ms"}
    for left_out in ("memory by pixels", "predict FOLDER", "predict FOLDER --jobs"):
        assert skipped[f"scaling: {left_out}"] == "takes too long for --quick"
    if available_cores() == 1:
        assert skipped["scaling: time by threads"] == "there is one core"
    else:
        assert (engine, "threads", "ms") in found


@pytest.mark.slow
@pytest.mark.skipif(available_cores() == 1, reason="one core has no curve of threads and jobs")
def test_the_longer_curves_too(small_bundle, monkeypatch):
    pytest.importorskip("pydicom")
    found, skipped = curves_of(small_bundle, monkeypatch, SMALL._replace(everything=True))
    by = {"images at once", "classes", "threads"}
    assert {("portable int8 engine", one, "MB") for one in by} <= found
    pixels = ("preprocess", "read png", "read jpeg", "read dicom", "portable int8, from png")
    assert {(of, "pixels", "MB") for of in pixels} <= found
    assert {("predict FOLDER", "files", unit) for unit in ("ms", "MB")} <= found
    assert (f"predict FOLDER --jobs {available_cores()}", "files", "ms") in found
    assert skipped == {}


def test_no_part_begins_after_its_time_and_one_that_fails_is_a_reason(small_bundle, monkeypatch):
    def refuse(setup):
        raise EngineError("no such engine")

    def folder_of(setup):
        folders.append(setup.folder)
        assert setup.folder.is_dir()
        return [], []

    folders: list[Path] = []
    parts = {"first": refuse, "second": folder_of, "third": folder_of}
    monkeypatch.setattr(curves, "PARTS", parts)
    times = iter([0, 1, 10, 16])  # of the start and of each part; --quick has 15 s
    yielded = curves.scaling_curves(small_bundle, "x86", "int8", 1, "quick", lambda: next(times))
    skipped = [one for _, some in yielded for one in some]
    assert [(one.name, one.reason) for one in skipped] == [
        ("scaling: first", "no such engine"),
        ("scaling: third", "the time limit of 15 s for scaling was over"),
    ]
    assert len(folders) == 1
    assert not folders[0].exists()


def test_longer_modes_measure_what_shorter_ones_do():
    assert SCOPES.keys() == PLANS.keys()
    for shorter, longer in zip(SCOPES.values(), list(SCOPES.values())[1:], strict=False):
        assert set(shorter.shapes) <= set(longer.shapes)
        assert set(shorter.files) <= set(longer.files)
        assert shorter.limit_s <= longer.limit_s
