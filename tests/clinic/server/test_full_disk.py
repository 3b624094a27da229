"""A full disk is a sentence of its own for each request that writes, and damages nothing."""

import os
import shutil
import subprocess
import time

import pytest

from orthoedge.clinic.history.backup import check_history
from orthoedge.clinic.server.api.errors import ERRORS
from orthoedge.clinic.words import catalogue
from tests.helpers.clinic.pages import PATIENCE_S, SAMPLES, clinic_server, clinic_settings

KIB = 1024
FIRST, SECOND = (sample.read_bytes() for sample in SAMPLES[:2])


@pytest.fixture
def disk(tmp_path):
    """A disk of its own of 12 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", place]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a disk of its own")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def clinic(disk):
    with clinic_server(clinic_settings(disk / "history", backup=str(disk / "backup"))) as client:
        assert client.post("/findings?name=first.jpg", FIRST).status == 201
        pixels = disk / "history/pixels"
        end = time.monotonic() + PATIENCE_S
        while list(
            pixels.glob("*/*.raw")
        ):  # until they are compressed, which frees some of the disk
            assert time.monotonic() < end
            time.sleep(0.02)
        yield client


def fill(disk, left):
    """Fill a disk until so many bytes are free."""
    with (disk / "filler").open("wb") as filler:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        filler.write(bytes(max(0, free - left)))


REQUESTS = {
    "a file": lambda clinic: clinic.post("/findings?name=second.jpg", SECOND),
    "an opinion": lambda clinic: clinic.post("/findings/1/opinion", {"agrees": True}),
    "a look": lambda clinic: clinic.get("/findings/1"),
    "an export": lambda clinic: clinic.get("/opinions.csv"),
    "a deletion": lambda clinic: clinic.delete("/findings/1"),
    "a backup": lambda clinic: clinic.post("/backup"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_each_request_that_writes_says_that_the_disk_is_full_and_works_once_it_is_not(
    disk, clinic, name
):
    fill(disk, 0)
    for _ in range(40):  # what the log of changes has room for is still written
        reply = REQUESTS[name](clinic)
        if reply.status >= 400 or name == "a deletion":
            break
    if reply.status < 400:
        pytest.skip("the log of changes had room for all of it")
    assert (reply.status, reply.json["id"]) == (ERRORS["error.disk_full"], "error.disk_full")
    assert reply.json["error"] == catalogue("en").text("error.disk_full")
    assert clinic.get("/findings").json["findings"][-1]["number"] == 1

    (disk / "filler").unlink()
    assert REQUESTS[name](clinic).status < 300
    assert check_history(clinic.state.history) == ()
    assert list((disk / "history/incoming").iterdir()) == []


@pytest.mark.parametrize("left", [0, 16 * KIB, 100 * KIB, 250 * KIB])
def test_a_disk_that_fills_at_any_step_of_a_file_says_so(disk, clinic, left):
    fill(disk, left)
    reply = clinic.post("/findings?name=second.jpg", SECOND)
    assert (reply.status, reply.json["id"]) == (507, "error.disk_full"), reply.content
    (disk / "filler").unlink()
    assert clinic.post("/findings?name=second.jpg", SECOND).status == 201
    assert check_history(clinic.state.history) == ()
    assert [one["failure"] for one in clinic.get("/findings").json["findings"]] == ["", ""]
