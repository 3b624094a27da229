"""The report of a compression: report.json, report.md and two plots."""

from __future__ import annotations

from pathlib import Path

from orthoedge.compression.report.markdown import FRONT, TRACE, markdown
from orthoedge.compression.report.plots import write_pareto_front, write_trace
from orthoedge.compression.report.schema import CompressionReport
from orthoedge.runtime.atomic_files import together, write_atomic
from orthoedge.training.run_folder import write_record

JSON, MARKDOWN = "report.json", "report.md"


def write_report(folder: Path, report: CompressionReport) -> None:
    """Write the plots that have data, then report.md and, last, report.json.

    `folder` is created if it does not exist; a full disk leaves it unchanged.
    """
    plots = ((FRONT, write_pareto_front, report.candidates), (TRACE, write_trace, report.trace))
    with together(folder, JSON) as new:
        for name, write, rows in plots:
            if rows:
                write(new / name, report)
        write_atomic(new / MARKDOWN, markdown(report).encode())
        write_record(new / JSON, report)
    for name, _, rows in plots:
        if not rows:
            (folder / name).unlink(missing_ok=True)
