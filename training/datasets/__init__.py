"""Importers of published data sets, as their publishers ship them; no pixel is copied."""

from __future__ import annotations

import difflib
from pathlib import Path

from orthoedge.runtime.errors import DataError
from orthoedge.training.datasets.importer import Imported, Progress, Skipped

__all__ = ["NAMES", "Imported", "Progress", "Skipped", "import_dataset"]

NAMES = ("btxrd", "fracatlas", "mura", "kaggle", "folders", "table")


def import_dataset(name: str, source: Path, progress: Progress = lambda _: None) -> Imported:
    """Read a data set.

    Args:
        name: one of `NAMES`.
        source: the folder it was unpacked into; for `table`, a CSV file.
        progress: called with the number of images done.

    Raises:
        DataError: an unknown name, a different data set, a missing column, or no image is left.
    """
    if name == "btxrd":
        from orthoedge.training.datasets.btxrd import read_btxrd

        return read_btxrd(source, progress)
    if name == "fracatlas":
        from orthoedge.training.datasets.fracatlas import read_fracatlas

        return read_fracatlas(source, progress)
    if name == "mura":
        from orthoedge.training.datasets.mura import read_mura

        return read_mura(source, progress)
    if name == "kaggle":
        from orthoedge.training.datasets.kaggle import read_kaggle

        return read_kaggle(source, progress)
    if name == "folders":
        from orthoedge.training.datasets.folders import read_folders

        return read_folders(source, progress)
    if name == "table":
        from orthoedge.training.datasets.tables import read_table

        return read_table(source, progress)
    near = difflib.get_close_matches(name, NAMES, n=1)
    known = f"did you mean {near[0]}?" if near else f"known are {', '.join(NAMES)}"
    raise DataError(f"data set {name!r} is unknown; {known}")
