"""Limits of what one association may send, and what happens where the disk is full.

pynetdicom writes the fragments of a C-STORE to a file as they come. It collects a command or
another data set of any length in memory, and where the file cannot be written its thread ends, so
that the sender waits for an answer that never comes. Each association gets this object in front of
pynetdicom's own method.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.log import Log
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.settings import plain

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.pdu_primitives import P_DATA

__all__ = ["Discarded", "MessageGuard"]

_LARGEST_COMMAND = 2**16
_LARGEST_IN_MEMORY = 2**22  # a report on the commitment of some 30,000 objects
_COMMAND, _LAST = 1, 2  # bits of the message control header (PS3.8 E.2)
_OUT_OF_RESOURCES, _CANNOT_UNDERSTAND = 0xA700, 0xC000  # PS3.4 B.2.3


class Discarded:
    """Stands for the file of an object that is not kept; takes what is written and drops it.

    Args:
        path: of the file that was begun, which pynetdicom removes after the answer.
        status: of the answer (PS3.4 B.2.3).
        reason: at most 64 characters.
    """

    def __init__(self, path: Path | None, status: int, reason: str) -> None:
        self.name = str(path or "")
        self.status = status
        self.reason = reason
        self.file = self  # as that of a NamedTemporaryFile

    def write(self, data: bytes) -> int:
        """Drop the data."""
        return len(data)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class MessageGuard:
    """Takes the place of `receive_primitive` of an association's DIMSE provider.

    Args:
        association: whose messages it receives.
        largest: bytes of an object that is kept.
        refusal: why no new image is taken now; empty if one is. Asked before each.
        log: is told of full disks and of peers that break the protocol.
    """

    def __init__(
        self,
        association: Association,
        largest: int,
        refusal: Callable[[], str],
        log: Log,
    ) -> None:
        self._association = association
        self._dimse: Any = association.dimse
        self._receive: Callable[[P_DATA], None] = association.dimse.receive_primitive
        self._largest = largest
        self._refusal = refusal
        self._log = log
        self._command_bytes = 0
        self._data_bytes = 0

    def __call__(self, primitive: P_DATA) -> None:
        """Receive fragments of messages; an error ends the association and nothing else."""
        with self._ending_on_error():
            for fragment in primitive.presentation_data_value_list:
                self._take(*fragment)

    @property
    def stored_context(self) -> int | None:
        """The presentation context of a C-STORE whose data set is being received; else None."""
        message = self._dimse.message
        if message is None or message._data_set_file is None:
            return None
        context: int = message.context_id
        return context

    def store(self, context_id: int, data: memoryview, is_last: bool) -> None:
        """Receive a fragment of the data set that `stored_context` is about."""
        with self._ending_on_error():
            self._count(is_command=False, size=len(data))
            try:
                self._file().file.write(data)
            except OSError as error:
                self._discard(_OUT_OF_RESOURCES, f"cannot write: {error.strerror or error}")
            if is_last:
                self._take(context_id, bytes([_LAST]))

    @contextlib.contextmanager
    def _ending_on_error(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._log(
                "association ended: not a message of DICOM",
                peer=self._association.requestor.address,
                reason=f"{type(error).__name__}: {error}"[:200],
            )
            self.remove_unfinished()
            self._association.dul.event_queue.put("Evt19")  # an invalid PDU: abort

    def remove_unfinished(self) -> None:
        """Remove the file of a message that has begun and will not end."""
        message = self._dimse.message
        if message is not None and message._data_set_path is not None:
            _close(message._data_set_file)
            message._data_set_path.unlink(missing_ok=True)

    def _take(self, context_id: int, data: bytes) -> None:
        is_command, is_last = bool(data[0] & _COMMAND), bool(data[0] & _LAST)
        self._count(is_command, len(data) - 1)
        try:
            self._receive(_fragment(context_id, data))
        except OSError as error:
            self._discard(_OUT_OF_RESOURCES, f"cannot write: {error.strerror or error}")
            if is_last and not is_command:  # complete the message, so that it is answered
                self._receive(_fragment(context_id, data[:1]))
                self._command_bytes = self._data_bytes = 0
            return
        if self._dimse.message is None:  # it is complete
            self._command_bytes = self._data_bytes = 0
        if is_command and is_last and self._file() is not None and (reason := self._why_refused()):
            self._discard(_OUT_OF_RESOURCES, reason)

    def _why_refused(self) -> str:
        try:
            return self._refusal()
        except (OrthoEdgeError, OSError) as error:  # neither can it be kept
            return f"cannot write: {getattr(error, 'strerror', None) or error}"

    def _count(self, is_command: bool, size: int) -> None:
        """Count the bytes of a fragment, and decide before they are kept."""
        if is_command:
            if self._file() is not None:
                raise ValueError("a command before the end of a data set")
            self._command_bytes += size
            if self._command_bytes > _LARGEST_COMMAND:
                raise ValueError(f"a command of more than {plain(_LARGEST_COMMAND)} bytes")
            return
        self._data_bytes += size
        if self._file() is None:
            if self._data_bytes > _LARGEST_IN_MEMORY:
                raise ValueError(f"a data set of more than {plain(_LARGEST_IN_MEMORY)} bytes")
        elif self._data_bytes > self._largest and not isinstance(self._file(), Discarded):
            limit = plain(self._largest / 2**20, 3)
            self._discard(_CANNOT_UNDERSTAND, f"object larger than the limit of {limit} MiB")

    def _file(self) -> Any:
        return None if self._dimse.message is None else self._dimse.message._data_set_file

    def _discard(self, status: int, reason: str) -> None:
        message = self._dimse.message
        path = message._data_set_path
        _close(message._data_set_file)
        if path is not None:
            path.unlink(missing_ok=True)
        message._data_set_file = Discarded(path, status, reason[:64])
        message._data_set_path = path or Path("discarded")
        peer = self._association.requestor.address
        self._log("object refused", peer=peer, status=f"0x{status:04X}", reason=reason)


def _fragment(context_id: int, data: bytes) -> P_DATA:
    from pynetdicom.pdu_primitives import P_DATA

    primitive = P_DATA()
    primitive.presentation_data_value_list = [[context_id, data]]  # type: ignore[list-item]
    return primitive


def _close(file: Any) -> None:
    if file is not None:
        with contextlib.suppress(OSError):  # what could not be written cannot be flushed either
            file.close()
