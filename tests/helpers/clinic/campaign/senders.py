"""Many images from several senders at once, each of them dcmtk's storescu."""

import subprocess
import time
from pathlib import Path

from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.nodes import UID
from tests.helpers.clinic.programs import require

SENDERS = 8
_NUMBER = "99999999"
_ROOT = "1.2.826.0.1.3680043.8.498."


def write_images(folder, first, count, size=0):
    """Write images that differ in their UID into one folder for each sender; their UIDs.

    An element of `size` bytes makes them as large as those of a unit.
    """
    template = image_file({UID: ("UI", _ROOT + _NUMBER), 0x00091001: ("OB", bytes(size))})
    uids = []
    for number in range(first, first + count):
        digits = str(10_000_000 + number)
        place = folder / str(number % SENDERS)
        place.mkdir(parents=True, exist_ok=True)
        content = template.replace(_NUMBER.encode(), digits.encode())
        (place / f"{digits}.dcm").write_bytes(content)
        uids.append(_ROOT + digits)
    return uids


def send_at_once(folder, port, title):
    """Send each folder over an association of its own; seconds, and what senders said that failed.

    One that fails sends its folder again, as units do.
    """
    command = [require("storescu"), "-to", "60", "-aec", title, "+sd", "127.0.0.1", str(port)]
    began, failures = time.monotonic(), []
    waiting = sorted(folder.iterdir())
    while waiting:
        started = [
            (place, subprocess.Popen([*command, place], stdout=-1, stderr=-2)) for place in waiting
        ]
        waiting = []
        for place, sender in started:
            output, _ = sender.communicate(timeout=1200)
            if sender.returncode != 0:
                failures.append(output.decode("utf-8", "replace")[-500:])
                waiting.append(place)
        assert len(failures) < 100, failures[-1]
    return time.monotonic() - began, failures


def memory_mb(pid):
    """Resident memory of a process now and at its peak, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return tuple(int(fields[name].split()[0]) / 1024 for name in ("VmRSS", "VmHWM"))
