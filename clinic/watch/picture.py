"""The results of a picture without a DICOM header: the finding as JSON, and the map over it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.clinic.destination import Destination
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import InputError

if TYPE_CHECKING:
    from orthoedge.runtime.finding import Finding
    from orthoedge.runtime.image_io.radiograph import Radiograph

# Of one name, not of the folder: waiting would hold up every other file. vfat has no a:b.png.
_NAME_ERRORS = (
    errno.EILSEQ,
    errno.EINVAL,
    errno.EISDIR,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
    errno.ENOTEMPTY,
)

__all__ = ["picture_folders", "write_picture_results"]


def picture_folders(destinations: Iterable[Destination], decision: str) -> list[Path]:
    """Folders among the destinations that take a finding with this decision.

    Rules on the modality or the body part, which a picture does not state, leave it out.

    Raises:
        InputError: there is no destination of kind folder at all.
    """
    from orthoedge.clinic.watch.intake import CALLING_AE

    folders = [each for each in destinations if each.kind == "folder"]
    if not folders:
        raise InputError(
            "a picture without a DICOM header can be answered into a folder only: add a "
            "destination with kind = 'folder'"
        )
    return [
        Path(each.path)
        for each in folders
        if not each.rules.modality
        and not each.rules.body_part
        and (not each.rules.decision or decision in each.rules.decision)
        and (not each.rules.calling_ae or CALLING_AE in each.rules.calling_ae)
    ]


def write_picture_results(
    folders: Iterable[Path], name: str, radiograph: Radiograph, finding: Finding
) -> None:
    """Write NAME.json and NAME.png, the picture with its map side by side, into each folder.

    Both or none, as in `orthoedge predict --overlay`; NAME is the whole name of the file, so that
    a.png and a.jpg have results of their own, below the same folders as in the watched one. The
    picture states that name, so that only results of the same file are replaced: not those of A.PNG
    on a disk for which both are one name, and nothing that was there before.

    Raises:
        InputError: the file system of a folder has no place for a file of that name, or another
            file has it.
        OSError: a folder cannot be written.
    """
    from orthoedge.runtime.atomic_files import write_together
    from orthoedge.runtime.overlay.overlay import side_by_side, to_png
    from orthoedge.runtime.overlay.png_source import with_source

    source = sha256(os.fsencode(name))
    files = [
        (f"{Path(name).name}.json", finding.to_json() + b"\n"),
        (f"{Path(name).name}.png", with_source(to_png(side_by_side(radiograph, finding)), source)),
    ]
    for folder in folders:
        _check_replaced(folder, name, source)
        try:
            write_together((folder / name).parent, files)
        except OSError as error:
            if error.errno not in _NAME_ERRORS:
                raise
            raise InputError(
                f"its results cannot be written under its name: {error.strerror}; rename the file"
            ) from error


def _check_replaced(folder: Path, name: str, source: str) -> None:
    from orthoedge.runtime.overlay.png_source import source_of

    record, picture = (folder / f"{name}{end}" for end in (".json", ".png"))
    with contextlib.suppress(OSError):  # writing says why
        before = source_of(picture)
        # Results of a version that stated no source lie next to each other.
        if before not in (None, source) and not (before == "" and record.is_file()):
            raise InputError(
                "its results would replace a picture that is not of this file; rename the file"
            )
