"""What the clinic's server takes: `python -m tests.helpers.clinic.page.memory [--bundle B]`.

Prints the memory of the server at rest, with its engine open, after radiographs of 3000×2500
pixels, and after ten more seconds. Pages that both processes share count once, and pages that other
programs share count too, as on a machine that runs nothing else. Needs root, for /proc/PID/pagemap.
The figures in docs/use/clinic.md are printed by it.
"""

import re
import struct
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from tests.helpers.clinic.page.served import large, served

_PAGE = 4096
_MIB = 2**20


def pages(process):
    """Numbers of the frames that a process has in memory."""
    frames = set()
    with Path(f"/proc/{process}/pagemap").open("rb", buffering=0) as table:
        for line in Path(f"/proc/{process}/maps").read_text().splitlines():
            start, end = (int(part, 16) for part in re.match(r"(\w+)-(\w+)", line).groups())
            if start >= 2**63:  # of the kernel
                continue
            table.seek(start // _PAGE * 8)
            entries = table.read((end - start) // _PAGE * 8)
            frames |= {e & (2**55 - 1) for (e,) in struct.iter_unpack("<Q", entries) if e >> 63}
    return frames


def children(process):
    """Numbers of the processes that a process has started."""
    tasks = Path(f"/proc/{process}/task").glob("*/children")
    return [int(one) for task in tasks for one in task.read_text().split()]


def show(what, server):
    """Print the memory of the server and of its engine."""
    sets = [pages(one) for one in (server, *children(server))]
    each = ", ".join(f"{len(one) * _PAGE / _MIB:.0f}" for one in sets)
    print(f"{what}: {len(set().union(*sets)) * _PAGE / _MIB:.0f} MB in all ({each})", flush=True)


def main(options):
    """Print the figures."""
    with (
        tempfile.TemporaryDirectory() as base,
        served(f"{base}/history", "--port", "8498", *options) as (process, address),
    ):
        api = f"{address}api/v1"
        time.sleep(1)
        show("at rest", process.pid)
        request = urllib.request.Request(
            f"{api}/session", headers={"Sec-Fetch-Site": "same-origin"}
        )
        urllib.request.urlopen(request).read()
        while not children(process.pid):
            time.sleep(0.1)
        time.sleep(5)
        show("engine open", process.pid)
        for number in range(1, 6):
            file = urllib.request.Request(f"{api}/findings", large(number), method="POST")
            urllib.request.urlopen(file).read()
            urllib.request.urlopen(f"{api}/findings/{number}").read()
            urllib.request.urlopen(f"{api}/findings/{number}/pixels?side=600").read()
        show("after five radiographs", process.pid)
        time.sleep(10)
        show("ten seconds later", process.pid)


if __name__ == "__main__":
    main(sys.argv[1:])
