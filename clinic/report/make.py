"""One radiograph, one page: the report as PDF."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone
from pathlib import Path
from typing import get_args

import msgspec

from orthoedge.clinic.report.content import ReportContent
from orthoedge.clinic.report.fonts import choose_families, open_fonts
from orthoedge.clinic.report.page import PageRecord, page_of
from orthoedge.clinic.report.pictures import draw_pictures
from orthoedge.clinic.report.typst_module import import_typst
from orthoedge.clinic.settings import Paper
from orthoedge.clinic.words import catalogue
from orthoedge.runtime.errors import ConfigError, OrthoEdgeError

__all__ = ["PAPERS", "Paper", "compile_report", "make_report"]

PAPERS: tuple[Paper, ...] = get_args(Paper)

_FOLDER = Path(__file__).parent
_TYPST_PAPERS = {"a4": "a4", "letter": "us-letter"}


def make_report(
    content: ReportContent,
    language: str = "en",
    paper: Paper = "a4",
    *,
    fonts: Sequence[Path] = (),
) -> bytes:
    """Make the report on one radiograph: one page, as PDF.

    Args:
        content: what it is made from.
        language: one of `LANGUAGES`.
        paper: `a4` or `letter`.
        fonts: folders of fonts, looked at before those of the system.

    Returns:
        The PDF file. The same arguments give the same bytes with the same typst, OpenCV and fonts.

    Raises:
        InputError: the finding is not the JSON of one, or the pixels are not uint8 (H, W).
        ConfigError: no such language or paper, or no font for a script of the texts.
        MissingDependency: typst is not installed.
    """
    report = compile_report(content, language, paper, fonts, "pdf")
    assert isinstance(report, bytes)
    return report


def compile_report(
    content: ReportContent, language: str, paper: Paper, fonts: Sequence[Path], kind: str
) -> bytes | list[bytes]:
    """Set the page as `pdf`, `png` or `svg`; of the latter two, several pages are a list."""
    typst = import_typst()
    if paper not in PAPERS:
        raise ConfigError(f"unknown paper {paper!r}: expected {' or '.join(PAPERS)}")
    page = page_of(content, catalogue(language))
    record = msgspec.json.decode(content.finding, type=PageRecord)
    plain, marked = draw_pictures(content.pixels, record)
    opened = open_fonts(tuple(fonts))
    settings = {
        "fonts": choose_families(page.texts(), opened),
        "paper": _TYPST_PAPERS[paper],
        "keywords": [f"SHA-256 {content.image_sha256}"] if content.image_sha256 else [],
        **msgspec.to_builtins(page),
    }
    files = {
        "main": (_FOLDER / "report.typ").read_bytes(),
        "sign.typ": (_FOLDER / "sign.typ").read_bytes(),
        "page.json": msgspec.json.encode(settings),
        "plain.svg": plain,
        "map.svg": marked,
    }
    moment = content.made.replace(tzinfo=content.made.tzinfo or timezone.utc)
    try:
        report: bytes | list[bytes] = typst.compile(
            files,
            font_paths=opened,
            ignore_system_fonts=True,
            format=kind,
            timestamp=int(moment.timestamp()),
        )
    except typst.TypstError as error:
        raise OrthoEdgeError(f"the report cannot be set: {error}") from error
    return report
