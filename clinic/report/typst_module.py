"""Imports typst, which sets the report's page, only where it is needed."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

from orthoedge.runtime.errors import MissingDependency

__all__ = ["has_typst", "import_typst"]


def has_typst() -> bool:
    """Whether typst is installed."""
    return find_spec("typst") is not None


def import_typst() -> ModuleType:
    """Import typst.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        import typst
    except ImportError as error:
        raise MissingDependency("typst", "report", "making a report") from error
    return typst
