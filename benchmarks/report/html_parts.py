"""The pieces that a benchmark's page is put together from."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from html import escape

import numpy as np

from orthoedge.benchmarks.report.formatting import (
    NONE,
    accuracy_of,
    candidate_of,
    figure,
    own,
    speedup_over_baseline,
)
from orthoedge.benchmarks.report.gallery import GalleryItem
from orthoedge.benchmarks.report.tables import Table
from orthoedge.benchmarks.schema import Report

_FIGURE = re.compile(r"(\S+) \((\S+) to (\S+)\)")
_LONG = 18  # letters from which a cell has a narrow page's whole width
_NARROW = 5  # columns that a narrow page has room for
_CLASSES = {NONE: "none", "holds": "good", "does not hold": "bad", "cannot tell": "warn"}


def section(name: str, title: str, inside: str) -> str:
    """A part of the page that the list of contents links to."""
    return f'<section id="{name}"><h2>{escape(title)}</h2>{inside}</section>'


def card(title: str, caption: str, drawing: str, style: str = "") -> str:
    """A drawing with what it is above it; `tall` is as high as two others."""
    words = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f'<figure class="card {style}"><h3>{escape(title)}</h3>{words}{drawing}</figure>'


def listed(sentences: Sequence[str], style: str) -> str:
    """A list; empty where there is nothing to say."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<ul class="{style}">{items}</ul>' if items else ""


def table(content: Table) -> str:
    """A table, each row of which becomes a block on a narrow page; empty without rows."""
    if not content.rows:
        return ""
    head, rows = content.head, content.rows
    about = [""] * len(rows)
    if head[-1] == "a call":  # a sentence is better read below the name than at the end
        about = [row[-1] for row in rows]
        head, rows = head[:-1], tuple(row[:-1] for row in rows)
    titles = "".join(f'<th scope="col">{escape(one)}</th>' for one in head)
    body = "".join(_row(head, row, words) for row, words in zip(rows, about, strict=True))
    style = ' class="wide"' if len(head) > _NARROW else ""
    note = f'<p class="note">{escape(content.note)}</p>' if content.note else ""
    return (
        f'<div class="card scroll"><table{style}><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{note}"
    )


def confusion(counts: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    """Counts (C, C), shaded by the share of the true label."""
    shares = np.array(counts) / np.maximum(np.sum(counts, axis=1, keepdims=True), 1)
    head = "".join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    rows = ""
    for label, row, shade in zip(labels, counts, shares, strict=True):
        cells = "".join(
            f'<td style="--a:{0.06 + 0.5 * a:.2f}">{n}<small>{a:.0%}</small></td>'
            for n, a in zip(row, shade, strict=True)
        )
        rows += f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>'
    return (
        '<div class="scroll"><table class="confusion">'
        f'<thead><tr><td style="--a:0"></td>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def radiograph(shown: GalleryItem) -> str:
    """A radiograph of the gallery: plain, and under the maps of teacher and student."""
    pictures = [_picture(shown.plain, "radiograph", "", shown.truth)]
    if shown.teacher_map is not None:
        pictures.append(_picture(shown.teacher_map, "ensemble", shown.teacher, shown.truth))
    pictures.append(_picture(shown.student_map, "student", shown.student, shown.truth))
    inside = "".join(pictures)
    return f'<div class="card radiograph"><h3>{escape(shown.truth)}</h3>{inside}</div>'


def tiles(report: Report) -> str:
    """The four figures that most readers come for."""
    target, precision = own(report)
    pipeline = candidate_of(report, f"{target} {precision}")
    if pipeline is None:
        return ""
    times = pipeline.latency
    made = [_tile(f"{figure(times.p50)} ms", f"{pipeline.name}, median; p90 {figure(times.p90)}")]
    if (quicker := speedup_over_baseline(report, pipeline)) is not None:
        ends = f"{figure(quicker.low)} to {figure(quicker.high)}"
        made.append(_tile(f"{figure(quicker.value)} ×", f"as fast as the PyTorch baseline, {ends}"))
    if (worth := accuracy_of(report, pipeline)) is not None:
        f1 = worth.macro_f1
        made.append(_tile(f"{f1.value:.3f}", f"macro-F1, {f1.low:.3f} to {f1.high:.3f}"))
    for one in report.footprint:
        if (one.target, one.precision) == (target, precision):
            made.append(_tile(f"{figure(one.bundle_mb)} MB", "the whole bundle"))
    return f'<div class="tiles">{"".join(made)}</div>'


def _tile(value: str, of: str) -> str:
    return f'<div class="tile"><strong>{escape(value)}</strong><span>{escape(of)}</span></div>'


def _row(head: Sequence[str], row: Sequence[str], about: str) -> str:
    words = f"<small>{escape(about)}</small>" if about else ""
    cells = "".join(_cell(of, text) for of, text in zip(head[1:], row[1:], strict=True))
    return f'<tr><th scope="row">{escape(row[0])}{words}</th>{cells}</tr>'


def _cell(of: str, text: str) -> str:
    found = _FIGURE.fullmatch(text)
    if found:
        style, inside = "", f"{found[1]}<small>{found[2]} – {found[3]}</small>"
    else:
        style, inside = _CLASSES.get(text, "long" if len(text) > _LONG else ""), escape(text)
    return f'<td data-of="{escape(of)}"{style and f" class={style}"}>{inside}</td>'


def _picture(png: bytes, of: str, said: str, truth: str) -> str:
    words = escape(of)
    if said:
        style = "good" if said == truth else "bad"
        verdict = "right" if said == truth else "wrong"
        words += f'<br><span class="{style}">{verdict}: {escape(said)}</span>'
    data = base64.b64encode(png).decode()
    return (
        f'<figure><img alt="{escape(of)}" src="data:image/png;base64,{data}">'
        f"<figcaption>{words}</figcaption></figure>"
    )
