"""Kaggle's fracture binary classification folders: train, val and test, each with two classes.

`train/fractured/1-rotated1.jpg`, `train/not fractured/`; the archive has a folder around them.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from orthoedge.training.datasets import importer
from orthoedge.training.datasets.folders import NOTE, labelled, sub_folders
from orthoedge.training.datasets.importer import Imported, Progress, Skipped

_SPLITS = ("train", "val", "test")
_LABELS = {"fractured": importer.FRACTURE, "not fractured": importer.NON_AFFECTED}


def read_kaggle(source: Path, progress: Progress) -> Imported:
    """Import the folders; the publisher's three splits become one set.

    Its splits share augmented copies of one image, so they cannot be used.

    Raises:
        DataError: there is no train folder, or no image is left.
    """
    root = importer.find_root(source, "train", "Kaggle's fracture set")
    splits = [root / split for split in _SPLITS if (root / split).is_dir()]
    folders = [folder for split in splits for folder in sub_folders(split)]
    known = [(folder, _LABELS[folder.name]) for folder in folders if folder.name in _LABELS]
    reason = f"unknown class: neither {' nor '.join(_LABELS)}"
    unknown = (Skipped(folder, reason) for folder in folders if folder.name not in _LABELS)
    items = chain(unknown, labelled(known, root, "kaggle"))
    return importer.gather(items, root, (NOTE, "boxes: none"), progress)
