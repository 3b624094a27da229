"""Archives: hundreds of thousands of radiographs, on one machine or over many."""

from orthoedge.clinic.archive.inputs.sources import ArchiveInput, list_inputs
from orthoedge.clinic.archive.run import RunSummary, run_archive
from orthoedge.clinic.archive.store import Store
from orthoedge.clinic.archive.worker import WorkerSettings

__all__ = [
    "ArchiveInput",
    "RunSummary",
    "Store",
    "WorkerSettings",
    "list_inputs",
    "run_archive",
]
