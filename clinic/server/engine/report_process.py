"""Making a report in a process of its own, which gives its memory back when it ends."""

from __future__ import annotations

import base64
import sys
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path

import msgspec

from orthoedge.clinic.history.pixels import PixelFiles
from orthoedge.clinic.history.records import PatientFacts, Picture, StudyFacts
from orthoedge.runtime.subprocesses import run_worker, serve_result

__all__ = ["ReportOrder", "can_report", "order_report"]

_MODULE = "orthoedge.clinic.server.engine.report_process"
_LONGEST_S = 60.0


class ReportOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What a report is made from."""

    finding: bytes
    picture: Picture
    pixels: str
    """Folder of the pixels."""
    made: float
    """Seconds since 1970, which the report states as its date."""
    study: StudyFacts
    patient: PatientFacts | None
    file_name: str
    image_sha256: str
    earlier: tuple[tuple[bytes, StudyFacts], ...]
    """As of `History.earlier`."""
    alert_labels: tuple[str, ...]
    language: str
    paper: str


def can_report() -> bool:
    """Whether typst, which sets the page of a report, is installed."""
    return find_spec("typst") is not None


def order_report(order: ReportOrder) -> bytes:
    """Make the report; the PDF.

    Raises:
        EngineError: it cannot be made; the message says why.
        MissingDependency: typst is not installed.
    """
    data = msgspec.msgpack.encode(order)
    return base64.b64decode(run_worker(_MODULE, [], "the report", _LONGEST_S, data))


def _make() -> bytes:
    import numpy as np

    from orthoedge.clinic.report import EarlierFinding, ReportContent, make_report
    from orthoedge.runtime.image_io.windowing import to_eight_bits

    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=ReportOrder)
    picture = order.picture
    samples = np.frombuffer(PixelFiles(Path(order.pixels)).read(picture.sha256), "<u2")
    black = picture.window_center - picture.window_width / 2
    content = ReportContent(
        finding=order.finding,
        pixels=to_eight_bits(
            samples.reshape(picture.height, picture.width), black, black + picture.window_width
        ),
        made=datetime.fromtimestamp(order.made, timezone.utc).astimezone(),
        study=order.study,
        patient=order.patient,
        file_name=order.file_name,
        image_sha256=order.image_sha256,
        earlier=tuple(EarlierFinding.from_finding(*one) for one in order.earlier),
        alert_labels=order.alert_labels,
    )
    return base64.b64encode(make_report(content, order.language, order.paper))  # type: ignore[arg-type]


if __name__ == "__main__":
    serve_result(_make)
