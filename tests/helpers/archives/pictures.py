"""An archive as it comes: crops of radiographs and phantoms in three formats, some poisonous."""

import itertools
from pathlib import Path

import cv2
import numpy as np

from tests.helpers.clinic.images import image_file, limb
from tests.helpers.hostile.dicom_bytes import pixel_elements
from tests.helpers.hostile.files import encode, png_chunks, png_of

SAMPLES = Path(__file__).parents[3] / "runtime" / "assets" / "samples"
SIDE = 224
POISONOUS_EVERY = 100
DICOM_EVERY = 20


def write_archive(folder, count):
    """Write that many files in folders of a thousand, no two alike; return how many are poisonous.

    One of a hundred is poisonous, one of twenty DICOM, half of the others PNG and half JPEG.
    """
    samples = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in sorted(SAMPLES.rglob("*g"))]
    poisonous = itertools.count()
    for number in range(count):
        rng = np.random.default_rng(number)
        crop = _crop(samples[number % len(samples)], rng)
        if number % POISONOUS_EVERY == 7:
            suffix, content = _poisonous(next(poisonous), crop)
        elif number % DICOM_EVERY == 1:
            suffix, content = "dcm", _dicom(rng)
        else:
            suffix = "png" if number % 2 else "jpg"
            content = encode(f".{suffix}", crop)
        path = folder / f"{number // 1000:02}" / f"{number:05}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return next(poisonous)


def _crop(sample, rng):
    """A square of a sample, uint8 (SIDE, SIDE), with a mark of its own."""
    side = int(rng.integers(180, min(sample.shape) + 1))
    top, left = (int(rng.integers(0, length - side + 1)) for length in sample.shape)
    square = sample[top : top + side, left : left + side]
    crop = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    crop[:8, :8] = rng.integers(0, 256, (8, 8), dtype=np.uint8)
    return crop


def _dicom(rng):
    pixels = limb() + rng.integers(0, 200, limb().shape, dtype=np.uint16)
    return image_file(pixel_elements(pixels))


def _poisonous(number, crop):
    """Suffix and content of a file without an answer."""
    png, jpeg = encode(".png", crop), encode(".jpg", crop)
    (_, header), *rest = png_chunks(png)
    huge = (60_000).to_bytes(4, "big") * 2 + header[8:]
    kinds = (
        ("png", b""),
        ("jpg", b"no picture"),
        ("png", png[: len(png) // 2]),
        ("png", png_of([(b"IHDR", huge), *rest])),
        ("jpg", jpeg[:300]),
        ("dcm", image_file()[:1500]),
        ("dcm", image_file({0x00280010: ("US", [64_000]), 0x00280011: ("US", [64_000])})),
    )
    return kinds[number % len(kinds)]
