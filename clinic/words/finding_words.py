"""A finding in words: templates of the catalogue, chosen by what the finding says.

No text is generated. tests/clinic/words/test_finding_words.py tries every combination of decision,
label, label set and reason in every language. For a patient the words leave out what only a
physician should say: a suspected malignant tumor is a change that a doctor must look at soon.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from orthoedge.clinic.words.catalogue import Catalogue, catalogue
from orthoedge.clinic.words.facts import ImageFacts, region_of
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:  # they need numpy and OpenCV, which a server that shows texts alone does not load
    from orthoedge.clinic.words.record import FindingRecord

__all__ = ["ALERT_LABELS", "FindingWords", "Reader", "decode_finding", "finding_words"]

Reader = Literal["operator", "patient"]

ALERT_LABELS = ("tumor-malignant",)
"""Labels for which a physician must look at the radiograph soon, of the bundles in the package."""

_NORMAL = "non-affected"
_SURE, _FAIRLY_SURE = 0.9, 0.7  # calibrated probability of the label
_SHARES = ("share",)
_ACTIONS = {
    "nearly_blank": "repeat",
    "burnt_out": "repeat",
    "too_dark": "repeat",
    "too_bright": "repeat",
    "low_contrast": "repeat",
    "inverted": "invert",
    "too_few_pixels": "resend",
    "strip": "resend",
}


@dataclass(frozen=True)
class FindingWords:
    """A finding in words. A text is empty where there is nothing to say."""

    headline: str
    """Without a full stop."""
    seen: str
    sure: str
    """Empty for a rejected radiograph."""
    where: str
    """Body part and side of the header, and for an operator where the program looked."""
    next: str
    """What to do next."""
    reasons: tuple[str, ...]
    """Why the program does not answer alone."""
    cannot_rule_out: str
    """Empty where no other label is left."""
    notice: str


def finding_words(
    finding: bytes | Mapping[str, Any],
    facts: ImageFacts,
    language: str,
    reader: Reader,
    *,
    alert_labels: Sequence[str] = ALERT_LABELS,
) -> FindingWords:
    """Put a finding into words.

    Args:
        finding: the JSON of `Finding.to_json` or of `predict --json`, or what it decodes to.
        facts: what the header of the radiograph says.
        language: one of `LANGUAGES`.
        reader: who reads the words: the one who took the radiograph, or the patient.
        alert_labels: labels for which a physician must look at the radiograph soon.

    Raises:
        InputError: not the JSON of a finding.
        ConfigError: no such language.
    """
    record = decode_finding(finding)
    return _Words(record, catalogue(language), reader, alert_labels).of(facts)


def decode_finding(finding: bytes | Mapping[str, Any]) -> FindingRecord:
    """Decode what words are made from.

    Raises:
        InputError: not the JSON of a finding.
    """
    from orthoedge.clinic.words.record import FindingRecord

    try:
        if isinstance(finding, bytes):
            return msgspec.json.decode(finding, type=FindingRecord)
        return msgspec.convert(finding, FindingRecord)
    except msgspec.DecodeError as error:  # of which ValidationError is one
        raise InputError(f"this is not the JSON of a finding: {error}") from error


class _Words:
    """Words of one finding for one reader."""

    def __init__(
        self,
        record: FindingRecord,
        texts: Catalogue,
        reader: Reader,
        alert_labels: Sequence[str],
    ) -> None:
        self._record = record
        self._texts = texts
        self._reader = reader
        self._label, self._decision = record.label, record.decision
        self._others = record.label_set[1:]
        self._alerts = [label for label in (self._label, *self._others) if label in alert_labels]

    def of(self, facts: ImageFacts) -> FindingWords:
        is_rejected = self._decision == "reject"
        return FindingWords(
            headline=self._headline(),
            seen=self._labelled(f"seen.{self._reader}", "reject" if is_rejected else self._label),
            sure="" if is_rejected else self._sure(),
            where=self._where(facts),
            next=self._texts.text(f"next.{self._reader}.{self._next()}"),
            reasons=self._reasons(),
            cannot_rule_out="" if is_rejected else self._cannot_rule_out(),
            notice=self._texts.text(f"notice.{self._reader}"),
        )

    def _headline(self) -> str:
        if self._decision == "reject":
            kind = "reject" if self._reader == "operator" else "patient.reject"
            return self._texts.text(f"headline.{kind}")
        if self._reader == "patient":
            return self._texts.text(f"headline.patient.{self._urgency()}")
        if self._alerts and self._alerts[0] != self._label:
            return self._texts.text("headline.alert", label=self._name(self._alerts[0]))
        return self._labelled(f"headline.{self._decision}", self._label)

    def _urgency(self) -> str:
        return "alert" if self._alerts else self._decision

    def _next(self) -> str:
        if self._decision == "reject":
            return "reject" if self._reader == "patient" else self._remedy()
        if self._urgency() == "report" and self._label == _NORMAL:
            return "report_clear"
        return self._urgency()

    def _remedy(self) -> str:
        """What makes a rejected radiograph usable: the remedy of the first reason that has one."""
        names = [reason.id for reason in self._record.reason_ids]
        return next((_ACTIONS[name] for name in names if name in _ACTIONS), "unlike")

    def _sure(self) -> str:
        probability = self._record.probabilities[self._label]
        level = (
            "high" if probability >= _SURE else "medium" if probability >= _FAIRLY_SURE else "low"
        )
        right = min(max(round(probability * 100), 1), 99)
        return self._texts.text(
            f"sure.{self._reader}.{level}",
            probability=self._texts.probability(probability),
            right=right,
            wrong=100 - right,
        )

    def _where(self, facts: ImageFacts) -> str:
        region = region_of(facts.body_part)
        side = facts.laterality if facts.laterality in ("R", "L", "B") else ""
        named = {"region": region, "side": side}
        known = {key: self._texts.text(f"{key}.{end}") for key, end in named.items() if end}
        sentences = []
        if known:
            sentences.append(self._texts.text(f"where.{'_'.join(known)}", **known))
        if self._reader == "operator" and self._decision != "reject" and self._label != _NORMAL:
            from orthoedge.clinic.words.looked import looked_at

            place = looked_at(self._record, facts.columns, facts.rows)
            sentences.append(self._texts.text(f"where.looked.{place}"))
            if place != "nowhere":
                sentences.append(self._texts.text("where.no_outline"))
                sentences.append(self._enclosed())
        sentences.append(self._measured())
        return self._texts.sentences(sentences)

    def _enclosed(self) -> str:
        """How much the line of the map encloses, where no lesion is outlined."""
        from orthoedge.clinic.words.extent import extent_of, share_text

        extent = extent_of(self._record)
        if extent is None or extent.kind != "map":
            return ""
        return self._texts.text("where.extent", share=share_text(extent.share, self._texts))

    def _measured(self) -> str:
        region = self._record.largest_measured
        if region is None or self._reader == "patient" or self._decision == "reject":
            return ""
        plane = region.plane or "unknown"
        size = self._texts.millimetres(region.diameter_mm or 0)
        return self._texts.text(f"where.measured.{plane}", size=size)

    def _reasons(self) -> tuple[str, ...]:
        sentences = list(self._record.reasons)
        for place, reason in enumerate(self._record.reason_ids[: len(sentences)]):
            name = f"reason.{self._reader}.{reason.id}"
            if name in self._texts.ids:
                values = {key: self._value(key, value) for key, value in reason.values.items()}
                sentences[place] = self._texts.text(name, **values)
        return tuple(sentences)

    def _value(self, key: str, value: str | float) -> str | int:
        if isinstance(value, str):
            return self._name(value)
        return self._texts.percent(value) if key in _SHARES else round(value)

    def _cannot_rule_out(self) -> str:
        if not self._others:
            return ""
        labels = self._texts.list(tuple(self._name(label) for label in self._others))
        return self._texts.text(f"others.{self._reader}", labels=labels)

    def _name(self, label: str) -> str:
        """Name of a label; of one that the catalogue does not have, the label itself."""
        name = f"label.patient.{label}" if self._reader == "patient" else f"label.{label}"
        return self._texts.text(name) if name in self._texts.ids else label

    def _labelled(self, group: str, label: str) -> str:
        """Text of a group for a label; for one that the catalogue does not have, its `other`."""
        if f"{group}.{label}" in self._texts.ids:
            return self._texts.text(f"{group}.{label}")
        return self._texts.text(f"{group}.other", label=label)
