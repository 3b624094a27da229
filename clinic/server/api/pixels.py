"""The pixels of a radiograph, whole or as coarse as a screen needs them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import BinaryIO

from orthoedge.clinic.history.records import Picture
from orthoedge.clinic.server.api.answers import PixelQuery
from orthoedge.clinic.server.api.calls import Call, Reply
from orthoedge.clinic.server.api.errors import ApiError
from orthoedge.clinic.server.api.findings import stored_finding
from orthoedge.clinic.server.engine.messages import HalvePixels
from orthoedge.clinic.server.state import ServerState
from orthoedge.runtime.errors import EngineError

__all__ = ["show_pixels"]

_KIND = "application/octet-stream"
_BLOCK = 2**18


def show_pixels(state: ServerState, call: Call) -> Reply:
    """The pixels, uint16 little-endian row by row, bone bright; the audit trail keeps who looked.

    `X-Width` and `X-Height` are those of the radiograph. Each pixel of the reply is the mean of
    `X-Step` by `X-Step` of them, so that it has as many columns and rows as those divided by
    `X-Step` and rounded up.

    Raises:
        ApiError: there are none.
    """
    side = call.query(PixelQuery).side
    stored = stored_finding(state, call)
    picture = stored.picture
    if picture is None:
        raise ApiError("error.not_found")
    state.history.note_look(call.caller.user, stored.summary.number)
    if times := _halvings(picture, side):
        request = HalvePixels(picture.sha256, picture.width, picture.height, times)
        try:
            coarse = state.engine.make(request)
        except EngineError as error:  # the whole ones can be shown, and the reply says so
            state.log("no coarser pixels", reason=str(error))
        else:
            return Reply(coarse, _KIND, headers=_sizes(picture, 2**times))
    file, is_packed = state.history.pixels.open(picture.sha256)
    headers = _sizes(picture, 1)
    if is_packed and call.caller.takes_gzip:
        headers["Content-Encoding"] = "gzip"
    unpacks = is_packed and not call.caller.takes_gzip
    return Reply(_blocks(file, unpacks), _KIND, headers=headers)


def _halvings(picture: Picture, side: int) -> int:
    """How often the longer side can be halved and still has `side` pixels; 0 for all of them."""
    longest, times = max(picture.width, picture.height), 0
    while 0 < side <= longest >> (times + 1):
        times += 1
    return times


def _sizes(picture: Picture, step: int) -> dict[str, str]:
    sizes = {
        "X-Width": picture.width,
        "X-Height": picture.height,
        "X-Bits": picture.bits,
        "X-Step": step,
    }
    return {name: str(size) for name, size in sizes.items()}


def _blocks(file: BinaryIO, unpacks: bool) -> Iterator[bytes]:
    """A file in pieces: a whole one would stay in the server's memory."""
    with file, gzip.open(file) if unpacks else file as content:
        while block := content.read(_BLOCK):
            yield block
