"""The parts of a page: tables, bars and numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from orthoedge.clinic.history.agreement import wilson
from orthoedge.runtime.settings import plain

__all__ = ["PAGE", "bars", "share_with_interval", "table"]

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --paper: #f7f8f7; --card: #fff; --ink: #1b2427;
  --muted: #59666b; --rule: #dce2e1; --accent: #0b6e8a; }}
@media (prefers-color-scheme: dark) {{ :root {{ --paper: #12171a; --card: #1a2125;
  --ink: #e4eaeb; --muted: #9dabb0; --rule: #313c41; --accent: #6cc4dc; }} }}
body {{ margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }}
main {{ max-width: 1100px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }}
h1 {{ font-size: 1.5rem; }} h2 {{ font-size: 1.25rem; margin: 2.5rem 0 .5rem; }}
h3 {{ font-size: 1rem; margin: 1.5rem 0 .4rem; }}
p {{ max-width: 46rem; margin: .5rem 0; }} .note {{ color: var(--muted); font-size: .9rem; }}
h1, p, td:first-child, figcaption {{ overflow-wrap: anywhere; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-size: .92rem; }}
th, td {{ text-align: right; padding: .35rem 1.2rem .35rem 0; vertical-align: top;
  border-bottom: 1px solid var(--rule); }}
td + td {{ white-space: nowrap; }}
th {{ color: var(--muted); font-weight: 500; }}
th:first-child, td:first-child {{ text-align: left; min-width: 9rem; }}
svg {{ display: block; width: 100%; height: auto; max-width: 760px; }}
svg text {{ fill: var(--muted); font-size: 11px; }} svg rect {{ fill: var(--accent); }}
svg line {{ stroke: var(--rule); }}
.pictures {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); }}
figure {{ margin: 0; padding: .7rem; background: var(--card); border: 1px solid var(--rule);
  border-radius: 8px; }}
figure img {{ display: block; max-width: 100%; height: 200px; margin: 0 auto;
  object-fit: contain; }}
figcaption {{ font-size: .85rem; margin-top: .5rem; }}
@media print {{ main {{ padding: 0; max-width: none; }} body {{ font-size: 11pt; }}
  h2, h3 {{ break-after: avoid; }} figure, svg, tr {{ break-inside: avoid; }}
  .scroll {{ overflow: visible; }} figure img {{ height: 150px; }}
  th, td {{ padding-right: .6rem; }} th:first-child, td:first-child {{ min-width: 7rem; }} }}
</style></head><body><main>
{body}
</main></body></html>
"""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; the first column names the row. Numbers are formatted, text is escaped."""
    first = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    lines = "".join(
        "<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{first}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>"
    )


def _cell(cell: object) -> str:
    return plain(cell) if isinstance(cell, int | float) else escape(str(cell))


def share_with_interval(count: int, of: int) -> str:
    """A share in percent with its 95 % interval (Wilson 1927, score interval)."""
    share = wilson(count, of)
    if share.share is None or share.low is None or share.high is None:
        return "–"
    return f"{share.share:.1%} ({share.low:.1%} to {share.high:.1%})"


def bars(heights: Sequence[float], unit: str, start: str, end: str) -> str:
    """A chart of bars over time, in SVG.

    Args:
        heights: one for each interval of the same length.
        unit: of the heights.
        start: text at the left end.
        end: text at the right end.
    """
    width, height, left, top = 760, 170, 48, 12
    most = max(heights) or 1.0
    step = (width - left) / len(heights)
    parts = [
        f'<rect x="{left + i * step:.1f}" width="{max(step - 1, 0.5):.1f}" '
        f'y="{top + height * (1 - value / most):.1f}" height="{height * value / most:.1f}"/>'
        for i, value in enumerate(heights)
    ]
    base = top + height
    return (
        f'<svg viewBox="0 0 {width} {base + 20}" role="img" '
        f'aria-label="{escape(unit)} from {escape(start)} to {escape(end)}">'
        f'<line x1="{left}" x2="{width}" y1="{base}" y2="{base}"/>{"".join(parts)}'
        f'<text x="{left - 6}" y="{top + 8}" text-anchor="end">{plain(most, 3)}</text>'
        f'<text x="{left - 6}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{left}" y="{base + 15}">{escape(start)}</text>'
        f'<text x="{width}" y="{base + 15}" text-anchor="end">{escape(end)}</text></svg>'
        f'<p class="note">{escape(unit)}</p>'
    )
