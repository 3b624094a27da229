"""What ends a node at its start, and no longer afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from orthoedge.runtime.errors import (
    BundleError,
    ConfigError,
    DataError,
    MissingDependency,
    OrthoEdgeError,
)

__all__ = ["START_ERRORS", "started"]

START_ERRORS = (BundleError, ConfigError, DataError, MissingDependency)
"""At its start: a process cannot run with these settings or this installation."""


@contextmanager
def started() -> Iterator[None]:
    """Mark what a process does once it has started; none of it says that it cannot run at all.

    Raises:
        OrthoEdgeError: in place of each of `START_ERRORS`.
    """
    try:
        yield
    except START_ERRORS as error:
        raise OrthoEdgeError(str(error)) from error
