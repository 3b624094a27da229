"""The port at which the metrics can be read: HTTP on the loopback address, for one at a time."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from orthoedge.clinic.operations.metrics import metrics_text
from orthoedge.clinic.operations.ports import why_not_listening
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.errors import DataError

__all__ = ["serve_metrics"]

_PATIENCE_S = 5.0  # with a client that says nothing


def serve_metrics(settings: NodeSettings) -> HTTPServer:
    """Answer `GET /metrics` from a thread until `shutdown()` of the result is called.

    Raises:
        OSError: the port is taken; `filename` names it.
    """

    class Handler(BaseHTTPRequestHandler):
        timeout = _PATIENCE_S

        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            try:
                text = _text(settings)
            except (DataError, OSError) as error:
                self.send_error(503, explain=str(error))
                return
            content = text.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Write no line for each scrape."""

    port = settings.operations.metrics_port
    try:
        server = HTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        remedy = "change metrics_port in [operations] of the settings"
        reason = why_not_listening(error, port, remedy)
        raise OSError(error.errno, reason, f"port {port} of the metrics") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _text(settings: NodeSettings) -> str:
    spool = Spool(settings.folder, settings.queue)
    try:
        return metrics_text(settings, spool)
    finally:
        spool.close()
