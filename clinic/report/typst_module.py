"""Imports typst, which sets words, only where it is needed."""

from __future__ import annotations

from types import ModuleType

from orthoedge.runtime.errors import MissingDependency

__all__ = ["import_typst"]


def import_typst() -> ModuleType:
    """Import typst.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import typst
    except ImportError as error:
        raise MissingDependency("typst", "report", "setting words") from error
    return typst
