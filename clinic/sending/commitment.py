"""Storage commitment (PS3.4 annex J, push model): ask for it, and take the report.

A peer reports when it is ready, on a new association that it opens to the AE title that asked, so
it must know this node's address.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.log import Log, kind_and_place
from orthoedge.clinic.sending.association import associate
from orthoedge.clinic.sending.outcome import DestinationError, Reference
from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import MissingDependency

if TYPE_CHECKING:
    from pynetdicom import AE
    from pynetdicom.events import Event

Callback = Callable[[str, list[str], list[tuple[str, str]]], None]
"""Called with the transaction UID, the UIDs that are committed, and those that are not, each with
its reason."""

_PUSH_MODEL, _PUSH_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
_SUCCESS, _PROCESSING_FAILURE, _NO_SUCH_EVENT, _INVALID = 0x0000, 0x0110, 0x0113, 0x0115
_REPORTS = (1, 2)  # event types: all committed; some are not
_REQUEST = 1  # action type
_FAILURES = {  # PS3.3 C.14.1.1
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0213: "resource limitation",
    0x0122: "referenced SOP class not supported",
    0x0119: "class and instance conflict",
    0x0131: "duplicate transaction UID",
}


def new_transaction_uid() -> str:
    """Return a UID that no other request has (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def request_commitment(
    destination: Destination,
    references: Sequence[Reference],
    calling_ae: str,
    *,
    transaction_uid: str | None = None,
) -> str:
    """Ask a `dicom` destination to commit to keep objects.

    Args:
        destination: which has `commitment = true`.
        references: the objects that were stored there.
        calling_ae: own AE title, under which the peer knows the address to report to.
        transaction_uid: from `new_transaction_uid`, for a caller that must know it before the
            report can arrive; None for a new one.

    Returns:
        The transaction UID, which the report will name.

    Raises:
        DestinationError: it cannot be reached, or does not accept the request.
        MissingDependency: pynetdicom is not installed.
    """
    transaction = transaction_uid or new_transaction_uid()
    try:
        from pynetdicom.presentation import build_context
    except ImportError as error:
        raise MissingDependency("pynetdicom", "clinic", "storage commitment") from error
    name = destination.ae_title
    with associate(destination, calling_ae, [build_context(_PUSH_MODEL)]) as association:
        if _PUSH_MODEL not in {
            context.abstract_syntax for context in association.accepted_contexts
        }:
            raise DestinationError(f"{name} does not offer storage commitment")
        dataset = _request(transaction, references)
        try:
            answer, _ = association.send_n_action(dataset, _REQUEST, _PUSH_MODEL, _PUSH_INSTANCE)
        except (RuntimeError, ValueError) as error:  # the association has just ended
            raise DestinationError(f"{name}: not asked for commitment: {error}") from error
    status = answer.get("Status")
    if status != _SUCCESS:
        text = "no answer" if status is None else f"status 0x{status:04X}"
        raise DestinationError(f"{name} did not accept the request for commitment: {text}")
    return transaction


def accept_commitment(entity: AE) -> None:
    """Let a server accept the associations on which peers report."""
    # The peer that opens the association is the provider, so it asks for the roles to be swapped.
    entity.add_supported_context(_PUSH_MODEL, scu_role=True, scp_role=True)


def commitment_handler(callback: Callback, log: Log) -> Callable[[Event], tuple[int, None]]:
    """Make the handler of `evt.EVT_N_EVENT_REPORT` for a server, or for one association.

    The report is answered with success once `callback` has returned. Where it raises, the peer is
    told of a failure, so that it may report again.

    Args:
        callback: takes what is reported.
        log: takes a line for a report that cannot be read or filed, without what is in it.
    """

    def handle(event: Event) -> tuple[int, None]:
        if event.event_type not in _REPORTS:
            return _NO_SUCH_EVENT, None
        try:
            with quiet_pydicom():
                report = _read_report(event.event_information)
        except Exception as error:  # pydicom raises anything for a damaged data set
            log("commitment report cannot be read", reason=kind_and_place(error))
            return _INVALID, None
        try:
            callback(*report)
        except Exception as error:
            log("commitment report was not filed", reason=kind_and_place(error))
            return _PROCESSING_FAILURE, None
        return _SUCCESS, None

    return handle


def _request(transaction: str, references: Sequence[Reference]) -> Any:
    from pydicom.dataset import Dataset

    dataset = Dataset()
    dataset.TransactionUID = transaction
    dataset.ReferencedSOPSequence = []
    for reference in references:
        item = Dataset()
        item.ReferencedSOPClassUID = reference.sop_class_uid
        item.ReferencedSOPInstanceUID = reference.sop_instance_uid
        dataset.ReferencedSOPSequence.append(item)
    return dataset


def _read_report(information: Any) -> tuple[str, list[str], list[tuple[str, str]]]:
    transaction = str(information.TransactionUID)
    committed = [
        str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence", [])
    ]
    failed = [
        (str(item.ReferencedSOPInstanceUID), _failure(item.get("FailureReason")))
        for item in information.get("FailedSOPSequence", [])
    ]
    return transaction, committed, failed


def _failure(code: int | None) -> str:
    if code is None:
        return "no reason given"
    return _FAILURES.get(code, f"failure reason 0x{code:04X}")
