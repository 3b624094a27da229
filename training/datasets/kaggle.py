"""Kaggle's fracture binary classification folders: train, val and test, each with two classes.

`train/fractured/1-rotated1.jpg`, `train/not fractured/`; the archive has a folder around them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from orthoedge.training.datasets.folders import NOTE, labelled, sub_folders
from orthoedge.training.datasets.importer import (
    FRACTURE,
    NON_AFFECTED,
    Imported,
    Progress,
    Skipped,
    find_root,
    gather,
)

_SPLITS = ("train", "val", "test")
_LABELS = {"fractured": FRACTURE, "not fractured": NON_AFFECTED}


def read_kaggle(source: Path, progress: Progress) -> Imported:
    """Import the folders; the publisher's three splits become one set.

    Its splits share augmented copies of one image, so they cannot be used.

    Raises:
        DataError: there is no train folder, or no image is left.
    """
    root = find_root(source, "train", "Kaggle's fracture set")
    splits = [root / split for split in _SPLITS if (root / split).is_dir()]
    folders = [folder for split in splits for folder in sub_folders(split)]
    known = [(folder, _LABELS[folder.name]) for folder in folders if folder.name in _LABELS]
    items = chain(_unknown(folders), labelled(known, root, "kaggle"))
    return gather(items, root, (NOTE, "boxes: none"), progress)


def _unknown(folders: list[Path]) -> Iterator[Skipped]:
    for folder in folders:
        if folder.name not in _LABELS:
            yield Skipped(folder, f"unknown class: neither {' nor '.join(_LABELS)}")
