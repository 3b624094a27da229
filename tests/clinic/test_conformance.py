"""docs/use/conformance.md says what the program does, table by table."""

import json
import re
from pathlib import Path

import msgspec
import pynetdicom
import pytest
from pydicom import dcmread
from pydicom.charset import python_encoding
from pydicom.uid import UID

from orthoedge.clinic.destination import RESULT_KINDS
from orthoedge.clinic.receiver import guard, intake, pdus, server
from orthoedge.clinic.receiver.contexts import ANSWERED_CLASSES, contexts
from orthoedge.clinic.results import codes, make_result
from orthoedge.clinic.sending import commitment, store
from orthoedge.clinic.sending.dicom_file import FileIdentity
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.settings_file import read_settings
from orthoedge.clinic.spool.outbox import Outbox
from orthoedge.clinic.spool.spool import Spool
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.images import source
from tests.helpers.clinic.nodes import Lines, image, node_settings, receiver
from tests.helpers.clinic.nodes import store as send

DOCS = Path(__file__).parents[2] / "docs" / "use"
TEXT = (DOCS / "conformance.md").read_text("utf-8")
VERIFICATION, COMMITMENT = "1.2.840.10008.1.1", "1.2.840.10008.1.20.1"
WRITTEN_UNCOMPRESSED = ("1.2.840.10008.1.2.1", "1.2.840.10008.1.2")


def table(first):
    """The rows of the table whose first column has that name, without the marks of code."""
    pattern = rf"^\| {re.escape(first)} \|.*\n\| ---.*\n((?:\|.*\n)+)"
    (rows,) = re.findall(pattern, TEXT, re.MULTILINE)
    return [
        [cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows.splitlines()
    ]


def accepted(settings, spool):
    """The contexts of a receiver that listens."""
    running = server.make_server(settings, spool, Lines(), lambda event: (0, None))
    running.server_close()
    return {str(context.abstract_syntax): context for context in running.contexts}


@pytest.fixture
def listening(tmp_path):
    settings = node_settings(tmp_path)
    spool = Spool(settings.folder, settings.queue)
    yield accepted(settings, spool)
    spool.close()


def made(kind):
    return make_result(kind, source(), answer())


def test_the_overview_names_every_class_that_is_accepted_or_made(listening):
    rows = table("network service")
    for name, uid, *_ in rows:
        assert UID(uid).name.removesuffix(" SOP Class") == name
    provided = {uid for _, uid, _, role in rows if role == "yes"}
    assert provided == {VERIFICATION, *ANSWERED_CLASSES}
    assert provided | {COMMITMENT} == set(listening)
    assert listening[COMMITMENT].scu_role
    assert listening[COMMITMENT].scp_role
    makes = {uid for _, uid, user, _ in rows if "made by the node" in user}
    assert makes == {uid for _, _, uid, *_ in table("`results`")}
    others = {uid for _, uid, *_ in rows} - provided - makes
    assert others == {COMMITMENT}


def test_received_transfer_syntaxes_are_listed_in_their_order_of_preference(listening):
    rows = table("transfer syntax of received images")
    for name, uid in rows:
        assert UID(uid).name == name
    for storage in ANSWERED_CLASSES:
        assert [uid for _, uid in rows] == list(map(str, listening[storage].transfer_syntax))
    names = [UID(syntax).name for syntax in contexts()[0].transfer_syntax]
    assert f"For Verification: {', '.join(names)}." in " ".join(TEXT.split())


def test_results_are_of_the_class_modality_and_syntax_that_the_table_says():
    rows = table("`results`")
    assert [row[0] for row in rows] == list(RESULT_KINDS)
    for kind, name, sop_class, modality, syntax in rows:
        result = made(kind)
        assert (result.SOPClassUID, result.SOPClassUID.name) == (sop_class, name)
        assert result.Modality == modality
        assert result.file_meta.TransferSyntaxUID == syntax
        assert result.SpecificCharacterSet == "ISO_IR 192"
        identity = FileIdentity(sop_class, result.SOPInstanceUID, syntax)
        proposed = store._contexts([(Path("result.dcm"), identity)])
        assert all(len(context.transfer_syntax) == 1 for context in proposed)
        syntaxes = {str(context.transfer_syntax[0]) for context in proposed}
        assert syntaxes == {syntax, *WRITTEN_UNCOMPRESSED}


def test_attributes_of_results_are_those_of_annex_a():
    said = {row[0]: row[1] for row in table("attribute")}
    assert len(said) == 8
    for kind, *_ in table("`results`"):
        result = made(kind)
        for name, value in said.items():
            if tag := re.search(r"\((\w{4}),(\w{4})\)$", name):
                assert (int(tag[1], 16), int(tag[2], 16)) in result, name
                if value in ("RESEARCH", "orthoedge"):
                    assert result[int(tag[1], 16), int(tag[2], 16)].value == value
        assert "RESEARCH ONLY" in result.SeriesDescription
        assert result.SOPInstanceUID.startswith("2.25.")
        assert result.SeriesInstanceUID.startswith("2.25.")
        assert not any(element.tag.is_private for element in result.iterall())


def test_defaults_are_those_of_the_settings():
    settings = msgspec.to_builtins(NodeSettings(spool="/spool"))
    rows = {key: default for key, default, _ in table("configuration")}
    for key, default in rows.items():
        value = settings
        for part in key.split("."):
            value = value[part]
        assert json.loads(default) == (list(value) if isinstance(value, tuple) else value), key
    listed = {key.split(".")[1] for key in rows if key.startswith("receiver.")}
    assert listed == set(settings["receiver"]) - {"tls"}
    assert {f"sending.{key}" for key in settings["sending"]} <= set(rows)
    assert {f"queue.{key}" for key in settings["queue"]} <= set(rows)


def test_limits_of_associations_are_those_of_the_program():
    entity = pynetdicom.AE("ANY")
    said = dict(table("parameter"))
    assert said["maximum PDU length offered as acceptor"] == str(server._PDU)
    assert said["maximum PDU length offered as requestor"] == str(entity.maximum_pdu_size)
    assert said["largest PDU read"] == str(pdus.LARGEST_PDU)
    assert said["files sent over one association, at most"] == str(store._FILES)
    own = said["implementation class UID"], said["implementation version name"]
    if pynetdicom.__version__ == "3.0.4":
        assert own == (entity.implementation_class_uid, entity.implementation_version_name)


def test_one_request_for_commitment_has_as_many_references_as_the_table_says(tmp_path):
    said = int(dict(table("parameter"))["references in one request for commitment, at most"])
    settings = node_settings(tmp_path)
    spool = Spool(settings.folder, settings.queue)
    try:
        with spool.index.transaction() as connection:
            connection.execute(
                "INSERT INTO images (uid, file, bytes, sop_class, calling_ae, peer, received_at,"
                " state) VALUES ('1.2', 'f', 1, '', '', '', 0, 'answered')"
            )
            connection.executemany(
                "INSERT INTO objects (image, destination, kind, uid, sop_class, file, bytes,"
                " commitment, state) VALUES ('1.2', 'pacs', 'report', ?, '', 'f', 1, 1, 'sent')",
                [(f"1.{number}",) for number in range(said + 1)],
            )
        assert len(Outbox(spool, "pacs", settings.sending).uncommitted()) == said
    finally:
        spool.close()


def test_statuses_that_the_node_answers_are_listed():
    answered = {
        *(intake._SUCCESS, intake._PROCESSING_FAILURE),
        *(intake._INVALID_INSTANCE, intake._OUT_OF_RESOURCES),
        *(guard._OUT_OF_RESOURCES, guard._CANNOT_UNDERSTAND),
    }
    assert {int(row[0], 16) for row in table("status of C-STORE")} == answered
    reported = {
        *(commitment._SUCCESS, commitment._PROCESSING_FAILURE),
        *(commitment._NO_SUCH_EVENT, commitment._INVALID),
    }
    assert {int(row[0], 16) for row in table("status of N-EVENT-REPORT")} == reported


def test_every_status_of_a_peer_means_what_the_table_says():
    meanings = {"stored": "stored", "refused": "refused", "sent": "retry"}
    expected = dict.fromkeys(range(0x10000), "retry")
    for statuses, meaning in table("status of the peer"):
        state = meanings[re.match(r"\w+", meaning)[0]]
        for part in statuses.split(", "):
            ends = [int(end, 16) for end in part.split(" to ")]
            expected |= dict.fromkeys(range(ends[0], ends[-1] + 1), state)
    wrong = [f"0x{s:04X}" for s, state in expected.items() if store._meaning(s)[0] != state]
    assert not wrong


def test_character_sets_are_all_that_can_be_decoded():
    rows = [term for (cell,) in table("defined term") for term in cell.split(", ")]
    misspelt = {"", "ISO 2022 58", "ISO 2022 GBK"}  # pydicom reads these too
    assert set(rows) == set(python_encoding) - misspelt


def test_codes_are_those_of_the_program():
    labels = {row[0]: tuple(row[1:]) for row in table("label")}
    for label, coded in codes._LABELS.items():
        found = coded.finding
        assert labels.pop(label) == (found.value, found.scheme, found.meaning)
    assert not labels
    assert codes.label_code("another").finding.value.startswith("label-")
    private = {
        code.value: code.meaning
        for value in vars(codes).values()
        for code in (value.values() if isinstance(value, dict) else (value,))
        if isinstance(code, codes.Code) and code.scheme == codes.PRIVATE_SCHEME
    }
    assert dict(table("private code")) == private


def test_what_was_received_is_kept_as_it_came(tmp_path):
    settings = node_settings(tmp_path)
    sent = image(tmp_path, changes={0x00090010: ("LO", "MAKER"), 0x00091001: ("LO", b"private ")})
    with receiver(settings) as spool:
        assert send(settings, sent).Status == 0
        (kept,) = spool.images.iterdir()
        assert dcmread(kept) == dcmread(sent)


def test_the_settings_of_the_page_about_the_node_are_taken(tmp_path):
    page = (DOCS / "dicom-node.md").read_text("utf-8")
    first, *others = re.findall(r"^```toml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    file = tmp_path / "node.toml"
    file.write_text(first)
    minimal = read_settings(file)
    assert set(minimal.destinations) == {"archive"}
    assert len(others) == 3
    for more in others:
        file.write_text(f"{first}\n{more}")
        assert read_settings(file) != minimal
    retention = msgspec.to_builtins(minimal.retention)
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", page, re.M)
    assert {key: float(value) for key, value in rows} == retention
