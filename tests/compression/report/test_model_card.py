"""The model card holds everything that the manifest does."""

import re

import msgspec
import pytest

from orthoedge.compression.report.model_card import model_card
from orthoedge.runtime.bundles.manifest import Calibration, Lineage, Metrics

GATE = ["pass  int8  macro-F1 drop 0.0021 <= 0.005", "pass  int8  ECE 0.0170 <= 0.02"]
CONSISTENCY = ["onnxruntime: RMSE 0.004, 0 of 1000 decisions flipped"]


@pytest.fixture
def manifest(small_bundle):
    return small_bundle.manifest


def card(manifest):
    return model_card(manifest, GATE, CONSISTENCY)


def changed(manifest, **values):
    return msgspec.structs.replace(manifest, **values)


def with_metrics(manifest, **values):
    """The INT8 network's metrics with other values."""
    int8 = changed(manifest.metrics["int8"], **values)
    return changed(manifest, metrics=manifest.metrics | {"int8": int8})


def with_lineage(manifest, **values):
    return changed(manifest, lineage=changed(manifest.lineage, **values))


def row(text, name, table=0):
    """Cells of the row that begins with `name`, in the first or a later table that has one."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {name} |")]
    return [cell.strip() for cell in lines[table].strip("|").split("|")][1:]


def other(value):
    """Another value of the same type."""
    if isinstance(value, str):
        return f"other {value}"
    if isinstance(value, int):
        return value + 1_000_000
    if isinstance(value, float):
        return value + 0.25
    if isinstance(value, tuple):
        return tuple(map(other, value)) or ("other",)
    if isinstance(value, dict):
        return {key: other(item) for key, item in value.items()} or {"fracture": 0.75}
    if isinstance(value, Metrics):
        return changed(value, accuracy=other(value.accuracy))
    return 0.75  # a figure that was not measured


@pytest.mark.parametrize("field", Lineage.__struct_fields__)
def test_nothing_of_the_lineage_is_left_out(manifest, field):
    value = other(getattr(manifest.lineage, field))
    assert card(with_lineage(manifest, **{field: value})) != card(manifest)


@pytest.mark.parametrize("field", Metrics.__struct_fields__)
def test_nothing_that_was_measured_is_left_out(manifest, field):
    value = other(getattr(manifest.metrics["int8"], field))
    assert card(with_metrics(manifest, **{field: value})) != card(manifest)


@pytest.mark.parametrize("field", Calibration.__struct_fields__)
def test_nothing_that_decides_is_left_out(manifest, field):
    calibration = manifest.calibration["int8"]
    value = getattr(calibration, field)
    value = changed(value, threshold=7.0) if field == "out_of_distribution" else other(value)
    changes = manifest.calibration | {"int8": changed(calibration, **{field: value})}
    assert card(changed(manifest, calibration=changes)) != card(manifest)


@pytest.mark.parametrize("field", ["name", "version", "licence", "data_licence", "intended_use"])
def test_name_version_licence_and_use_are_in_the_card(manifest, field):
    assert "as it is called" in card(changed(manifest, **{field: "as it is called"}))


def test_it_says_once_that_it_is_no_cleared_device(manifest):
    text = card(manifest)
    assert text.lower().count("not a cleared medical device") == 1
    assert text.lower().count("research and engineering tool") == 1


def test_each_part_of_the_data_has_its_own_list(manifest):
    hashes = {
        "training images, SHA-256 of the list": "training_list_sha256",
        "of them, those for the INT8 ranges": "range_list_sha256",
        "calibration images": "calibration_list_sha256",
        "test images": "test_list_sha256",
    }
    digests = {field: f"{number}" * 64 for number, field in enumerate(hashes.values(), 1)}
    text = card(with_lineage(manifest, **digests))
    for part, field in hashes.items():
        assert row(text, part) == [digests[field]]


def test_figures_stand_in_the_column_of_their_network_with_their_intervals(manifest):
    teacher = changed(manifest.metrics["fp32"], accuracy=0.9, macro_f1=0.91, intervals={})
    int8 = {"accuracy": (0.8, 0.9), "macro_f1": (0.81, 0.912), "recall.fracture": (0.5, 0.75)}
    recall = {"fracture": 0.6, "non-affected": 1.0, "tumor-malignant": 0.0}
    text = card(
        with_metrics(
            with_lineage(manifest, teacher_metrics=teacher),
            accuracy=0.85,
            macro_f1=0.8612,
            recall=recall,
            intervals=int8,
        )
    )
    assert row(text, "accuracy") == ["90.0%", "50.0% [25.0, 75.0]", "85.0% [80.0, 90.0]"]
    assert row(text, "macro-F1") == ["0.910", "0.500", "0.861 [0.810, 0.912]"]
    assert row(text, "recall, fracture") == ["50.0%", "50.0%", "60.0% [50.0, 75.0]"]
    assert row(text, "recall, tumor-malignant")[-1] == "0.0%"
    assert "fracture 60.0%, non-affected 100.0%, tumor-malignant 0.0%" in text


def test_what_was_lost_has_a_minus_and_what_was_won_a_plus(manifest):
    teacher = changed(manifest.metrics["fp32"], accuracy=0.9, macro_f1=0.5, pointing_game=0.8)
    lost = with_lineage(manifest, teacher_metrics=teacher)
    text = card(with_metrics(lost, accuracy=0.873, macro_f1=0.52, pointing_game=0.8 - 1e-9))
    assert row(text, "accuracy", table=1) == ["-40.0", "-2.7"]
    assert row(text, "macro-F1", table=1) == ["+0.0", "+2.0"]
    assert row(text, "pointing game", table=1)[-1] == "+0.0"


def test_what_was_not_measured_is_stated(manifest):
    text = card(manifest)
    assert row(text, "pointing game") == ["not measured: no image has a lesion box"] * 3
    assert row(text, "pointing game", table=1) == ["not measured: no image has a lesion box"] * 2
    assert not re.search(r"\b(None|nan|inf)\b", text)
    without = model_card(manifest, GATE, [])
    assert "not compared" in without


def test_gate_and_engines_stand_line_by_line(manifest):
    text = card(manifest)
    assert "```\n" + "\n".join(GATE) + "\n```" in text
    assert "```\n" + "\n".join(CONSISTENCY) + "\n```" in text


def test_layers_that_fell_back_to_float_are_named(manifest):
    assert "No other layer runs in float32." in card(manifest)
    text = card(with_lineage(manifest, float_layers=("/stem/Conv", "/blocks.1/Conv")))
    assert "`/stem/Conv`, `/blocks.1/Conv`" in text
    assert "No other layer" not in text


def test_only_phantoms_are_called_rendered(manifest):
    assert "rendered by a program" in card(manifest)
    real = card(changed(manifest, data="radiographs", intended_use="Research."))
    assert "hantom" not in real
    assert "test radiographs" in real


def test_alert_labels_are_named_and_their_absence_too(manifest):
    assert "every alert label (tumor-malignant)" in card(manifest)
    assert "every alert label (none in this bundle)" in card(changed(manifest, alert_labels=()))


def test_no_name_breaks_a_table(manifest):
    text = card(with_lineage(manifest, recipe="a|b"))
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 6
    for lines in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
