"""What the API answers when it does not do what was asked: a status, a sentence, and its id."""

from __future__ import annotations

from typing import Literal

__all__ = ["ERRORS", "ApiError", "ErrorId"]

ErrorId = Literal[
    "error.bad_request",
    "error.cross_site",
    "error.csrf",
    "error.disk_full",
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

ERRORS: dict[ErrorId, tuple[int, str]] = {
    "error.bad_request": (400, "The request is not understood."),
    "error.cross_site": (403, "A request of another page is refused."),
    "error.csrf": (403, "The page is out of date: load it again."),
    "error.disk_full": (507, "The disk is full, and nothing was entered: free some space."),
    "error.engine": (503, "The network cannot run; the server's log says why."),
    "error.failed": (500, "This went wrong; the server's log says where."),
    "error.host": (421, "The server is not known by this name: add it to the settings."),
    "error.login_failed": (403, "The name or the password is wrong."),
    "error.login_needed": (401, "Log in first."),
    "error.no_report": (503, "The report cannot be made here; print the page instead."),
    "error.not_allowed": (403, "Your account may not do this."),
    "error.not_found": (404, "There is nothing of this name or number."),
    "error.not_readable": (422, "The file cannot be read as a radiograph."),
    "error.too_busy": (503, "Too many radiographs are waiting: try again in a minute."),
    "error.too_large": (413, "The file is too large."),
    "error.too_many_guesses": (429, "Too many wrong passwords: wait a little."),
    "error.too_slow": (408, "The file came too slowly and was given up."),
}
"""Status and sentence by id; a catalogue has the sentence in other languages."""


class ApiError(Exception):
    """Ends a request.

    Args:
        error_id: of the sentence.
        detail: what is known beyond it, in English; replaces the sentence.
        wait_s: seconds after which it may be tried again; 0 if that is not known.
    """

    def __init__(self, error_id: ErrorId, detail: str = "", wait_s: float = 0) -> None:
        self.id = error_id
        self.status, sentence = ERRORS[error_id]
        self.sentence = detail or sentence
        self.wait_s = wait_s
        super().__init__(self.sentence)
