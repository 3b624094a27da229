"""The shortcut audit: what is planted is report where it was planted, and noise is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.runtime.errors import DataError, InputError
from orthoedge.training.data.index import ImageRecord, read_index
from orthoedge.training.data_quality.shortcut_audit import (
    TOGETHER,
    Shortcut,
    ShortcutAudit,
    audit,
    write_shortcuts,
)

LABELS = ("ill", "well")
PER_CLASS = 60


def _set(folder: Path, change=lambda pixels, ill, i: pixels) -> list[ImageRecord]:
    """Smoothed noise; `change` plants a shortcut."""
    rng = np.random.default_rng(0)
    records = []
    for i in range(2 * PER_CLASS):
        noise = rng.uniform(20, 170, (64, 48)).astype(np.float32)
        pixels = change(cv2.GaussianBlur(noise, (0, 0), 2), i % 2 == 0, i)
        cv2.imwrite(str(folder / f"{i:03d}.png"), np.clip(pixels, 0, 255).astype(np.uint8))
        records.append(ImageRecord(folder / f"{i:03d}.png", LABELS[i % 2], str(i), source="one"))
    return records


def _framed(pixels, ill, i):
    pixels = pixels.copy()
    pixels[0] = pixels[-1] = 0 if ill else 40
    return pixels


PLANTED = {
    "size": lambda pixels, ill, i: np.vstack([pixels, pixels[:16]]) if ill else pixels,
    "border": _framed,
    "exposure": lambda pixels, ill, i: pixels + 25 * ill,
}


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name == "size" else pytest.mark.slow) for name in PLANTED],
)
def test_a_planted_shortcut_is_found_by_its_family(tmp_path, family):
    report = audit(_set(tmp_path, PLANTED[family]), LABELS, 0)
    assert report.warns
    assert {family, TOGETHER} <= {f.family for f in report.shortcuts()}
    (scored,) = (f for f in report.families if f.family == family)
    assert scored.balanced_accuracy > 0.95  # the two classes do not overlap
    assert scored.low <= scored.balanced_accuracy <= scored.high


def test_a_class_from_sources_of_its_own_is_found_and_said_in_plain_words(tmp_path):
    records = [
        replace(s, source=f"{s.label} {i % 3}", site=f"site {i // 2 % 2}")
        for i, s in enumerate(_set(tmp_path))
    ]
    report = audit(records, LABELS, 0)
    assert [f.family for f in report.families][:2] == ["source", "site"]
    assert [f.family for f in report.shortcuts()] == ["source", TOGETHER]
    first, second = report.lines()
    assert "source 100%, site " in first
    assert second.startswith("warning: source alone predicts the class with 100% (chance 50%)")
    assert second.endswith("accuracy on this set says little about diagnosis")


@pytest.mark.slow
def test_noise_is_no_shortcut_and_the_result_is_the_seeds_alone(tmp_path):
    records = _set(tmp_path)
    report = audit(records, LABELS, 0)
    assert [f.family for f in report.families] == ["size", "border", "exposure", TOGETHER]
    assert not report.warns
    assert report.warning == ""
    assert len(report.lines()) == 1
    assert report.images == len(records)
    assert audit(records[::-1], LABELS, 0) == report
    assert msgspec.json.decode(msgspec.json.encode(report), type=ShortcutAudit) == report


def test_what_tells_one_group_from_another_does_not_count(tmp_path):
    # Ten images of each patient share an exposure of their own; the class is another matter.
    level = np.random.default_rng(1).permutation(12) * 10
    patient = [2 * (i // 20) + i % 2 for i in range(2 * PER_CLASS)]
    records = _set(tmp_path, lambda pixels, ill, i: pixels * 0.3 + level[patient[i]])
    assert not audit(
        [replace(s, patient_id=str(p)) for s, p in zip(records, patient, strict=True)], LABELS, 0
    ).warns


def test_at_most_two_thousand_images_are_read_the_rare_class_whole(tmp_path, monkeypatch):
    records = _set(tmp_path)
    rare = [s for s in records if s.label == "ill"][:12]
    monkeypatch.setattr("orthoedge.training.data_quality.shortcut_audit._MOST", 40)
    read = []

    def features(chosen):
        read.extend(chosen)
        return {"size": np.zeros((len(chosen), 1))}

    monkeypatch.setattr(
        "orthoedge.training.data_quality.shortcut_audit.shortcut_features", features
    )
    report = audit([*rare, *(s for s in records if s.label == "well")], LABELS, 0)
    assert report.images == len(read) == 40
    assert set(rare) < set(read)


@pytest.mark.slow
def test_real_radiographs_of_one_source_per_class_raise_the_warning(real_data):
    records = read_index(real_data / "fracture_small")
    report = audit(records, ("fracture", "non-affected"), 0)
    assert [f.family for f in report.shortcuts()] == [
        "source",
        "size",
        "border",
        "exposure",
        TOGETHER,
    ]
    assert "source alone predicts the class with 100% (chance 50%)" in report.lines()[1]


def _row(family, score, low, high):
    return Shortcut(family=family, balanced_accuracy=score, low=low, high=high)


def test_the_table_and_the_picture_show_every_family(tmp_path):
    rows = (_row("size", 0.52, 0.45, 0.59), _row("border", 0.8, 0.7, 0.9))
    report = ShortcutAudit(images=100, chance=0.5, margin=0.1, families=rows)
    table = report.markdown()
    assert "| size | 0.520 | 0.450 to 0.590 | no |" in table
    assert "| border | 0.800 | 0.700 to 0.900 | yes |" in table
    assert "**Warning:** border alone predicts the class with 80% (chance 50%): accuracy" in table
    write_shortcuts(tmp_path / "shortcuts.png", report)
    assert cv2.imread(str(tmp_path / "shortcuts.png")) is not None


def test_a_set_that_cannot_be_audited_is_refused(tmp_path):
    records = _set(tmp_path)
    with pytest.raises(DataError, match="label ill: 1 patient"):
        audit([replace(s, patient_id="g") for s in records], LABELS, 0)
    with pytest.raises(DataError, match="all images have the label ill"):
        audit(records[::2], LABELS[:1], 0)
    records[5].path.write_text("text")
    with pytest.raises(InputError, match=r"005\.png: not an image"):
        audit(records, LABELS, 0)
