"""Whether all is installed that reading images and making results takes."""

from __future__ import annotations

from collections.abc import Iterable

from orthoedge.clinic.destination import KINDS_WITH_WORDS, ResultKind

__all__ = ["check_installation"]


def check_installation(kinds: Iterable[ResultKind], language: str) -> None:
    """Check decoders, and what some kinds of results take.

    Args:
        kinds: that are made.
        language: of their words.

    Raises:
        ConfigError: no font for the language.
        MissingDependency: a decoder, highdicom or typst is not installed.
    """
    from orthoedge.clinic.results import prepare_results
    from orthoedge.runtime.dicom.decoders import check_decoders

    check_decoders()
    wanted = set(kinds)
    if wanted:
        prepare_results()
    if wanted & KINDS_WITH_WORDS:
        _check_words(language)


def _check_words(language: str) -> None:
    from orthoedge.clinic.report.fonts import choose_families, open_fonts
    from orthoedge.clinic.words import catalogue

    texts = catalogue(language).page_texts()
    choose_families([str(texts)], open_fonts())
