"""Parts with a lesion beside parts without it, of the same radiographs.

Collection, unit, exposure and patient are the same on both sides, so what tells them apart can only
be the lesion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.data.crops import boxes_in_crop, place_part
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import INDEX, ImageRecord, write_index
from orthoedge.training.data.loader import HEALTHY

_SIZE = 512  # of the squares that parts are cut from


def write_lesion_parts(records: Sequence[ImageRecord], out: Path, seed: int) -> int:
    """Cut one part with a lesion and one without from every radiograph with boxes.

    A part is a square of a third to three quarters of the radiograph's longer side, as the
    radiograph is preprocessed but for CLAHE. It is written as PNG; `index.csv` gives the part with
    the lesion the radiograph's label, and the other one `non-affected`.

    Args:
        records: radiographs; those without a box are passed over.
        out: folder for the parts and index.csv.
        seed: of the positions.

    Returns:
        The number of radiographs of which both parts were found.

    Raises:
        DataError: `out` has an index already, or no radiograph has both parts.
    """
    if (out / INDEX).exists():
        raise DataError(f"{out}: already holds an index; remove it or give another --out")
    boxed = [r for r in records if r.boxes and r.label != HEALTHY]
    if not boxed:
        raise DataError("no radiograph has boxes around a lesion")
    labels = sorted({record.label for record in boxed})
    square = msgspec.structs.replace(STANDARD, size=_SIZE, clahe_stage="none")
    data = RadiographDataset(boxed, labels, square)
    parts: list[ImageRecord] = []
    for number, (record, image, boxes) in enumerate(
        zip(data.records, data.images, data.boxes, strict=True)
    ):
        rng = np.random.default_rng([seed, number])
        placed = boxes and place_part(image, boxes, False, rng)
        other = boxes and place_part(image, boxes, True, rng)
        while other and other.lesion:
            other = place_part(image, boxes, True, rng)
        if not placed or not other:
            continue
        for part, label in ((placed, record.label), (other, HEALTHY)):
            path = out / "images" / f"{number:05}-{label}.png"
            pixels = image[part.y : part.y + part.side, part.x : part.x + part.side]
            write_atomic(path, cv2.imencode(".png", pixels)[1].tobytes())
            shown = boxes_in_crop(boxes, (part.x, part.y), part.side, _SIZE) if part.lesion else ()
            parts.append(replace(record, path=path, label=label, boxes=shown, mask=None))
    if not parts:
        raise DataError("no radiograph has boxes that leave a part with and one without a lesion")
    write_index(out / INDEX, parts)
    return len(parts) // 2
