"""Reading the next inputs while one is in work, up to a number of bytes."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orthoedge.clinic.archive.inputs.sources import ArchiveInput, is_address
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import InputError, OrthoEdgeError
from orthoedge.runtime.image_io.reader import MAX_BYTES
from orthoedge.runtime.settings import plain

__all__ = ["Content", "read_ahead"]

# The file server is away, which is no property of the file: the run stops, and can go on later.
_AWAY = frozenset(
    {errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ETIMEDOUT, errno.EHOSTUNREACH}
)


@dataclass(frozen=True)
class Content:
    """The bytes of one input, or why there are none."""

    item: ArchiveInput
    data: bytes = b""
    file_sha256: str | None = None
    error: Exception | None = None


def read_ahead(
    inputs: Sequence[ArchiveInput], limit: int, authorization: Path | None
) -> Iterator[Content]:
    """Yield the content of each input in order; a thread reads on meanwhile.

    Args:
        inputs: files, or instances of a DICOMweb service.
        limit: bytes that may be held. One input is always read, however large; that of a
            DICOMweb service may go beyond the limit, since its size is not known before.
        authorization: file that holds the `Authorization` header for a DICOMweb service.

    Raises:
        OSError: the file server is away.
        DestinationError: the DICOMweb service is away.
    """
    shelf = _Shelf(limit)
    thread = threading.Thread(target=_fill, args=(shelf, inputs, authorization), daemon=True)
    thread.start()
    try:
        for _ in inputs:
            content = shelf.take()
            if content.error is not None and not isinstance(content.error, InputError):
                raise content.error
            yield content
    finally:
        shelf.close()
        thread.join()


class _Shelf:
    """Contents that wait, those in work included, of at most `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[Content] = deque()
        self._held = self._in_work = 0
        self._closed = False

    def await_room(self, size: int) -> bool:
        """Wait until `size` more bytes fit; return False once it is closed."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or not self._held or self._held + size <= self._limit
            )
            return not self._closed

    def put(self, content: Content) -> None:
        with self._changed:
            self._waiting.append(content)
            self._held += len(content.data)
            self._changed.notify_all()

    def take(self) -> Content:
        """The next content; that of the call before counts as given back."""
        with self._changed:
            self._held -= self._in_work
            self._in_work = 0
            self._changed.notify_all()
            self._changed.wait_for(lambda: bool(self._waiting))
            content = self._waiting.popleft()
            self._in_work = len(content.data)
            return content

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _fill(shelf: _Shelf, inputs: Sequence[ArchiveInput], authorization: Path | None) -> None:
    for item in inputs:
        if not shelf.await_room(_size(item)):
            return
        try:
            data = _read(item, authorization)
            shelf.put(Content(item, data, sha256(data)))
        except FileNotFoundError:
            shelf.put(Content(item, error=InputError("no such file")))
        except OSError as error:
            is_away = error.errno in _AWAY
            shelf.put(Content(item, error=error if is_away else InputError.unreadable(error)))
        except MemoryError:
            shelf.put(Content(item, error=InputError("there is not enough memory to read it")))
        except OrthoEdgeError as error:
            shelf.put(Content(item, error=error))


def _size(item: ArchiveInput) -> int:
    try:
        return os.stat(item.address).st_size  # noqa: PTH116 - a name may be no text
    except (OSError, ValueError):
        return 0


def _read(item: ArchiveInput, authorization: Path | None) -> bytes:
    if is_address(item.name):
        from orthoedge.clinic.archive.inputs.dicomweb import fetch_instance

        return fetch_instance(item.name, authorization)
    # A pipe without a writer would otherwise hold the thread.
    descriptor = os.open(item.address, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise InputError("cannot read the file: it is a folder, a pipe or a device")
        if status.st_size > MAX_BYTES:
            raise InputError(
                f"file too large: {plain(status.st_size, 9)} bytes, limit {plain(MAX_BYTES, 9)}"
            )
        return file.read(MAX_BYTES)
