"""The answer to a C-STORE: it is given once the object is on the disk and in the index.

Nothing is decoded. pynetdicom has written the fragments to a file in `incoming/`; that file is
synced, linked under its final name and entered. Whatever fails, the sender gets a status.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.log import Log
from orthoedge.clinic.receiver.guard import Discarded
from orthoedge.clinic.spool.records import NewImage
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.atomic_files import sync_path
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.events import Event

__all__ = ["store"]

# PS3.4 B.2.3 and PS3.7 annex C
_SUCCESS = 0x0000
_PROCESSING_FAILURE = 0x0110
_INVALID_INSTANCE = 0x0117
_OUT_OF_RESOURCES = 0xA700


def store(event: Event, spool: Spool, log: Log) -> int | Dataset:
    """Take one object into the spool.

    Returns:
        0x0000 once it will survive a power cut, also if the spool had it already; 0xA700 where the
        disk or the queue is full, 0x0117 for a UID that is none, 0xC000 for an object over the
        limit, 0x0110 for any other failure; with ErrorComment.
    """
    try:
        return _store(event, spool, log)
    except InputError as error:
        return _refuse(event, log, _INVALID_INSTANCE, str(error))
    except OSError as error:
        return _refuse(event, log, _OUT_OF_RESOURCES, f"cannot write: {error.strerror or error}")
    except Exception as error:  # an exception would leave the temporary file behind
        return _refuse(event, log, _PROCESSING_FAILURE, f"{type(error).__name__}: {error}")


def _store(event: Event, spool: Spool, log: Log) -> int | Dataset:
    request: Any = event.request
    if isinstance(request._dataset_file, Discarded):
        discarded = request._dataset_file
        return _status(discarded.status, discarded.reason)
    path = Path(event.dataset_path)
    sync_path(path)
    image = NewImage(
        uid=str(request.AffectedSOPInstanceUID),
        sop_class=str(request.AffectedSOPClassUID),
        calling_ae=str(event.assoc.requestor.ae_title).strip(),
        peer=str(event.assoc.requestor.address),
    )
    size = path.stat().st_size
    is_new = spool.add_image(path, image)
    log(
        "image received" if is_new else "image received again",
        uid=image.uid,
        calling_ae=image.calling_ae,
        peer=image.peer,
        bytes=size,
    )
    return _SUCCESS


def _refuse(event: Event, log: Log, status: int, reason: str) -> Dataset:
    peer = str(event.assoc.requestor.address)
    log("object refused", peer=peer, status=f"0x{status:04X}", reason=reason)
    return _status(status, reason)


def _status(status: int, comment: str) -> Dataset:
    from pydicom.dataset import Dataset

    answer = Dataset()
    answer.Status = status
    answer.ErrorComment = "".join(c if " " <= c <= "~" and c != "\\" else "?" for c in comment)[:64]
    return answer
