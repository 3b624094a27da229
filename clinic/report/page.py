"""The texts of a report's page, in the order of `report.typ`, which sets them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING

import msgspec

from orthoedge.clinic.report.fonts import printable
from orthoedge.clinic.words import Catalogue, ImageFacts, finding_words
from orthoedge.clinic.words.extent import extent_text
from orthoedge.clinic.words.facts import region_of
from orthoedge.clinic.words.record import FindingRecord
from orthoedge.runtime.finding import Provenance

if TYPE_CHECKING:
    from orthoedge.clinic.report.content import EarlierFinding, ReportContent

__all__ = ["Bar", "Page", "PageRecord", "page_of"]

_LONGEST = 120  # characters of a value from a header
_EARLIER = 10  # lines
_REASONS = 8


class PageRecord(FindingRecord, frozen=True, kw_only=True):
    """What a page shows of the JSON of a finding."""

    provenance: Provenance
    notice: str


class Bar(msgspec.Struct, frozen=True):
    """A probability as a bar."""

    name: str
    text: str
    share: float
    """0 to 1."""
    is_answer: bool


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """All that `report.typ` reads; every text is set as it is and never as markup."""

    language: str
    direction: str
    title: str
    made: str
    decision: str
    """`report`, `refer` or `reject`: the shape before the headline."""
    alert: str
    """`malignant` where an alert label is the most probable, `malignant_possible` where one is left
    open, else empty: a shape of its own."""
    headline: str
    rows: tuple[tuple[str, str], ...]
    """Names and values of patient and study; an empty value is a line to write on."""
    plain_caption: str
    map_caption: str
    words: tuple[str, ...]
    next_title: str
    next: str
    reasons_title: str
    reasons: tuple[str, ...]
    bars_title: str
    bars: tuple[Bar, ...]
    """Empty for a rejected radiograph."""
    earlier_title: str
    earlier_head: tuple[str, ...]
    earlier: tuple[tuple[str, ...], ...]
    earlier_more: str
    physician: str
    signature: str
    small: tuple[str, ...]
    """Provenance and notices, in small letters."""
    notice: str

    def texts(self) -> list[str]:
        """All texts, for the choice of fonts."""
        waiting: list[object] = [msgspec.to_builtins(self)]
        texts = []
        while waiting:
            item = waiting.pop()
            if isinstance(item, str):
                texts.append(item)
            elif isinstance(item, dict):
                waiting += item.values()
            elif isinstance(item, list | tuple):
                waiting += item
        return texts


def page_of(content: ReportContent, texts: Catalogue) -> Page:
    """Put the content of a report into words.

    Raises:
        InputError: `content.finding` is not the JSON of a finding.
    """
    rows, columns = content.pixels.shape
    study = content.study
    facts = ImageFacts(study.body_part, study.laterality, study.view, columns, rows)
    words = finding_words(
        content.finding, facts, texts.language, "operator", alert_labels=content.alert_labels
    )
    record = msgspec.json.decode(content.finding, type=PageRecord)
    is_rejected = record.decision == "reject"
    kept = content.earlier[-_EARLIER:]
    left_out = len(content.earlier) - len(kept)
    has_extent = any(one.extent for one in kept)
    heads = ["report.date", "page.finding.body_part", "report.finding", "report.probability"]
    heads += ["report.decision", *(["report.size"] if has_extent else [])]
    return Page(
        language=texts.language,
        direction=texts.direction,
        title=texts.text("report.title"),
        made=texts.text("report.made", date=texts.date(content.made), time=f"{content.made:%H:%M}"),
        decision=record.decision,
        alert=_alert(record, content.alert_labels),
        headline=words.headline,
        rows=tuple(_rows(content, texts)),
        plain_caption=texts.text("report.plain"),
        map_caption=texts.text("report.no_map" if is_rejected else "report.map"),
        words=tuple(filter(None, (words.seen, words.sure, words.cannot_rule_out, words.where))),
        next_title=texts.text("report.next"),
        next=words.next,
        reasons_title=texts.text("report.reasons"),
        reasons=tuple(printable(reason) for reason in words.reasons[:_REASONS]),
        bars_title=texts.text("report.probabilities"),
        bars=() if is_rejected else tuple(_bars(record, texts)),
        earlier_title=texts.text("report.earlier"),
        earlier_head=tuple(texts.text(head) for head in heads),
        earlier=tuple(_earlier(one, texts, has_extent) for one in kept),
        earlier_more=texts.text("report.earlier_more", n=left_out) if left_out else "",
        physician=texts.text("report.physician"),
        signature=texts.text("report.signature"),
        small=tuple(_small(record, content.image_sha256, kept, texts)),
        notice=words.notice,
    )


def _alert(record: PageRecord, alert_labels: Sequence[str]) -> str:
    if record.decision == "reject":
        return ""
    if record.label in alert_labels:
        return "malignant"
    return "" if set(alert_labels).isdisjoint(record.label_set) else "malignant_possible"


def _rows(content: ReportContent, texts: Catalogue) -> list[tuple[str, str]]:
    patient, study = content.patient, content.study
    if patient is None:
        shown = {"name": "", "date": "", "view": study.view}
        blank = {"name", "date"}
    else:
        sex = texts.text(f"report.sex.{patient.sex}") if patient.sex in ("F", "M", "O") else ""
        shown = {
            "name": patient.name,
            "id": patient.id,
            "birth_date": _date(patient.birth_date, texts),
            "sex": sex,
            "date": " ".join(filter(None, (_date(study.date, texts), study.time))),
            "accession": study.accession,
            "description": study.description,
            "view": study.view,
            "institution": study.institution,
            "file": content.file_name,
        }
        blank = {"name"}
    return [
        (texts.text(f"report.{name}"), texts.isolate(_cut(printable(value))))
        for name, value in shown.items()
        if value or name in blank
    ]


def _bars(record: PageRecord, texts: Catalogue) -> list[Bar]:
    ranked = sorted(record.probabilities.items(), key=lambda item: -item[1])
    return [
        Bar(_label(label, texts), texts.probability(share), share, label == record.label)
        for label, share in ranked
    ]


def _earlier(earlier: EarlierFinding, texts: Catalogue, has_extent: bool) -> tuple[str, ...]:
    is_rejected = earlier.decision == "reject"
    cells = [
        _date(earlier.date, texts) or "–",
        _part(earlier, texts) or "–",
        "–" if is_rejected else _label(earlier.label, texts),
        "–" if is_rejected else texts.probability(earlier.probability),
        texts.text(f"decision.{earlier.decision}"),
    ]
    if has_extent:
        cells.append(texts.isolate(extent_text(earlier.extent, texts)))
    return tuple(cells)


def _part(earlier: EarlierFinding, texts: Catalogue) -> str:
    """Body part and side; a part that the catalogue does not know as the header writes it."""
    region, side = region_of(earlier.body_part), earlier.laterality
    part = texts.text(f"region.{region}") if region else _cut(printable(earlier.body_part))
    sides = texts.text(f"side.{side}") if f"side.{side}" in texts.ids else ""
    return texts.list(tuple(texts.isolate(name) for name in (part, sides) if name))


def _small(
    record: PageRecord, image_sha256: str, earlier: Sequence[EarlierFinding], texts: Catalogue
) -> list[str]:
    source = record.provenance
    lines = [
        texts.text(
            "report.provenance",
            bundle=printable(source.bundle),
            version=printable(source.bundle_version),
            engine=printable(f"{source.engine} {source.engine_version}"),
            precision=source.precision,
            hash=source.bundle_sha256,
        ),
        texts.text("report.bundle_notice", notice=_cut(printable(record.notice), 3 * _LONGEST)),
    ]
    if image_sha256:
        lines.insert(0, f"{texts.text('report.file')}: {texts.isolate(f'SHA-256 {image_sha256}')}")
    kinds = {one.extent.kind for one in earlier if one.extent}
    if "map" in kinds:
        lines.insert(0, texts.text("page.compare.extent_map_note"))
    if "outline" in kinds:
        lines.insert(0, texts.text("page.compare.extent_size_note"))
    return lines if texts.is_reviewed else [*lines, texts.text("page.not_reviewed")]


def _label(label: str, texts: Catalogue) -> str:
    name = f"label.{label}"
    return texts.text(name) if name in texts.ids else _cut(printable(label))


def _date(day: str, texts: Catalogue) -> str:
    try:
        return texts.date(date.fromisoformat(day))
    except ValueError:
        return ""


def _cut(text: str, longest: int = _LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"
