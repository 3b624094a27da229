"""All routes of the API."""

from __future__ import annotations

from orthoedge.clinic.accounts.accounts import Role
from orthoedge.clinic.history.agreement import Agreement
from orthoedge.clinic.history.records import Opinion
from orthoedge.clinic.server.api import answers, findings, keeping, pixels, session
from orthoedge.clinic.server.api.calls import JSON, Reply, Route
from orthoedge.clinic.server.api.openapi import openapi

__all__ = ["ROUTES"]

_ADMINISTRATOR: tuple[Role, ...] = ("administrator",)
_PHYSICIAN: tuple[Role, ...] = ("physician", "administrator")
_ALL: tuple[Role, ...] = ("operator", "physician", "administrator")
_STREAM = "application/octet-stream"

ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        "/session",
        "showSession",
        "Who is logged in, and what the page needs before it shows anything.",
        (),
        answers.SessionShown,
        session.show_session,
        by_user=False,
    ),
    Route(
        "POST",
        "/session",
        "logIn",
        "Log in.",
        (),
        answers.SessionShown,
        session.log_in,
        body=answers.Login,
    ),
    Route(
        "GET",
        "/texts/{language}",
        "showTexts",
        "The texts of the page in one language, by id; with `direction`.",
        (),
        JSON,
        session.show_texts,
        by_user=False,
    ),
    Route("DELETE", "/session", "logOut", "Log out.", _ALL, answers.Done, session.log_out),
    Route(
        "POST",
        "/findings",
        "addFinding",
        "Answer a file: DICOM, PNG, JPEG, TIFF or BMP.",
        _ALL,
        answers.FindingAdded,
        None,
        status=201,
        query=answers.UploadQuery,
        body=_STREAM,
    ),
    Route(
        "GET",
        "/findings",
        "listFindings",
        "Findings, the last one first.",
        _ALL,
        answers.FindingList,
        findings.list_findings,
        query=answers.ListQuery,
    ),
    Route(
        "GET",
        "/findings/{number}",
        "showFinding",
        "Everything that is known of a finding.",
        _ALL,
        answers.FindingPage,
        findings.show_finding,
        query=answers.FindingQuery,
    ),
    Route(
        "GET",
        "/findings/{number}/course",
        "showCourse",
        "Label, probabilities and extent of a patient's radiographs of the same body part and "
        "side, the first one first.",
        _ALL,
        answers.CourseShown,
        findings.show_course,
    ),
    Route(
        "GET",
        "/findings/{number}/pixels",
        "showPixels",
        "The pixels, uint16 little-endian row by row, bone bright. X-Width, X-Height: of the "
        "radiograph; X-Step: of its pixels for each one here, of both sides; X-Bits: of a sample.",
        _ALL,
        _STREAM,
        pixels.show_pixels,
        query=answers.PixelQuery,
    ),
    Route(
        "GET",
        "/findings/{number}/report.pdf",
        "showReport",
        "The report on a finding, one page.",
        _ALL,
        "application/pdf",
        findings.show_report,
        query=answers.ReportQuery,
    ),
    Route(
        "POST",
        "/findings/{number}/printed",
        "notePrint",
        "Enter that the browser printed a finding.",
        _ALL,
        answers.Done,
        findings.note_print,
        status=201,
    ),
    Route(
        "POST",
        "/findings/{number}/opinion",
        "enterOpinion",
        "Enter a physician's opinion.",
        _PHYSICIAN,
        answers.Done,
        findings.enter_opinion,
        status=201,
        body=Opinion,
    ),
    Route(
        "DELETE",
        "/findings/{number}",
        "deleteFinding",
        "Delete a finding with its pixels and opinions.",
        _ADMINISTRATOR,
        answers.Done,
        findings.delete_finding,
    ),
    Route(
        "GET",
        "/agreement",
        "showAgreement",
        "How far the physicians agree with the tool, with intervals, by week.",
        _PHYSICIAN,
        Agreement,
        keeping.show_agreement,
    ),
    Route(
        "GET",
        "/opinions.csv",
        "exportOpinions",
        "Every opinion with its finding, without name and number of the patient.",
        _PHYSICIAN,
        "text/csv; charset=utf-8",
        keeping.export_opinions,
    ),
    Route(
        "POST",
        "/backup",
        "backUp",
        "Back up into the folder of the settings, or else one next to the history.",
        _ADMINISTRATOR,
        answers.BackupDone,
        keeping.make_backup,
    ),
    Route(
        "GET",
        "/audit",
        "showAudit",
        "Who looked, changed and exported, the last entry first.",
        _ADMINISTRATOR,
        answers.AuditPage,
        keeping.show_audit,
        query=answers.AuditQuery,
    ),
    Route(
        "GET",
        "/openapi.json",
        "showOpenApi",
        "This file.",
        (),
        JSON,
        lambda _state, _call: Reply(openapi(ROUTES)),
        by_user=False,
    ),
    Route(
        "GET",
        "/events",
        "listen",
        "Server-sent events: `finding`, `progress` and `engine`.",
        _ALL,
        "text/event-stream",
        None,
        by_user=False,
    ),
)
