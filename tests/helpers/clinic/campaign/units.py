"""A unit that sends images to a node for as long as a test runs, and an archive that counts."""

import collections
import contextlib
import hashlib
import itertools
import shutil
import sqlite3
import subprocess
import threading
import time

from orthoedge.clinic.spool.spool import Spool
from orthoedge.clinic.spool.status import count_states
from tests.helpers.clinic.nodes import image, store
from tests.helpers.clinic.peers import TITLE

OBJECTS = 3
"""Of an image: itself, picture and report."""


class Archive:
    """What a destination was sent: content by UID, and how often."""

    def __init__(self):
        self.contents = collections.defaultdict(set)
        self.times = collections.Counter()

    def keep(self, event):
        uid = str(event.request.AffectedSOPInstanceUID)
        self.contents[uid].add(hashlib.sha256(event.request.DataSet.getvalue()).hexdigest())
        self.times[uid] += 1
        return 0


class Unit(threading.Thread):
    """Sends images one after another, each until the node says that it has it.

    Args:
        settings: of the node.
        folder: for the images.
        most_waiting: images without an answer, with which it waits for the worker.
    """

    def __init__(self, settings, folder, most_waiting=1000):
        super().__init__(daemon=True)
        self._settings = settings
        self._folder = folder
        self._most_waiting = most_waiting
        self._end = threading.Event()
        self.stored = []
        self.failures = 0

    def run(self):
        for number in itertools.count(1):
            file = image(self._folder, f"1.2.{number}")
            # By two implementations in turn, where there are two.
            send = self._by_storescu if number % 2 and shutil.which("storescu") else self._by_us
            while not send(file):
                self.failures += 1
                time.sleep(0.1)
            self.stored.append(file.stem)
            file.unlink()
            while not self._end.wait(0.1) and self._waiting() > self._most_waiting:
                continue
            if self._end.is_set():
                return

    def _waiting(self):
        place = f"file:{self._settings.folder}/index.sqlite?mode=ro"
        with contextlib.closing(sqlite3.connect(place, uri=True)) as index:
            query = "SELECT COUNT(*) FROM images WHERE state = 'received'"
            return index.execute(query).fetchone()[0]

    def _by_storescu(self, file):
        port = str(self._settings.receiver.port)
        command = ["storescu", "-to", "60", "-aec", self._settings.ae_title, "127.0.0.1", port]
        sent = subprocess.run([*command, str(file)], capture_output=True, timeout=300)
        return sent.returncode == 0

    def _by_us(self, file):
        return is_stored(self._settings, file)

    def finish(self):
        self._end.set()
        self.join(1200)
        assert not self.is_alive()


def is_stored(settings, file, tls=None):
    with contextlib.suppress(AssertionError, RuntimeError, ValueError):  # no association
        return store(settings, file, tls=tls).get("Status") == 0
    return False


def write_settings(folder, settings, more=""):
    tls = settings.receiver.tls
    paths = {"certificate": tls.certificate, "key": tls.key, "ca": tls.ca} if tls else {}
    receiver = f'[receiver]\nhost = "127.0.0.1"\nport = {settings.receiver.port}\n'
    if paths:
        receiver += "[receiver.tls]\n" + "".join(f'{k} = "{v}"\n' for k, v in paths.items())
    file = folder / "node.toml"
    file.write_text(f'spool = "{settings.spool}"\n{receiver}[queue]\nmin_free_mb = 1\n{more}')
    return file


def is_all_sent(settings, count):
    spool = Spool(settings.folder, settings.queue)
    try:
        found = {(each.what, each.state): each.count for each in count_states(spool)}
    finally:
        spool.close()
    return found == {("image", "sent"): count, ("pacs", "sent"): OBJECTS * count}


def settings_text(bundle, port, more=""):
    """Engine and archive of a node whose every wait is short."""
    return (
        f'[engine]\nbundle = "{bundle.path}"\ntarget = "portable"\nthreads = 1\n{more}'
        "[sending]\nretry_s = 0.1\nlongest_retry_s = 1\n"
        f'[destinations.pacs]\nkind = "dicom"\nhost = "127.0.0.1"\nport = {port}\n'
        f'ae_title = "{TITLE}"\nforward_original = true\ntimeout_s = 3\n'
    )
