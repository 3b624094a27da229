"""A folder as destination."""

import pytest

from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending import DestinationError, echo, send
from tests.helpers.clinic.peers import result_file


def test_each_object_becomes_a_file_of_its_uid(tmp_path):
    files = [result_file(tmp_path, kind) for kind in ("report", "picture")]
    target = Destination(kind="folder", path=str(tmp_path / "new" / "results"))
    for _ in range(2):  # a repeat changes nothing
        outcomes = send(target, files, "ORTHOEDGE")
        assert [outcome.state for outcome in outcomes] == ["stored", "stored"]
    copies = {f"{outcome.sop_instance_uid}.dcm": outcome.file for outcome in outcomes}
    written = list((tmp_path / "new" / "results").iterdir())
    assert {file.name for file in written} == set(copies)
    assert all(file.read_bytes() == copies[file.name].read_bytes() for file in written)


def test_a_full_disk_means_a_retry_and_leaves_nothing(tmp_path, small_files):
    file = result_file(tmp_path, "picture")
    target = Destination(kind="folder", path=str(tmp_path / "results"))
    with small_files(1000):
        (outcome,) = send(target, [file], "ORTHOEDGE")
    assert outcome.state == "retry"
    assert list((tmp_path / "results").iterdir()) == []


def test_echo_checks_that_the_folder_can_be_written(tmp_path, without_root):
    target = Destination(kind="folder", path=str(tmp_path / "results"))
    echo(target, "ORTHOEDGE")
    (tmp_path / "results").chmod(0o500)
    with without_root(), pytest.raises(DestinationError, match="Permission denied"):
        echo(target, "ORTHOEDGE")


def test_a_file_that_is_gone_is_refused_and_one_that_cannot_be_read_is_tried_again(
    tmp_path, without_root
):
    locked = result_file(tmp_path, "report")
    locked.chmod(0)
    target = Destination(kind="folder", path=str(tmp_path / "results"))
    with without_root():
        outcomes = send(target, [tmp_path / "absent.dcm", locked], "ORTHOEDGE")
    assert [outcome.state for outcome in outcomes] == ["refused", "retry"]
    assert "Permission denied" in outcomes[1].reason
