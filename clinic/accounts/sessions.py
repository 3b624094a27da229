"""Sessions: who is logged in, for how long, and the token that a changing request must carry.

They are kept in memory alone, so that a restart logs everyone out. A login makes a new session and
ends the one before: a token that was planted in a browser is of no use after it.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from orthoedge.clinic.accounts.accounts import Role

__all__ = ["Session", "Sessions"]

_MOST = 1000


@dataclass
class Session:
    """A user who is logged in."""

    user: str
    role: Role
    csrf: str
    started_at: float
    used_at: float = field(default=0.0)
    """When the user last did something; what a page asks by itself does not count."""


class Sessions:
    """The sessions of one server; threads may share it.

    Args:
        idle_s: seconds without a request of the user after which a session ends.
        longest_s: seconds after which it ends in any case.
        clock: seconds that only grow.
    """

    def __init__(
        self, idle_s: float, longest_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._idle_s, self._longest_s, self._clock = idle_s, longest_s, clock
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}

    def start(self, user: str, role: Role, old_token: str = "") -> tuple[str, Session]:
        """Start a session and end the one that the browser had; return its token too."""
        token, now = secrets.token_urlsafe(32), self._clock()
        session = Session(user, role, secrets.token_urlsafe(32), now, now)
        with self._lock:
            self._sessions.pop(_digest(old_token), None)
            self._sessions = {k: s for k, s in self._sessions.items() if self._is_alive(s)}
            while len(self._sessions) >= _MOST:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[_digest(token)] = session
        return token, session

    def get(self, token: str, *, by_user: bool = True) -> Session | None:
        """The session of a token, if it has not ended.

        Args:
            token: of the browser.
            by_user: the user did something, so that the time without a request begins again.
        """
        with self._lock:
            session = self._sessions.get(_digest(token))
            if session is None:
                return None
            if not self._is_alive(session):
                del self._sessions[_digest(token)]
                return None
            if by_user:
                session.used_at = self._clock()
            return session

    def end(self, token: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(_digest(token), None)

    def end_all(self, user: str) -> None:
        """End all sessions of a user, whose account has changed."""
        with self._lock:
            self._sessions = {k: s for k, s in self._sessions.items() if s.user != user}

    def _is_alive(self, session: Session) -> bool:
        now = self._clock()
        return now - session.used_at <= self._idle_s and now - session.started_at <= self._longest_s


def _digest(token: str) -> str:
    """What is looked up: comparing it takes no time that tells of the token."""
    return hashlib.sha256(token.encode()).hexdigest()
