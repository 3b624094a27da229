"""Pictures, settings and rows of an archive."""

import dataclasses

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from orthoedge.clinic.archive.local import LocalWorkers
from orthoedge.clinic.archive.outcome import Outcome
from orthoedge.clinic.archive.rows import RunRecord, arrow_schema
from orthoedge.clinic.archive.run import run_archive
from orthoedge.clinic.archive.store import Store
from orthoedge.clinic.archive.worker import WorkerSettings, run_share
from orthoedge.runtime.settings import BundleTrust

VARYING = ("finished_at", "timing_ms")
"""Columns that hold times."""


def write_pictures(folder, count, start=0):
    """That many PNG files, no two of them alike, in folders of a hundred."""
    for number in range(start, start + count):
        rng = np.random.default_rng(number)
        picture = cv2.resize(rng.integers(0, 256, (6, 5), dtype=np.uint8), (50, 60))
        path = folder / f"{number // 100:03}" / f"{number:06}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), picture)


def record_of(of, /, **changes):
    manifest = of.manifest
    fields = {
        "bundle": manifest.name,
        "bundle_version": manifest.version,
        "bundle_sha256": of.sha256,
        "labels": manifest.labels,
        "intended_use": manifest.intended_use,
        "target": "portable",
        "precision": "fp32",
        "threads": 1,
    }
    return RunRecord(**{**fields, **changes})


def settings_of(bundle, root, **changes):
    settings = WorkerSettings(
        store=Store.of_bundle(root, bundle.sha256),
        token="",
        bundle=bundle.path,
        bundle_sha256=bundle.sha256,
        trust=BundleTrust(),
        target="portable",
        precision="fp32",
        threads=1,
        cache=None,
        isolate=False,
        time_s=10,
        memory_mb=512,
        read_ahead_bytes=2**20,
        authorization=None,
        maps=False,
    )
    return dataclasses.replace(settings, **changes)


class Silent:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.notes = []

    def progress(self, progress):
        self.last = progress.line()

    def note(self, line):
        self.notes.append(line)


class Here:
    """Workers in this process, of which some shares are said to have died."""

    def __init__(self, settings, *, dies=lambda share: False):
        self._settings, self._dies = settings, dies
        self._waiting = []
        self.notes = []
        self.shares = []

    def workers(self):
        return 1

    def room(self):
        return 2 - len(self._waiting)

    def submit(self, share):
        self._waiting.append(share)

    def wait(self):
        share = self._waiting.pop(0)
        self.shares.append(share)
        return [Outcome(share, None if self._dies(share) else run_share(self._settings, share))]

    def close(self):
        pass


def run_here(source, bundle, root, *, jobs=1, start=None, **changes):
    """Run over `source` with processes of this machine; the summary."""
    retry = changes.pop("retry_errors", False)
    start = start or (lambda settings: LocalWorkers(settings, jobs))
    settings = settings_of(bundle, root, **changes)
    return run_archive(
        str(source), settings, record_of(bundle), start, Silent(), retry_errors=retry
    )


def rows_of(root, bundle=None):
    """Every row as the Parquet files have it, sorted by input; fails if one is there twice."""
    folder = root if bundle is None else Store.of_bundle(root, bundle.sha256).folder
    rows = [row for part in folder.rglob("*.parquet") for row in pq.read_table(part).to_pylist()]
    rows.sort(key=lambda row: row["input"])
    names = [row["input"] for row in rows]
    assert len(set(names)) == len(names), "an input has two rows"
    return rows


def untimed(rows):
    """The rows without the columns that hold times."""
    return [{k: v for k, v in row.items() if k not in VARYING} for row in rows]


def union_bytes(root):
    """All rows sorted by input, without times, as one Arrow stream."""
    fields = [field for field in arrow_schema() if field.name not in VARYING]
    table = pa.Table.from_pylist(untimed(rows_of(root)), pa.schema(fields))
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    return stream.getvalue().to_pybytes()
