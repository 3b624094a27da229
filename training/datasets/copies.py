"""Groups for images that only their names tell apart."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from orthoedge.training.data.duplicates import stem_key

NOTE = (
    "groups: the image with its augmented copies, by name (1.jpg and 1-rotated1.jpg are one); "
    "the set names no patient"
)


def groups_by_name(images: Iterable[tuple[Path, str]]) -> dict[Path, str]:
    """Group of each image that has augmented copies or is one; images without are left out.

    Copies of one image may lie in several folders, so a name that has copies is one group over all
    of them, within its label. Names without copies say nothing: `image1.png` of two folders are two
    images.

    Args:
        images: path and label.
    """
    keys = {path: (label, stem_key(path)) for path, label in images}
    copied = {key for path, key in keys.items() if key[1] != path.stem.lower()}
    return {path: "/".join(key) for path, key in keys.items() if key in copied}
