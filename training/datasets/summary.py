"""What an import found, as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from orthoedge.training.data.studies import Study
from orthoedge.training.datasets.imported import Imported


def summary(imported: Imported) -> list[str]:
    """Lines of a table: images per label, centre and body part, and what was skipped and why."""
    groups = len({study.group for study in imported.studies})
    lines = [f"{len(imported.studies)} images in {groups} groups; {len(imported.skipped)} skipped"]
    lines += [f"  {note}" for note in imported.notes]
    lines += _table("label", imported.studies, [s.label for s in imported.studies])
    lines += _table("centre", imported.studies, [s.centre for s in imported.studies])
    lines += _table("body part", imported.studies, [s.body_part for s in imported.studies])
    reasons = Counter(skipped.reason.partition(":")[0] for skipped in imported.skipped)
    if reasons:
        lines += ["", f"{'skipped':<28} {'images':>8}"]
        lines += [f"{reason:<28} {count:>8}" for reason, count in reasons.most_common()]
    return lines


def _table(title: str, studies: Sequence[Study], values: list[str]) -> list[str]:
    """Images and images with boxes per value; nothing where the set has no such thing."""
    if not any(values):
        return []
    images = Counter(values)
    boxed = Counter(v for v, study in zip(values, studies, strict=True) if study.boxes)
    lines = ["", f"{title:<28} {'images':>8} {'with boxes':>11}"]
    for value in sorted(images):
        lines.append(f"{value or '(not said)':<28} {images[value]:>8} {boxed[value]:>11}")
    return lines
