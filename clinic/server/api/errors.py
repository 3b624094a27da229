"""What the API answers when it does not do what was asked: a status, a sentence, and its id."""

from __future__ import annotations

from typing import Literal

from orthoedge.clinic.words import catalogue

__all__ = ["ERRORS", "ApiError", "ErrorId"]

ErrorId = Literal[
    "error.bad_request",
    "error.cross_site",
    "error.csrf",
    "error.disk_full",
    "error.ending",
    "error.engine",
    "error.failed",
    "error.host",
    "error.login_failed",
    "error.login_needed",
    "error.no_report",
    "error.not_allowed",
    "error.not_found",
    "error.not_readable",
    "error.too_busy",
    "error.too_large",
    "error.too_many_guesses",
    "error.too_slow",
]

ERRORS: dict[ErrorId, int] = {
    "error.bad_request": 400,
    "error.cross_site": 403,
    "error.csrf": 403,
    "error.disk_full": 507,
    "error.ending": 503,
    "error.engine": 503,
    "error.failed": 500,
    "error.host": 421,
    "error.login_failed": 403,
    "error.login_needed": 401,
    "error.no_report": 503,
    "error.not_allowed": 403,
    "error.not_found": 404,
    "error.not_readable": 422,
    "error.too_busy": 503,
    "error.too_large": 413,
    "error.too_many_guesses": 429,
    "error.too_slow": 408,
}
"""Status by id; the catalogues have the sentence."""


class ApiError(Exception):
    """Ends a request.

    Args:
        error_id: of the sentence.
        detail: what is known beyond it, in English; replaces the sentence.
        wait_s: seconds after which it may be tried again; 0 if that is not known.
    """

    def __init__(self, error_id: ErrorId, detail: str = "", wait_s: float = 0) -> None:
        self.id = error_id
        self.status = ERRORS[error_id]
        self.sentence = detail or catalogue("en").text(error_id)
        self.wait_s = wait_s
        super().__init__(self.sentence)
