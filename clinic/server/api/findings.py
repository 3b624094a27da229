"""Findings: list, one with everything, opinions, deletion."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

import msgspec

from orthoedge.clinic.history import FindingSummary, Opinion, SearchQuery, StoredFinding
from orthoedge.clinic.history.header import plain_text
from orthoedge.clinic.server.api.answers import (
    CountQuery,
    CourseEntry,
    CourseShown,
    Done,
    FindingAdded,
    FindingList,
    FindingPage,
    FindingQuery,
    ListQuery,
    ReportQuery,
    WindowShown,
)
from orthoedge.clinic.server.api.calls import Call, Reply, json_reply
from orthoedge.clinic.server.api.errors import ApiError
from orthoedge.clinic.server.engine.messages import MeasureExtents, PutInWords
from orthoedge.clinic.server.engine.report_process import ReportOrder, order_report
from orthoedge.clinic.server.state import ServerState
from orthoedge.clinic.words import LANGUAGES
from orthoedge.clinic.words.facts import Extent
from orthoedge.runtime.errors import EngineError, MissingDependency

__all__ = [
    "added",
    "count_findings",
    "delete_finding",
    "enter_opinion",
    "list_findings",
    "note_print",
    "show_course",
    "show_finding",
    "show_report",
    "stored_finding",
]

_MOST = 500
_LONGEST_NOTE = 4000
_COURSE = 24  # radiographs


class _Probabilities(msgspec.Struct):
    """Of the JSON of a finding."""

    probabilities: dict[str, float]


def list_findings(state: ServerState, call: Call) -> Reply:
    """A page of the list."""
    query = call.query(ListQuery)
    for day in filter(None, (query.first_day, query.last_day)):
        _check_day(day)
    limit = min(max(query.limit, 1), _MOST)
    found = state.history.search(
        SearchQuery(
            text=query.text,
            first_day=query.first_day,
            last_day=query.last_day,
            region=query.region,
            decision=query.decision,
            before=max(query.before, 0),
            limit=limit + 1,
        )
    )
    return json_reply(FindingList(found[:limit], more=len(found) > limit))


def count_findings(state: ServerState, call: Call) -> Reply:
    """How many findings were entered since a time, and how many of them are urgent."""
    return json_reply(state.history.count_since(call.query(CountQuery).since))


def show_finding(state: ServerState, call: Call) -> Reply:
    """Everything that is known of a finding; the audit trail keeps who looked."""
    language = call.query(FindingQuery).language
    _check_language(language)
    stored = stored_finding(state, call)
    state.history.note_look(call.caller.user, stored.summary.number)
    picture = stored.picture
    return json_reply(
        FindingPage(
            **msgspec.structs.asdict(stored.summary),
            finding=_record(stored) if stored.finding else None,
            words=_words(state, stored, language),
            patient=stored.patient,
            study=stored.study,
            spacing_mm=stored.spacing_mm,
            spacing_plane=stored.spacing_plane,
            width=picture.width if picture else 0,
            height=picture.height if picture else 0,
            bits=picture.bits if picture else 0,
            window=WindowShown(picture.window_center, picture.window_width) if picture else None,
            earlier=state.history.of_patient(stored.patient),
            extent=_extents(state, [stored.finding])[0] if stored.finding else None,
            opinions=stored.opinions,
        )
    )


def show_course(state: ServerState, call: Call) -> Reply:
    """Label, probabilities and extent of a patient's radiographs of the same body part and side.

    The audit trail keeps that the user looked at the finding by which they were asked for.

    Raises:
        ApiError: no such finding.
    """
    stored = stored_finding(state, call)
    state.history.note_look(call.caller.user, stored.summary.number)
    study = stored.study
    same = [
        one
        for one in state.history.of_patient(stored.patient)
        if (one.body_part, one.laterality) == (study.body_part, study.laterality) and one.label
    ]
    known = [found for one in same[-_COURSE:] if (found := state.history.get(one.number))]
    extents = _extents(state, [found.finding for found in known])
    entries = (_course_entry(*pair) for pair in zip(known, extents, strict=True))
    return json_reply(CourseShown(tuple(entries)))


def _course_entry(stored: StoredFinding, extent: Extent | None) -> CourseEntry:
    summary = stored.summary
    return CourseEntry(
        summary.number,
        summary.time,
        summary.study_date,
        summary.label,
        summary.decision,
        summary.alert,
        summary.probability,
        msgspec.json.decode(stored.finding, type=_Probabilities).probabilities,
        extent,
    )


def show_report(state: ServerState, call: Call) -> Reply:
    """The report on a finding, as PDF.

    Raises:
        ApiError: there is nothing to report on, or the report cannot be made.
    """
    query = call.query(ReportQuery)
    _check_language(query.language)
    stored = stored_finding(state, call)
    if stored.picture is None:
        raise ApiError("error.not_found")
    earlier = (
        state.history.earlier(
            stored.patient, stored.study, stored.image_sha256, stored.summary.time
        )
        if query.patient
        else ()
    )
    order = ReportOrder(
        finding=stored.finding,
        picture=stored.picture,
        pixels=str(state.history.pixels.folder),
        made=time.time(),
        study=stored.study,
        patient=stored.patient if query.patient else None,
        file_name=stored.summary.file_name,
        image_sha256=stored.image_sha256,
        earlier=earlier,
        alert_labels=state.bundle.alert_labels,
        language=query.language,
        paper=query.paper,
    )
    try:
        content = order_report(order)
    except (EngineError, MissingDependency) as error:
        raise ApiError("error.no_report", str(error)) from error
    state.history.note(call.caller.user, "exported", stored.summary.number, "report")
    name = f"finding-{stored.summary.number}.pdf"
    headers = {"Content-Disposition": f'inline; filename="{name}"'}
    return Reply(content, "application/pdf", headers=headers)


def note_print(state: ServerState, call: Call) -> Reply:
    """Enter into the audit trail that the browser printed a finding.

    Raises:
        ApiError: no such finding.
    """
    number = stored_finding(state, call).summary.number
    state.history.note(call.caller.user, "printed", number)
    return json_reply(Done(), 201)


def enter_opinion(state: ServerState, call: Call) -> Reply:
    """Enter a physician's opinion; it is added to those before.

    Raises:
        ApiError: no such finding, nothing to have an opinion on, or an unknown label.
    """
    opinion = call.body(Opinion)
    stored = stored_finding(state, call)
    if not stored.finding:
        raise ApiError("error.bad_request", "a file that could not be read has no finding")
    if opinion.label and opinion.label not in state.bundle.labels:
        raise ApiError("error.bad_request", f"unknown label {opinion.label[:64]!r}")
    note = "\n".join(plain_text(line) for line in opinion.note[:_LONGEST_NOTE].splitlines())
    entered = Opinion(opinion.agrees, opinion.label, note)
    state.history.verdict(stored.summary.number, entered, call.caller.user)
    return json_reply(Done(), 201)


def delete_finding(state: ServerState, call: Call) -> Reply:
    """Delete a finding with its pixels and opinions.

    Raises:
        ApiError: no such finding.
    """
    if not state.history.delete([call.number], call.caller.user, "by hand"):
        raise ApiError("error.not_found")
    return json_reply(Done())


def stored_finding(state: ServerState, call: Call) -> StoredFinding:
    """The finding whose number is in the path.

    Raises:
        ApiError: there is none.
    """
    stored = state.history.get(call.number)
    if stored is None:
        raise ApiError("error.not_found")
    return stored


def added(state: ServerState, number: int) -> Reply:
    """The reply to a file that was answered."""
    stored = state.history.get(number)
    assert stored is not None
    summary: FindingSummary = stored.summary
    return json_reply(FindingAdded(**msgspec.structs.asdict(summary), finding=_record(stored)), 201)


def _record(stored: StoredFinding) -> msgspec.Raw:
    """The finding as `orthoedge predict --json` prints it."""
    head = {"path": stored.summary.file_name, "error": None}
    fields: dict[str, msgspec.Raw] = msgspec.json.decode(
        stored.finding, type=dict[str, msgspec.Raw]
    )
    return msgspec.Raw(
        msgspec.json.encode({**head, **fields, "overlay": None, "side_by_side": None})
    )


def _words(state: ServerState, stored: StoredFinding, language: str) -> msgspec.Raw | None:
    picture = stored.picture
    if not stored.finding or picture is None:
        return None
    request = PutInWords(
        stored.finding,
        stored.study,
        picture.width,
        picture.height,
        language,
        state.bundle.alert_labels,
    )
    try:
        return msgspec.Raw(state.engine.make(request))
    except EngineError as error:  # the finding itself can be shown
        state.log("no words", reason=str(error))
        return None


def _extents(state: ServerState, findings: Sequence[bytes]) -> list[Extent | None]:
    """How far each finding reaches; None for all where the engine cannot run."""
    try:
        measured = state.engine.make(MeasureExtents(tuple(findings)))
    except EngineError as error:  # the rest can be shown
        state.log("no extents", reason=str(error))
        return [None] * len(findings)
    return msgspec.json.decode(measured, type=list[Extent | None])


def _check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise ApiError("error.bad_request", f"unknown language {language[:20]!r}")


def _check_day(day: str) -> None:
    try:
        datetime.date.fromisoformat(day)
    except ValueError as error:
        raise ApiError("error.bad_request", f"{day[:20]!r} is no day: YYYY-MM-DD") from error
