"""What a share of an archive costs beside its radiographs, for the simulation of archives.md.

`python -m tests.helpers.archives.costs FOLDER` writes parts in FOLDER, which is on the disk of the
store, and runs a Dask scheduler with two workers that answer at once.
"""

import statistics
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from orthoedge.clinic.archive import cluster as module
from orthoedge.clinic.archive.cluster import ClusterWorkers
from orthoedge.clinic.archive.inputs.sources import ArchiveInput
from orthoedge.clinic.archive.plan import Plan
from orthoedge.clinic.archive.rows import ArchiveRow
from orthoedge.clinic.archive.worker import ShareResult
from orthoedge.runtime import read_bundle
from orthoedge.runtime.bundles.bundle import bundle_path
from orthoedge.runtime.finding import Provenance, Timing
from tests.helpers.archives.dask import cluster
from tests.helpers.archives.rows import record_of, settings_of

IMAGES = 256
PARTS = 40
SHARES = 1500


def rows(number):
    """Rows of one share, none like those of another."""
    probabilities = {"fracture": 0.7, "non-affected": 0.2, "benign": 0.05, "malignant": 0.05}
    return [
        ArchiveRow(
            input=f"/srv/archive/2026/12/{number:05}/{image:05}.dcm",
            source="2026",
            truth=None,
            label="fracture",
            probabilities={key: value + image / 1e6 for key, value in probabilities.items()},
            label_set=("fracture",),
            decision="report",
            out_of_distribution=1.0 + image / 7,
            height=2500,
            width=2048,
            pixels_sha256=f"{number * 1000 + image:064x}",
            file_sha256=f"{number * 1000 + image:064x}",
            provenance=Provenance("b", "1", "0" * 64, "openvino", "1", "int8", "avx2", 1, ""),
            host="node",
            finished_at=datetime.now(timezone.utc),
            timing_ms=Timing(1.0, 1.0, 1.0, 1.0),
        )
        for image in range(IMAGES)
    ]


def part_cost(settings, record):
    """Median seconds of one part, and the bytes of a row."""
    seconds = []
    with settings.store.opened(record) as token:
        for number in range(PARTS):
            share = rows(number)
            start = time.perf_counter()
            settings.store.write_part(share, token)
            seconds.append(time.perf_counter() - start)
    sizes = [part.stat().st_size for part in settings.store.parts()]
    return statistics.median(seconds), statistics.mean(sizes) / IMAGES


def nothing(settings, share):
    """A share that is done at once."""
    return ShareResult(len(share), 0)


def share_costs(settings, folder):
    """Seconds of the processor for one share: of the scheduler, and of the command."""
    names = (f"/srv/archive/2026/12/{n:09}.dcm" for n in range(SHARES * IMAGES))
    plan = Plan(ArchiveInput(name.encode(), "2026") for name in names)
    module.run_share = nothing
    with cluster(folder) as running:
        for name in ("first", "second"):
            running.start_worker(name)
        workers = ClusterWorkers(settings, running.address)
        while workers.workers() < 2:
            workers.wait()
        before, start = cpu_s(running.pid("scheduler")), time.process_time()
        shares, ended = plan.shares(IMAGES), 0
        while ended < SHARES:
            while workers.room() > 0 and (share := next(shares, None)):
                workers.submit(share)
            ended += len(workers.wait())
        command = time.process_time() - start
        scheduler = cpu_s(running.pid("scheduler")) - before
        workers.close()
    return scheduler / SHARES, command / SHARES


def cpu_s(pid):
    """Seconds of the processor that a process and its threads have used."""
    nanoseconds = (int(file.read_text().split()[0]) for file in tasks(pid))
    return sum(nanoseconds) / 1e9


def tasks(pid):
    return Path(f"/proc/{pid}/task").glob("*/schedstat")


def main():
    with tempfile.TemporaryDirectory(dir=sys.argv[1]) as folder:
        bundle = read_bundle(bundle_path())
        settings = settings_of(bundle, Path(folder) / "store")
        part, row = part_cost(settings, record_of(bundle))
        scheduler, command = share_costs(settings, Path(folder))
    print(f"PART_S = {part:.4f}, {row:.0f} bytes a row")
    print(f"SCHEDULER_S = {scheduler:.4f}")
    print(f"COMMAND_S = {command:.4f}")


if __name__ == "__main__":
    main()
