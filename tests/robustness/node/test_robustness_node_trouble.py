"""The node loses and doubles nothing where its disk is full, or an archive is in trouble.

`ORTHOEDGE_NODE_FILLS` and `ORTHOEDGE_NODE_FAULTS` change how many fillings of the disk and how many
connections with a fault there are.
"""

import contextlib
import os
import random
import subprocess
import time

import pytest

from orthoedge.runtime.subprocesses import code_command
from tests.helpers.clinic.campaign.proxy import proxy
from tests.helpers.clinic.campaign.units import (
    OBJECTS,
    Archive,
    Unit,
    is_all_sent,
    settings_text,
    write_settings,
)
from tests.helpers.clinic.nodes import eventually, node_settings
from tests.helpers.clinic.peers import server, wait_for_port

pytestmark = pytest.mark.slow

FILLS = int(os.environ.get("ORTHOEDGE_NODE_FILLS", "100"))
FAULTS = int(os.environ.get("ORTHOEDGE_NODE_FAULTS", "100"))
PATIENCE_S = 1200
_NODE = "from orthoedge.cli.main import main\nsys.exit(main(sys.argv[1:]))"


@contextlib.contextmanager
def node(file, settings):
    """A whole node; its log."""
    with (file.parent / "node.log").open("wb") as log:
        command = [*code_command(_NODE), "node", "serve", str(file)]
        process = subprocess.Popen(command, stderr=log)
        try:
            wait_for_port(settings.receiver.port)
            yield file.parent / "node.log"
        finally:
            process.terminate()
            process.wait(120)


@contextlib.contextmanager
def small_disk(folder, mib):
    """A file system of some MiB."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a small disk can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(ballast, left):
    """Fill the disk but for some bytes."""
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, max(0, ballast.stat().st_size - left))


def count(archive, unit, settings):
    """What arrived, and what should have; once everything is sent."""
    expected = OBJECTS * len(unit.stored)
    eventually(lambda: is_all_sent(settings, len(unit.stored)), patience=PATIENCE_S)
    assert all(len(contents) == 1 for contents in archive.contents.values())
    assert set(unit.stored) <= set(archive.times)
    assert not list((settings.folder / "dead").iterdir())
    repeats = sum(archive.times.values()) - len(archive.times)
    note = f"objects of {len(unit.stored)} images; {unit.failures} sendings by the unit failed, "
    return len(archive.times), expected, f"{note}{repeats} objects came again with the same bytes"


def test_a_full_disk_loses_and_doubles_nothing(tmp_path, small_bundle, tally):
    archive, rng = Archive(), random.Random(4)
    (sent := tmp_path / "sent").mkdir()
    with small_disk(tmp_path / "disk", 64) as disk, server(store=archive.keep) as port:
        settings = node_settings(disk)
        file = write_settings(tmp_path, settings, settings_text(small_bundle, port))
        unit = Unit(settings, sent, most_waiting=3)
        with node(file, settings) as log:
            unit.start()
            for _ in range(FILLS):
                time.sleep(rng.uniform(0, 1.5))
                # Less than an image and its results take, or next to nothing.
                fill(disk / "ballast", int(10 ** rng.uniform(2, 5)))
                time.sleep(rng.uniform(0, 1.5))
                (disk / "ballast").unlink()
            unit.finish()
            done, expected, note = count(archive, unit, settings)
        refused = log.read_text().count("0xA700")
    note = f"{note}; 0xA700 was answered {refused} times on a disk that was filled {FILLS} times"
    tally("a full disk costs no object", done, expected, note)


def test_an_archive_in_trouble_gets_every_object(tmp_path, small_bundle, tally):
    archive, settings = Archive(), node_settings(tmp_path)
    (sent := tmp_path / "sent").mkdir()
    with server(store=archive.keep) as port, proxy(port, FAULTS) as line:
        file = write_settings(tmp_path, settings, settings_text(small_bundle, line.port))
        unit = Unit(settings, sent, most_waiting=3)
        with node(file, settings):
            unit.start()
            # Half of the faults last until a time limit of three seconds.
            eventually(lambda: line.is_clean, patience=PATIENCE_S + 10 * FAULTS)
            unit.finish()
            done, expected, note = count(archive, unit, settings)
    faults = ", ".join(f"{fault} {number}" for fault, number in line.met.items())
    tally("an archive in trouble gets every object", done, expected, f"{note}; {faults}")
