"""Storage commitment with a peer that reports on a new association, as archives do."""

import queue
from types import SimpleNamespace

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import AE, evt
from pynetdicom.presentation import build_role
from pynetdicom.sop_class import StorageCommitmentPushModel as Push
from pynetdicom.sop_class import StorageCommitmentPushModelInstance as PushInstance

from orthoedge.clinic.sending import (
    DestinationError,
    Reference,
    accept_commitment,
    commitment_handler,
    new_transaction_uid,
    request_commitment,
)
from tests.helpers.clinic.nodes import Lines
from tests.helpers.clinic.peers import destination, free_port, server

REFERENCES = [Reference("1.2.840.10008.5.1.4.1.1.7", f"1.2.3.{number}") for number in (1, 2)]


@pytest.fixture
def node():
    """The port of a node that takes reports, and a queue of what its callback was called with."""
    reports = queue.Queue()
    entity = AE("ORTHOEDGE")
    accept_commitment(entity)
    handler = commitment_handler(lambda *report: reports.put(report), Lines())
    running = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, handler)]
    )
    yield running.socket.getsockname()[1], reports
    running.shutdown()


def report(port, transaction, committed, failed=()):
    """Report as an archive does; the status that it is answered with."""
    information = Dataset()
    information.TransactionUID = transaction
    for keyword, references in (
        ("ReferencedSOPSequence", committed),
        ("FailedSOPSequence", failed),
    ):
        items = []
        for reference in references:
            item = Dataset()
            item.ReferencedSOPClassUID = reference.sop_class_uid
            item.ReferencedSOPInstanceUID = reference.sop_instance_uid
            if keyword.startswith("Failed"):
                item.FailureReason = 0x0112
            items.append(item)
        if items:
            setattr(information, keyword, items)
    entity = AE("ARCHIVE")
    entity.add_requested_context(Push)
    association = entity.associate(
        "127.0.0.1", port, ext_neg=[build_role(Push, scp_role=True)], ae_title="ORTHOEDGE"
    )
    assert association.is_established
    status, _ = association.send_n_event_report(information, 2 if failed else 1, Push, PushInstance)
    association.release()
    return status.Status


def archive(requests):
    def act(event):
        requests.put(event.action_information)
        return 0, None

    def offer(entity):
        entity.add_supported_context(Push)

    return server(handlers=[(evt.EVT_N_ACTION, act)], prepare=offer)


def test_a_request_names_every_object_and_its_report_comes_back(node):
    port, reports = node
    requests = queue.Queue()
    with archive(requests) as archive_port:
        transaction = request_commitment(destination(archive_port), REFERENCES, "ORTHOEDGE")
    request = requests.get(timeout=30)
    assert request.TransactionUID == transaction
    named = [item.ReferencedSOPInstanceUID for item in request.ReferencedSOPSequence]
    assert named == ["1.2.3.1", "1.2.3.2"]
    assert report(port, transaction, REFERENCES) == 0
    assert reports.get(timeout=30) == (transaction, ["1.2.3.1", "1.2.3.2"], [])


def test_what_is_not_committed_is_reported_with_its_reason(node):
    port, reports = node
    assert report(port, "1.2.9", REFERENCES[:1], REFERENCES[1:]) == 0
    assert reports.get(timeout=30) == (
        "1.2.9",
        ["1.2.3.1"],
        [("1.2.3.2", "no such object instance")],
    )


def event(information, event_type=1):
    return SimpleNamespace(event_type=event_type, event_information=information)


def test_a_report_that_could_not_be_filed_is_answered_with_a_failure(capfd):
    def fail(*_):
        raise OSError("disk full of Doe^Jane")

    lines = Lines()
    information = Dataset()
    information.TransactionUID = "1.2.9"
    assert commitment_handler(fail, lines)(event(information)) == (0x0110, None)
    assert lines.events() == ["commitment report was not filed"]
    assert "Doe" not in str(lines.lines)
    assert capfd.readouterr() == ("", "")


def damaged(element):
    """A report with an element whose value cannot be read, as it was received."""
    tag, vr, value = element
    information = Dataset()
    information.TransactionUID = "1.2.9"
    information[tag] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    return information


@pytest.mark.parametrize(
    "information",
    [
        Dataset(),
        damaged((0x00081199, "UI", b"Doe^Jane")),  # no sequence
        damaged((0x00081198, "SQ", b"Doe^Jane")),
        damaged((0x00081195, "FD", b"Doe^Jan")),
        None,
    ],
    ids=["empty", "no sequence", "broken sequence", "no UID", "none"],
)
def test_a_damaged_report_is_a_line_of_the_log_without_what_is_in_it(information, capfd, caplog):
    called, lines = [], Lines()
    handler = commitment_handler(lambda *report: called.append(report), lines)
    assert handler(event(information)) == (0x0115, None)
    assert called == []
    assert lines.events() == ["commitment report cannot be read"]
    assert "Doe" not in str(lines.lines)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize(("event_type", "status"), [(1, 0x0115), (7, 0x0113)])
def test_a_report_without_a_transaction_or_of_another_kind_is_answered_so(event_type, status):
    called = []
    handler = commitment_handler(lambda *report: called.append(report), Lines())
    assert handler(event(Dataset(), event_type)) == (status, None)
    assert called == []


def test_the_caller_can_choose_the_transaction_before_the_report_can_arrive():
    chosen = new_transaction_uid()
    with archive(queue.Queue()) as port:
        asked = request_commitment(
            destination(port), REFERENCES, "ORTHOEDGE", transaction_uid=chosen
        )
    assert asked == chosen


def test_a_peer_that_offers_no_commitment_or_is_down_is_an_error():
    with server() as port, pytest.raises(DestinationError, match="does not offer"):
        request_commitment(destination(port), REFERENCES, "ORTHOEDGE")
    with pytest.raises(DestinationError):
        request_commitment(destination(free_port()), REFERENCES, "ORTHOEDGE")


def test_a_request_that_is_refused_is_an_error():
    def offer(entity):
        entity.add_supported_context(Push)

    handlers = [(evt.EVT_N_ACTION, lambda event: (0x0110, None))]
    with (
        server(handlers=handlers, prepare=offer) as port,
        pytest.raises(DestinationError, match="0x0110"),
    ):
        request_commitment(destination(port), REFERENCES, "ORTHOEDGE")
