"""How far the physicians agree with the tool: on a clinic's own cases, with intervals, by week.

Only findings with an opinion count, each by its last one. Where physicians enter opinions on
doubtful cases alone, the figures are those of doubtful cases (verification bias). Intervals are
Wilson's for one proportion (Wilson, JASA 1927), at 95 %.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from orthoedge.clinic.history.database import Value
from orthoedge.clinic.history.history import History

__all__ = ["Agreement", "LabelAgreement", "Share", "Week", "agreement", "wilson"]

_Z = 1.959963984540054  # of the normal distribution at 97.5 %
_LONGEST = 520  # weeks


class Share(msgspec.Struct, frozen=True):
    """A proportion with its interval."""

    count: int
    of: int
    share: float | None
    """None of none."""
    low: float | None
    """Lower end of the 95 % interval."""
    high: float | None


class LabelAgreement(msgspec.Struct, frozen=True):
    """One label against all others, with the physician as the reference."""

    label: str
    sensitivity: Share
    """Of the cases that the physician calls so, those that the tool calls so."""
    specificity: Share
    """Of the others, those that the tool does not call so."""


class Week(msgspec.Struct, frozen=True):
    """The findings of one week, with and without an opinion."""

    monday: str
    """`YYYY-MM-DD`; by the day of entry."""
    findings: int
    failures: int
    referred: Share
    rejected: Share
    labels: dict[str, int]
    """Answers by label."""
    out_of_distribution: float | None
    """Mean score; 0 = the median of calibration images, 1 = the threshold."""
    agreement: Share


class Agreement(msgspec.Struct, frozen=True):
    """How far the physicians agree with the tool."""

    agreement: Share
    """Of the findings with an opinion, those that it agrees with."""
    without_reference: int
    """Findings with an opinion that says no more than that it does not agree."""
    labels: tuple[LabelAgreement, ...]
    alert: LabelAgreement
    """Whether an alert label was not ruled out, against whether the physician calls it so."""
    weeks: tuple[Week, ...]
    """The first one first."""


def wilson(count: int, of: int) -> Share:
    """A proportion with its 95 % interval."""
    if not of:
        return Share(count, of, None, None, None)
    share, square = count / of, _Z * _Z
    centre = (share + square / (2 * of)) / (1 + square / of)
    half = _Z * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    # Rounding must not leave the share outside its own interval.
    return Share(
        count, of, share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share))
    )


class _Case(msgspec.Struct, frozen=True):
    """A finding with an opinion."""

    label: str
    """The tool's; empty for `reject`."""
    alert: bool
    agrees: bool
    truth: str
    """The physician's label; empty if not stated."""


def agreement(history: History, labels: Sequence[str], alert_labels: Sequence[str]) -> Agreement:
    """Compute the agreement over the whole history.

    Args:
        history: findings and opinions.
        labels: of the bundle.
        alert_labels: likewise.

    Raises:
        OSError, DataError: the database cannot be read.
    """
    rows = history.database.read(
        "SELECT findings.label, alert, last.agrees, last.label FROM findings JOIN (SELECT finding, "
        "agrees, label, max(number) FROM opinions GROUP BY finding) AS last "
        "ON last.finding = findings.number"
    )
    cases = [
        _Case(str(label), bool(alert), bool(agrees), str(truth) or (str(label) if agrees else ""))
        for label, alert, agrees, truth in rows
    ]
    known = [case for case in cases if case.truth and case.label]
    alerts = set(alert_labels)
    return Agreement(
        wilson(sum(case.agrees for case in cases), len(cases)),
        sum(not case.agrees and not case.truth for case in cases),
        tuple(
            _against(label, [(case.label == label, case.truth == label) for case in known])
            for label in labels
        ),
        _against(", ".join(alert_labels), [(case.alert, case.truth in alerts) for case in known]),
        _weeks(history),
    )


def _against(label: str, pairs: Iterable[tuple[bool, bool]]) -> LabelAgreement:
    """Sensitivity and specificity of (said by the tool, true) pairs."""
    counts = Counter(pairs)
    hits, misses = counts[True, True], counts[False, True]
    rejections, false_alarms = counts[False, False], counts[True, False]
    return LabelAgreement(
        label, wilson(hits, hits + misses), wilson(rejections, rejections + false_alarms)
    )


def _weeks(history: History) -> tuple[Week, ...]:
    """Counted by the database: the rows of years have no place in the server's memory."""
    weeks: dict[str, list[tuple[Value, ...]]] = defaultdict(list)
    for row in history.database.read(
        # `weekday 0` is the Sunday that follows, or the day itself.
        "SELECT strftime('%Y-%m-%d', findings.time, 'unixepoch', 'localtime', 'weekday 0', "
        "'-6 days') AS monday, decision, findings.label, last.agrees, count(*), "
        "total(out_of_distribution) FROM findings LEFT JOIN (SELECT finding, agrees, max(number) "
        "FROM opinions GROUP BY finding) AS last ON last.finding = findings.number "
        "GROUP BY monday, decision, findings.label, last.agrees"
    ):
        weeks[str(row[0])].append(row)
    return tuple(_week(monday, weeks[monday]) for monday in sorted(weeks)[-_LONGEST:])


def _week(monday: str, rows: Sequence[tuple[Value, ...]]) -> Week:
    decisions, labels, opinions = Counter[str](), Counter[str](), Counter[int]()
    score = 0.0
    for _, decision, label, agrees, count, scores in rows:
        number = int(str(count))
        decisions[str(decision)] += number
        score += float(str(scores))
        if label:
            labels[str(label)] += number
        if agrees is not None:
            opinions[int(str(agrees))] += number
    failures = decisions.pop("", 0)
    answered = decisions.total()
    return Week(
        monday,
        answered,
        failures,
        wilson(decisions["refer"], answered),
        wilson(decisions["reject"], answered),
        dict(sorted(labels.items())),
        score / answered if answered else None,
        wilson(opinions[1], opinions.total()),
    )
