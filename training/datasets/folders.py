"""One folder per class, and the images below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from orthoedge.runtime.errors import DataError
from orthoedge.runtime.image_io.folder import list_folder
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data_quality.duplicates import stem_key
from orthoedge.training.datasets.importer import Imported, Progress, Skipped, gather


def read_folders(source: Path, progress: Progress) -> Imported:
    """Import a folder whose sub-folders are named as the classes.

    Raises:
        DataError: no sub-folder, or no image is left.
    """
    classes = sub_folders(source)
    if not classes:
        raise DataError(f"{source}: no sub-folder; expected one per class with images in it")
    items = labelled([(folder, folder.name) for folder in classes], source, source.resolve().name)
    return gather(items, source, (NOTE, "boxes: none"), progress)


def sub_folders(folder: Path) -> list[Path]:
    """List the folders in a folder by name, without hidden ones.

    Raises:
        DataError: not a folder.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: not a folder")
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def labelled(
    folders: Sequence[tuple[Path, str]], root: Path, source: str
) -> Iterator[ImageRecord | Skipped]:
    """Yield every file below the folders, as a record with its folder's label or as skipped."""
    contents = {folder: list_folder(folder) for folder, _ in folders}
    images = {
        folder: [path for path in listed.images if not _hidden(path, folder)]
        for folder, listed in contents.items()
    }
    copies = patients_by_name((p, label) for folder, label in folders for p in images[folder])
    for folder, label in folders:
        if not images[folder]:
            yield Skipped(folder, "empty: no image is in this folder")
        for path in images[folder]:
            patient_id = copies.get(path) or str(path.relative_to(root))
            yield ImageRecord(path, label, patient_id, source=source)
        listed = contents[folder]
        others = [(entry.path, entry.reason) for entry in listed.passed_over]
        others += [(path, "hidden") for path in listed.images if _hidden(path, folder)]
        for path, reason in sorted(others):
            yield Skipped(path, "hidden" if _hidden(path, folder) else reason)
        for entry in listed.unreadable:
            yield Skipped(entry.path, f"unreadable: {entry.reason}")


def _hidden(path: Path, folder: Path) -> bool:
    """Return whether a name below `folder` begins with a dot, such as .ipynb_checkpoints."""
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


NOTE = (
    "patient_id: the image with its augmented copies, by name (1.jpg and 1-rotated1.jpg are one); "
    "the set names no patient"
)


def patients_by_name(images: Iterable[tuple[Path, str]]) -> dict[Path, str]:
    """Give an image and its augmented copies one patient_id; images without copies are left out.

    Copies of one image may lie in several folders, so a name with copies is one id over all of
    them, within its label. Names without copies are ignored: `image1.png` of two folders are two
    images.

    Args:
        images: path and label.
    """
    keys = {path: (label, stem_key(path)) for path, label in images}
    copied = {key for path, key in keys.items() if key[1] != path.stem.lower()}
    return {path: "/".join(key) for path, key in keys.items() if key in copied}
