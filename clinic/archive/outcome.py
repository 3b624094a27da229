"""What became of a share, and what both kinds of workers offer."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Protocol

from orthoedge.clinic.archive.worker import Share, ShareResult

__all__ = ["Outcome", "Workers"]


@dataclass(frozen=True)
class Outcome:
    """A share that ended."""

    share: Share
    result: ShareResult | None
    """None where the worker died over it."""


class Workers(Protocol):
    """Processes of this machine, or workers of a Dask scheduler."""

    notes: deque[str]
    """Lines for the terminal that were not shown yet."""

    def workers(self) -> int:
        """How many there are now."""

    def room(self) -> int:
        """How many shares can be submitted now."""

    def submit(self, share: Share) -> None:
        """Give a share to a worker."""

    def wait(self) -> list[Outcome]:
        """Wait up to a second for shares to end."""

    def close(self) -> None:
        """Let the workers go."""
