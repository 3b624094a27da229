"""STOW-RS to a DICOMweb service (PS3.18 10.5), with the standard library alone."""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Sequence
from email.message import Message
from pathlib import Path
from typing import Any

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending.association import tls_context
from orthoedge.clinic.sending.dicom_file import FileIdentity
from orthoedge.clinic.sending.outcome import DestinationError, Outcome, State
from orthoedge.runtime.errors import ConfigError

_CHUNK = 2**20
_LONGEST_ANSWER = 2**20  # bytes; that to one object has some hundred
_JSON = "application/dicom+json"
_REFUSALS = (400, 406, 409, 413, 415)  # statuses that tell about the object
_INSTANCE_UID = "00080018"
_FAILED, _REASON = "00081198", "00081197"  # Failed SOP Sequence, Failure Reason


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Report a redirection as an error: urllib would repeat a POST as a GET, without the object."""

    def redirect_request(self, *_: Any) -> None:
        """Follow no redirection."""


def stow(destination: Destination, files: Sequence[tuple[Path, FileIdentity]]) -> list[Outcome]:
    """Send files by STOW-RS, one in a request, so that each has an answer of its own; see `send`.

    No proxy is used, and no redirection followed.
    """
    opener, headers = _opener(destination), _headers(destination)
    outcomes = []
    for position, (file, identity) in enumerate(files):
        try:
            outcomes.append(_stow(opener, headers, destination, file, identity))
        except DestinationError as error:  # the rest would wait as long for nothing
            outcomes += [
                Outcome(left, i.sop_instance_uid, "retry", str(error))
                for left, i in files[position:]
            ]
            break
    return outcomes


def check_service(destination: Destination) -> None:
    """Query one study, to see whether the service answers.

    Raises:
        DestinationError: it cannot be reached, or answers with an error.
        ConfigError: a file of its settings cannot be used.
    """
    _query(destination, "studies?limit=1")


def has_instance(destination: Destination, uid: str) -> bool:
    """Return whether the service finds an object by its SOP Instance UID (PS3.18 10.6).

    Raises:
        DestinationError: it cannot be reached, or answers with an error.
        ConfigError: a file of its settings cannot be used.
    """
    content = _query(destination, f"instances?SOPInstanceUID={uid}&limit=1")
    try:
        return any(_values(found, _INSTANCE_UID) == [uid] for found in json.loads(content or b"[]"))
    except (ValueError, TypeError, AttributeError) as error:
        raise DestinationError(f"{_base(destination)}: no answer in JSON") from error


def _values(found: dict[str, Any], tag: str) -> object:
    return found.get(tag, {}).get("Value")


def _query(destination: Destination, query: str) -> bytes:
    return fetch(destination, query, _JSON, _LONGEST_ANSWER)[0]


class StatusError(DestinationError):
    """The service answered with an HTTP status that is an error."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message, status)
        self.status = status

    def __str__(self) -> str:
        """The message alone."""
        return str(self.args[0])


def fetch(
    destination: Destination, address: str, accept: str, longest: int
) -> tuple[bytes, Message]:
    """Get what lies at an address below the service; its first `longest` bytes, and its headers.

    Raises:
        StatusError: the service answers with an error.
        DestinationError: it cannot be reached.
        ConfigError: a file of its settings cannot be used.
    """
    headers = {**_headers(destination), "Accept": accept}
    request = urllib.request.Request(f"{_base(destination)}/{address}", headers=headers)
    try:
        with _opener(destination).open(request, timeout=destination.timeout_s) as answer:
            return _whole(answer, longest), answer.headers
    except urllib.error.HTTPError as error:
        error.close()
        line = f"{_base(destination)}: HTTP status {error.code}"
        raise StatusError(line, error.code) from error
    except (OSError, http.client.HTTPException) as error:
        raise DestinationError(f"{_base(destination)}: {_reason(error)}") from error


def _stow(
    opener: urllib.request.OpenerDirector,
    headers: dict[str, str],
    destination: Destination,
    file: Path,
    identity: FileIdentity,
) -> Outcome:
    uid = identity.sop_instance_uid
    boundary = uuid.uuid4().hex
    head = (
        f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode(),
        f"\r\n--{boundary}--\r\n".encode(),
    )
    try:
        size = file.stat().st_size
        request = urllib.request.Request(
            f"{_base(destination)}/studies",
            data=_body(head[0], file, head[1]),
            headers={
                **headers,
                "Accept": _JSON,
                "Content-Length": str(len(head[0]) + size + len(head[1])),
                "Content-Type": (
                    f'multipart/related; type="application/dicom"; boundary={boundary}'
                ),
            },
        )
        with opener.open(request, timeout=destination.timeout_s) as answer:
            content = _whole(answer, _LONGEST_ANSWER)
            return Outcome(file, uid, *_meaning(answer.status, content))
    except urllib.error.HTTPError as error:
        with error:
            return Outcome(file, uid, *_meaning(error.code, _read(error)))
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "filename", None) is not None:  # the file, not the network
            return Outcome(file, uid, "retry", f"cannot read the file: {_reason(error)}")
        raise DestinationError(f"{_base(destination)}: {_reason(error)}") from error


def _body(before: bytes, file: Path, after: bytes) -> Iterator[bytes]:
    yield before
    with file.open("rb") as content:
        while chunk := content.read(_CHUNK):
            yield chunk
    yield after


def _whole(answer: http.client.HTTPResponse, longest: int) -> bytes:
    """The answer's first `longest` bytes.

    Raises:
        http.client.HTTPException: it ends early, about which `read` with a length says nothing
            (https://github.com/python/cpython/issues/115997).
    """
    content = answer.read(longest)
    if answer.length and len(content) < longest:
        raise http.client.HTTPException("the answer ends early")
    return content


def _read(error: urllib.error.HTTPError) -> bytes:
    try:
        return error.read(_LONGEST_ANSWER)
    except (OSError, http.client.HTTPException):  # the status has arrived, and it is enough
        return b""


def _meaning(status: int, content: bytes) -> tuple[State, str]:
    """Return what an answer means for the object (PS3.18 10.5.3, table 10.5.3-1)."""
    reason = _failure(content)
    if status in (200, 201, 204) and reason is None:
        return "stored", ""
    text = f"HTTP status {status}"
    if reason is not None:
        text += f", failure reason 0x{reason:04X}"
    if reason is not None and reason >> 8 == 0xA7:  # out of resources
        return "retry", text
    if status == 202 and reason is None:
        return "stored", text  # with warnings
    if reason is not None or status in _REFUSALS:
        return "refused", text
    return "retry", text  # the service or its settings, such as 401, 404 and 503


def _failure(content: bytes) -> int | None:
    """Return the failure reason in an answer, 0 for one that is not stated; None for no failure."""
    try:
        failed = json.loads(content)[_FAILED]["Value"]
    except (ValueError, LookupError, TypeError):  # no JSON is no statement about an object
        return None
    try:
        return int(failed[0][_REASON]["Value"][0])
    except (ValueError, LookupError, TypeError):
        return 0 if failed else None


def _opener(destination: Destination) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=tls_context(destination.tls)),
        _NoRedirect(),
    )


def _headers(destination: Destination) -> dict[str, str]:
    if not destination.authorization_file:
        return {}
    path = Path(destination.authorization_file)
    try:
        value = path.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not ASCII"
        raise ConfigError(f"authorization_file: {path}: {reason}") from error
    if not value or not value.isprintable():
        raise ConfigError(f"authorization_file: {path}: expected one line, such as Bearer …")
    return {"Authorization": value}


def _base(destination: Destination) -> str:
    return destination.url.rstrip("/")


def _reason(error: OSError | http.client.HTTPException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
