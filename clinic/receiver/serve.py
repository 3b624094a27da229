"""The receiver's process: listens until it is asked to end."""

from __future__ import annotations

import logging
import tempfile
import threading
import time
from typing import Any

from orthoedge.clinic.log import Log
from orthoedge.clinic.operations.ports import why_not_listening
from orthoedge.clinic.receiver.server import make_server
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.spool.outbox import apply_reports
from orthoedge.clinic.spool.records import Report
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.errors import MissingDependency

__all__ = ["receive", "start"]

_LAST_S = 10.0  # for transfers that are under way when the receiver ends
_UNTOUCHED_S = 600.0  # a file in incoming/ that no association writes to any more
_POLL_S = 0.2


def receive(settings: NodeSettings, log: Log, stop: threading.Event) -> None:
    """Receive objects until `stop` is set; transfers that are under way then get ten seconds.

    Raises:
        ConfigError: the TLS files or a class cannot be used.
        DataError: the index is damaged, or of another version.
        MissingDependency: pynetdicom is not installed.
        OSError: the port is taken, or the spool cannot be used.
    """
    spool = Spool(settings.folder, settings.queue)
    entered = spool.recover()
    if entered:
        log("images entered that a kill had left without an entry", count=entered)
    server = start(settings, spool, log)
    log("listening", host=settings.receiver.host, port=server.server_address[1])
    while not stop.wait(60):
        _remove_untouched(spool)
    server.shutdown()
    deadline = time.monotonic() + _LAST_S
    while time.monotonic() < deadline and any(
        association.dimse.message is not None for association in server.ae.active_associations
    ):
        time.sleep(_POLL_S)
    server.close_connections()
    spool.close()
    log("ended")


def start(settings: NodeSettings, spool: Spool, log: Log) -> Any:
    """Listen in a thread of this process.

    Returns:
        A server of pynetdicom; `shutdown()` ends its listening, `close_connections()` what is left.

    Raises:
        ConfigError, MissingDependency, OSError: as `receive`.
    """
    try:
        from pynetdicom import _config
    except ModuleNotFoundError as error:
        raise MissingDependency("pynetdicom", "clinic", "receiving DICOM objects") from error
    from orthoedge.clinic.sending import commitment_handler

    _config.LOG_HANDLER_LEVEL = "none"
    _config.STORE_RECV_CHUNKED_DATASET = True
    # Any peer can make pynetdicom write a traceback; what matters is logged here.
    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL + 1)
    tempfile.tempdir = str(spool.incoming)  # of the same file system as images/, for a hard link

    def on_report(transaction: str, committed: list[str], failed: list[tuple[str, str]]) -> None:
        reports = [Report(transaction, uid, "") for uid in committed]
        reports += [Report(transaction, uid, reason) for uid, reason in failed]
        applied = apply_reports(spool, reports, settings.sending)
        log(
            "storage commitment reported",
            committed=sum(not report.failure for report in applied),
            failed=sum(bool(report.failure) for report in applied),
            unknown=len(reports) - len(applied),
        )

    handler: Any = commitment_handler(on_report, log)
    try:
        server = make_server(settings, spool, log, handler)
    except OSError as error:
        host, port = settings.receiver.host, settings.receiver.port
        reason = why_not_listening(error, port, "change port in [receiver] of the settings")
        raise OSError(error.errno, reason, f"{host}, port {port}") from error
    threading.Thread(target=server.serve_forever, args=(_POLL_S,), daemon=True).start()
    return server


def _remove_untouched(spool: Spool) -> None:
    """Remove what associations have left that ended in a way no handler heard of."""
    oldest = time.time() - _UNTOUCHED_S
    for file in spool.incoming.iterdir():
        try:
            if file.stat().st_mtime < oldest:
                file.unlink()
        except FileNotFoundError:  # its association has just removed it
            continue
