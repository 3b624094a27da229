"""Many images from several senders at once, each of them dcmtk's storescu."""

import shutil
import subprocess
import time
from pathlib import Path

from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.programs import require

SENDERS = 8
_UID = "1.2.826.0.1.3680043.8.498.99999999"


def write_images(folder, count, template=None):
    """Write images that differ in their UID into one folder for each sender; the UIDs."""
    template = template or image_file({0x00080018: ("UI", _UID)})
    shutil.rmtree(folder, ignore_errors=True)
    uids = []
    for number in range(count):
        uid = f"{_UID[:-8]}{number:08}"
        place = folder / str(number % SENDERS)
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{uid}.dcm").write_bytes(template.replace(_UID.encode(), uid.encode()))
        uids.append(uid)
    return uids


def send_at_once(folder, port, title):
    """Send each folder over an association of its own; seconds, and how many senders failed."""
    began = time.monotonic()
    command = [require("storescu"), "-to", "60", "-aec", title, "+sd", "127.0.0.1", str(port)]
    senders = [
        subprocess.Popen([*command, place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for place in sorted(folder.iterdir())
    ]
    failed = sum(sender.wait(600) != 0 for sender in senders)
    return time.monotonic() - began, failed


def memory_mb(pid):
    """Resident memory of a process now and at its peak, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
