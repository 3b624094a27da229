"""The inputs of an archive: where they are listed, and how their bytes are read ahead."""

from orthoedge.clinic.archive.inputs.sources import ArchiveInput, is_address, list_inputs

__all__ = ["ArchiveInput", "is_address", "list_inputs"]
