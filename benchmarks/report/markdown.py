"""report.md: the tables of a report as Markdown."""

from __future__ import annotations

from orthoedge.benchmarks.report.formatting import cautions, headline, how, machine_rows
from orthoedge.benchmarks.report.tables import Table, tables
from orthoedge.benchmarks.schema import Report


def to_markdown(report: Report) -> str:
    """The report for a person who reads text: verdict, machine, tables, how it was measured."""
    blocks = [f"# {report.bundle} {report.bundle_version}", f"**{headline(report)}**"]
    blocks += [_list(cautions(report))] if cautions(report) else []
    for table in tables(report):
        blocks += [f"## {table.title}", _table(table)]
        blocks += [table.note] if table.note else []
    blocks += ["## Machine", _list([f"{name}: {v}" for name, v in machine_rows(report.machine)])]
    # Indented, not fenced: a command may hold backticks.
    blocks += ["## How it was measured", f"    {report.settings.command}", _list(how(report))]
    blocks += [f"Bundle {report.bundle_sha256}, labels {', '.join(report.labels)}."]
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> str:
    lines = [table.head, ("---",) * len(table.head), *table.rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _list(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)
