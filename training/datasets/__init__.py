"""Importers of published data sets, as their publishers ship them; no pixel is copied."""

from __future__ import annotations

import difflib
from pathlib import Path

from orthoedge.runtime.errors import DataError
from orthoedge.training.datasets.btxrd import read_btxrd
from orthoedge.training.datasets.folders import read_folders
from orthoedge.training.datasets.fracatlas import read_fracatlas
from orthoedge.training.datasets.importer import Imported, Progress
from orthoedge.training.datasets.kaggle import read_kaggle
from orthoedge.training.datasets.mura import read_mura
from orthoedge.training.datasets.tables import read_table

_READERS = {
    "btxrd": read_btxrd,
    "fracatlas": read_fracatlas,
    "mura": read_mura,
    "kaggle": read_kaggle,
    "folders": read_folders,
    "table": read_table,
}


def import_dataset(name: str, source: Path, progress: Progress = lambda _: None) -> Imported:
    """Read a data set.

    Args:
        name: btxrd, fracatlas, mura, kaggle, folders or table.
        source: the folder it was unpacked into; for `table`, a CSV file.
        progress: called with the number of images done.

    Raises:
        DataError: an unknown name, a different data set, a missing column, or no image is left.
    """
    if name in _READERS:
        return _READERS[name](source, progress)
    near = difflib.get_close_matches(name, _READERS, n=1)
    known = f"did you mean {near[0]}?" if near else f"known are {', '.join(_READERS)}"
    raise DataError(f"data set {name!r} is unknown; {known}")
