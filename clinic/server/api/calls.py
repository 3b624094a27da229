"""A request as the handlers see it, and what they answer; nothing here knows of HTTP's library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from orthoedge.clinic.accounts.accounts import Role
from orthoedge.clinic.server.api.errors import ApiError

if TYPE_CHECKING:
    from orthoedge.clinic.server.state import ServerState

__all__ = ["JSON", "Call", "Caller", "Handler", "Reply", "Route", "json_reply"]

JSON = "application/json"
_T = TypeVar("_T", bound=msgspec.Struct)


@dataclass(frozen=True)
class Caller:
    """Who asks."""

    user: str
    """Empty without an account."""
    role: Role | Literal[""]
    """Empty for a caller who is not logged in."""
    address: str
    token: str
    """Of the session; empty if there is none."""
    is_page: bool
    """Whether a browser asks, and no other program."""
    takes_gzip: bool = False
    """Whether it unpacks what is packed."""


@dataclass(frozen=True)
class Call:
    """One request."""

    caller: Caller
    path: Mapping[str, str]
    """Parts of the path, by name."""
    parameters: Mapping[str, str]
    """After the question mark."""
    content: bytes

    @property
    def number(self) -> int:
        """Number of the finding in the path.

        Raises:
            ApiError: it is none.
        """
        text = self.path["number"]
        if not text.isdecimal() or len(text) > 18:
            raise ApiError("error.not_found")
        return int(text)

    def query(self, kind: type[_T]) -> _T:
        """The parameters.

        Raises:
            ApiError: one is unknown or has no such value.
        """
        known = {field.encode_name for field in msgspec.structs.fields(kind)}
        if unknown := set(self.parameters) - known:
            raise ApiError("error.bad_request", f"unknown parameter {sorted(unknown)[0]!r}")
        given = {name: value for name, value in self.parameters.items() if value}
        try:
            return msgspec.convert(given, kind, strict=False)
        except msgspec.ValidationError as error:
            raise ApiError("error.bad_request", str(error)) from error

    def body(self, kind: type[_T]) -> _T:
        """The JSON of the request.

        Raises:
            ApiError: it is none of that kind.
        """
        try:
            return msgspec.json.decode(self.content, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ApiError("error.bad_request", str(error)) from error


@dataclass(frozen=True)
class Reply:
    """What is sent back."""

    content: bytes | Iterator[bytes]
    kind: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[["ServerState", Call], Reply]


@dataclass(frozen=True)
class Route:
    """One path of the API with one method; the OpenAPI file is made of these."""

    method: Literal["GET", "POST", "DELETE"]
    path: str
    """Below `/api/v1`."""
    name: str
    """Operation id."""
    summary: str
    roles: tuple[Role, ...]
    """Who may; empty for everyone, also without a login."""
    answer: type[msgspec.Struct] | str
    """A struct for JSON, else the media type."""
    handler: Handler | None
    """None for those that stream, which `streams.py` has."""
    status: int = 200
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | str | None = None
    """A struct for JSON, else the media type."""
    by_user: bool = True
    """Whether a request means that the user is there; not if the page asks by itself."""


def json_reply(
    content: msgspec.Struct, status: int = 200, headers: Mapping[str, str] | None = None
) -> Reply:
    """A reply of JSON."""
    return Reply(msgspec.json.encode(content), JSON, status, headers or {})
