"""What two bundles decide differently on the same inputs, with pictures of up to twenty."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from contextlib import closing
from html import escape
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import cv2

from orthoedge.clinic.archive.inputs.read_ahead import read_ahead
from orthoedge.clinic.archive.inputs.sources import ArchiveInput
from orthoedge.clinic.archive.report.html import share_with_interval, table
from orthoedge.clinic.archive.report.tally import Tally
from orthoedge.clinic.archive.rows import RunRecord
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import InputError, OrthoEdgeError
from orthoedge.runtime.settings import plain

if TYPE_CHECKING:
    from orthoedge.runtime.image_io.sandbox import SandboxedReader

__all__ = ["changes"]

_PICTURES = 20
_SIDE = 320  # pixels of a picture's longer side
_QUALITY = 80  # JPEG
_OUTCOMES = ("report", "refer", "reject", "no answer")
_JOIN = "FROM rows a JOIN rows b ON a.input = b.input WHERE a.bundle = ? AND b.bundle = ?"
# A rejected image has no label.
_SAME = "(a.decision IS b.decision AND (a.label IS b.label OR a.decision IS 'reject'))"


def changes(
    tally: Tally,
    before: tuple[int, RunRecord],
    after: tuple[int, RunRecord],
    authorization: Path | None,
) -> str:
    """The section about two bundles; empty if they share no input."""
    pair = before[0], after[0]
    count, same = tally.one(f"SELECT count(*), coalesce(sum({_SAME}), 0) {_JOIN}", *pair)
    if not count:
        return ""
    counts = {
        (first or "no answer", second or "no answer"): number
        for first, second, number in tally.all(
            f"SELECT a.decision, b.decision, count(*) {_JOIN} GROUP BY 1, 2", *pair
        )
    }
    (labels,) = tally.one(
        f"SELECT count(*) {_JOIN} AND a.label != b.label AND a.decision != 'reject' "
        "AND b.decision != 'reject'",
        *pair,
    )
    old, new = (f"{record.bundle} {record.bundle_version}" for _, record in (before, after))
    head = (f"{old} ↓   {new} →", *_OUTCOMES)
    lines = [(row, *(counts.get((row, each), 0) for each in _OUTCOMES)) for row in _OUTCOMES]
    parts = [
        "<h2>What changed between two bundles</h2>",
        f"<p>{escape(old)} and {escape(new)} both have {plain(count)} of the radiographs. Label "
        f"and decision are the same for {share_with_interval(same, count)}; the label differs "
        f"for {plain(labels)}.</p>",
        table(head, lines),
    ]
    changed = tally.all(
        "SELECT a.input, a.source, a.label, a.probability, a.decision, a.error, b.label, "
        f"b.probability, b.decision, b.error, coalesce(b.pixels, a.pixels) AS shown, a.truth "
        f"{_JOIN} AND NOT {_SAME} "
        # The hash of the pixels is an order that no folder or name decides.
        "ORDER BY a.label IS b.label, a.decision IS b.decision, shown, a.input "
        f"LIMIT {_PICTURES}",
        *pair,
    )
    if changed:
        shown = f"{plain(len(changed))} of {plain(count - same)} that changed"
        parts.append(f"<h3>{shown}, drawn at random from those with another label first</h3>")
        parts.append(f'<div class="pictures">{_figures(changed, authorization)}</div>')
    return "\n".join(parts)


def _figures(changed: Sequence[tuple[Any, ...]], authorization: Path | None) -> str:
    from orthoedge.runtime.image_io.sandbox import SandboxedReader

    figures = []
    with SandboxedReader() as reader:
        for name, source, *answers, pixels, truth in changed:
            item = ArchiveInput(os.fsencode(name), source)
            try:
                picture = _picture(reader, item, pixels, authorization)
            except (OrthoEdgeError, OSError) as error:
                picture = f'<p class="note">no picture: {escape(str(error))}</p>'
            old, new = _answer(*answers[:4]), _answer(*answers[4:])
            known = f"<br>labelled {escape(truth)}" if truth else ""
            figures.append(
                f"<figure>{picture}<figcaption>{escape(PurePath(name).name)}<br>"
                f"{escape(old)} → {escape(new)}{known}</figcaption></figure>"
            )
    return "".join(figures)


def _answer(label: str, probability: float, decision: str, error: str) -> str:
    if error is not None:
        return f"no answer ({error})"
    return decision if decision == "reject" else f"{label} {probability:.0%}, {decision}"


def _picture(
    reader: SandboxedReader, item: ArchiveInput, pixels_sha256: str, authorization: Path | None
) -> str:
    """The radiograph as it was read, made small.

    Raises:
        OrthoEdgeError: it cannot be read, or is not what it was.
    """
    with closing(read_ahead([item], 1, authorization)) as contents:  # type: ignore[type-var]
        content = next(iter(contents))
    if content.error is not None:
        raise content.error
    pixels = reader(content.data).pixels
    if sha256(pixels.data) != pixels_sha256:
        raise InputError("the file is another one by now")
    scale = min(1.0, _SIDE / max(pixels.shape))
    height, width = (max(1, round(side * scale)) for side in pixels.shape)
    small = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    _, encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    data = base64.b64encode(encoded.tobytes()).decode()
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'
