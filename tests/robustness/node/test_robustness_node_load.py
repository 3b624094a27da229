"""The receiver loses and doubles nothing under load, and its memory does not grow with it.

`ORTHOEDGE_NODE_IMAGES` changes how many images there are, `ORTHOEDGE_NODE_IMAGE_MB` their size. The
node syncs each image to the disk before it says that it has it, and storescp none. So storescp's
rate is printed twice: until its last answer, and until its files are synced too.
"""

import os
import shutil
import time

import pytest

from orthoedge.clinic.settings import QueueSettings
from orthoedge.clinic.spool.spool import Spool
from tests.helpers.clinic.campaign.processes import processes
from tests.helpers.clinic.campaign.senders import SENDERS, memory_mb, send_at_once, write_images
from tests.helpers.clinic.nodes import node_settings, states
from tests.helpers.clinic.peers import TITLE, storescp, wait_for_port

pytestmark = pytest.mark.slow

IMAGES = int(os.environ.get("ORTHOEDGE_NODE_IMAGES", "10000"))
SIZE = int(1e6 * float(os.environ.get("ORTHOEDGE_NODE_IMAGE_MB", "0"))) // 2 * 2
BLOCKS = 5  # node and storescp take turns, so that what else the machine does meets both


def test_every_image_of_many_senders_is_kept_once(tmp_path, tally):
    queue = QueueSettings(min_free_mb=1, max_images=2 * IMAGES)
    settings = node_settings(tmp_path, queue=queue)
    file = tmp_path / "node.toml"
    file.write_text(
        f'spool = "{settings.spool}"\n[receiver]\nhost = "127.0.0.1"\n'
        f"port = {settings.receiver.port}\n[queue]\nmin_free_mb = 1\nmax_images = {2 * IMAGES}\n"
    )
    archive, sent, uids = tmp_path / "archive", tmp_path / "sent", []
    archive.mkdir()
    ours, theirs, synced, failures, memory = 0.0, 0.0, 0.0, 0, []
    with processes(file, ["receiver"]) as running, storescp(archive, "--fork") as port:
        wait_for_port(settings.receiver.port)
        for block in range(BLOCKS):
            uids += write_images(sent, block * IMAGES // BLOCKS, IMAGES // BLOCKS, SIZE)
            os.sync()
            seconds, failed = send_at_once(sent, settings.receiver.port, settings.ae_title)
            print(*failed, sep="\n")
            ours += seconds
            failures += len(failed)
            theirs += send_at_once(sent, port, TITLE)[0]
            synced += sync_files(archive)
            memory.append(memory_mb(running["receiver"].pid))
            shutil.rmtree(sent)
    spool = Spool(settings.folder, queue)
    kept, files = states(spool)[0], list(spool.images.iterdir())
    spool.close()
    assert len(files) == len(kept)
    assert set(kept) <= set(uids)
    note = f"images of {SENDERS} senders, {failures} sendings of them failed and were repeated; "
    rate, until_answered, until_synced = (len(uids) / s for s in (ours, theirs, theirs + synced))
    note += f"{rate:.0f} images a second, storescp {until_answered:.0f} "
    note += f"(ratio {rate / until_answered:.2f}), {until_synced:.0f} until its files are synced "
    note += f"(ratio {rate / until_synced:.2f}); receiver {memory[0][0]:.0f} MiB after a fifth, "
    note += f"{memory[-1][0]:.0f} at the end, peak {memory[-1][1]:.0f}"
    tally("every image that is sent is kept once", len(kept), len(uids), note)


def sync_files(folder):
    """Write the files of a folder to the disk and remove them; seconds without the removal."""
    began = time.monotonic()
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    seconds = time.monotonic() - began
    for path in folder.iterdir():
        path.unlink()
    return seconds
