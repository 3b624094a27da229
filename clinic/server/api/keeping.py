"""What a clinic measures and keeps: agreement, export, backup, the audit trail, retention."""

from __future__ import annotations

import time

from orthoedge.clinic.history.agreement import agreement
from orthoedge.clinic.history.backup import back_up
from orthoedge.clinic.history.export import opinions_csv
from orthoedge.clinic.server.api.answers import AuditPage, AuditQuery, BackupDone
from orthoedge.clinic.server.api.calls import Call, Reply, json_reply
from orthoedge.clinic.server.state import ServerState
from orthoedge.runtime.settings import plain

__all__ = ["delete_old", "export_opinions", "make_backup", "show_agreement", "show_audit"]

_MOST = 1000
_DAY_S = 86400.0


def show_agreement(state: ServerState, call: Call) -> Reply:
    """How far the physicians agree with the tool."""
    bundle = state.bundle
    return json_reply(agreement(state.history, bundle.labels, bundle.alert_labels))


def export_opinions(state: ServerState, call: Call) -> Reply:
    """The opinions as a table."""
    state.history.note(call.caller.user, "exported", detail="opinions")
    headers = {"Content-Disposition": 'attachment; filename="opinions.csv"'}
    return Reply(opinions_csv(state.history).encode(), "text/csv; charset=utf-8", headers=headers)


def make_backup(state: ServerState, call: Call) -> Reply:
    """Back up into the folder of the settings."""
    target = state.settings.backup_folder
    copied = back_up(state.history, target)
    state.history.note(call.caller.user, "backed up", detail=f"{copied.findings} findings")
    return json_reply(BackupDone(str(target)))


def show_audit(state: ServerState, call: Call) -> Reply:
    """Entries of the audit trail."""
    query = call.query(AuditQuery)
    limit = min(max(query.limit, 1), _MOST)
    return json_reply(AuditPage(state.history.audit(max(query.before, 0), limit)))


def delete_old(state: ServerState) -> int:
    """Delete what is older than the settings allow, and return how many findings there were."""
    days = state.settings.retention.days
    if not days:
        return 0
    old = state.history.numbers_before(time.time() - days * _DAY_S)
    return state.history.delete(old, "", f"older than {plain(days)} days")
