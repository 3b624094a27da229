"""C-STORE to a DICOM peer (PS3.4 annex B)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.results.equipment import MANUFACTURER
from orthoedge.clinic.sending.association import associate
from orthoedge.clinic.sending.dicom_file import FileIdentity
from orthoedge.clinic.sending.outcome import DestinationError, Outcome, State
from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import MissingDependency

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.presentation import PresentationContext

_FILES = 40  # of one association, so that their contexts stay within the 128 of PS3.8 9.3.2
_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")  # little endian, explicit or implicit
_SLOWEST = 50_000.0  # bytes per second
_DUPLICATE = 0x0111
# PS3.7 annex C: they tell about this object and not about the state of the peer.
_REFUSALS = {0x0117, 0x0122, 0x0211, 0x0212}


def store(
    destination: Destination, files: Sequence[tuple[Path, FileIdentity]], calling_ae: str
) -> list[Outcome]:
    """Send files by C-STORE, up to 40 in one association; see `send`."""
    outcomes = []
    for start in range(0, len(files), _FILES):
        outcomes += _store(destination, files[start : start + _FILES], calling_ae)
    return outcomes


def _store(
    destination: Destination, files: Sequence[tuple[Path, FileIdentity]], calling_ae: str
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    _send_files_as_they_are()
    try:
        with associate(destination, calling_ae, _contexts(files)) as association:
            for number, (file, identity) in enumerate(files, start=1):
                outcomes.append(
                    _store_one(association, file, identity, number, destination.timeout_s)
                )
                if not association.is_established:
                    break  # what follows is not sent; the next attempt begins there
    except DestinationError as error:
        reason = str(error)
    else:
        reason = "not sent: the association ended before it"
    left = files[len(outcomes) :]
    return outcomes + [Outcome(file, i.sop_instance_uid, "retry", reason) for file, i in left]


def _send_files_as_they_are() -> None:
    """Let pynetdicom send the bytes of a file, without decoding them; a setting of the process."""
    try:
        from pynetdicom import _config
    except ImportError as error:
        raise MissingDependency("pynetdicom", "clinic", "sending to a DICOM peer") from error
    _config.STORE_SEND_CHUNKED_DATASET = True


def _contexts(files: Sequence[tuple[Path, FileIdentity]]) -> list[PresentationContext]:
    """Propose each class in its files' syntax, and uncompressed in contexts of their own."""
    from pynetdicom.presentation import build_context

    pairs: dict[tuple[str, str], None] = {}
    for _, identity in files:
        for syntax in (identity.transfer_syntax_uid, *_UNCOMPRESSED):
            pairs[identity.sop_class_uid, syntax] = None
    return [build_context(*pair) for pair in pairs]


def _store_one(
    association: Association, file: Path, identity: FileIdentity, number: int, timeout_s: float
) -> Outcome:
    uid = identity.sop_instance_uid
    accepted = {
        (context.abstract_syntax, context.transfer_syntax[0])
        for context in association.accepted_contexts
    }
    content: Any = file
    if (identity.sop_class_uid, identity.transfer_syntax_uid) not in accepted:
        if accepted.isdisjoint((identity.sop_class_uid, syntax) for syntax in _UNCOMPRESSED):
            return Outcome(file, uid, "refused", _no_context(association, identity))
        try:
            content = _in_other_syntax(file, identity)
        except Exception:  # a parser or decoder raises anything for a damaged file
            return Outcome(file, uid, "refused", "the file is damaged")
        if content is None:
            return Outcome(file, uid, "refused", _no_context(association, identity))
    try:
        # The answer comes after the last byte, and a slow line may take long to carry a file. One
        # that has come to a halt is noticed by the time limit of the socket.
        association.dimse_timeout = timeout_s + file.stat().st_size / _SLOWEST
        status = association.send_c_store(content, msg_id=number).get("Status")
    except OSError as error:
        return Outcome(file, uid, "retry", f"cannot read the file: {error.strerror or error}")
    except (RuntimeError, ValueError, AttributeError) as error:  # the association has just ended
        return Outcome(file, uid, "retry", f"not sent: {error}")
    if status is None:
        return Outcome(file, uid, "retry", "no answer to C-STORE in time, or the peer aborted")
    return Outcome(file, uid, *_meaning(status))


def _meaning(status: int) -> tuple[State, str]:
    """Return what a status of C-STORE means for the file (PS3.4 B.2.3, PS3.7 annex C)."""
    if status == 0:
        return "stored", ""
    text = f"C-STORE answered 0x{status:04X}"
    if status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116, _DUPLICATE):
        return "stored", text  # a warning; or the peer has it already
    if status in _REFUSALS or status >> 8 == 0xA9 or status >> 12 == 0xC:
        return "refused", text
    return "retry", text


def _no_context(association: Association, identity: FileIdentity) -> str:
    from pydicom.uid import UID

    named = UID(identity.sop_class_uid).name
    classes = {context.abstract_syntax for context in association.accepted_contexts}
    if identity.sop_class_uid in classes:
        named += f" in {UID(identity.transfer_syntax_uid).name}"
    return f"the peer does not accept {named}"


def _in_other_syntax(file: Path, identity: FileIdentity) -> Any:
    """Read an object that is to be sent in another syntax, without compression.

    Returns:
        The data set; None for an image from elsewhere that is compressed. It is not decoded: it may
        be damaged on purpose.
    """
    from pydicom import dcmread

    with quiet_pydicom():
        dataset = dcmread(file)
        if identity.transfer_syntax_uid not in _UNCOMPRESSED:
            if dataset.get("Manufacturer") != MANUFACTURER or "PixelData" not in dataset:
                return None
            dataset.decompress(generate_instance_uid=False)  # lossless, so it is the same instance
    return dataset
