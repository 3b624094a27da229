"""The same radiographs in memory and as PNG, JPEG and DICOM files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from orthoedge.benchmarks.schema import Skipped
from orthoedge.runtime.errors import MissingDependency
from orthoedge.runtime.overlay.overlay import to_png
from orthoedge.runtime.preprocess import Pixels

BITS = 14
"""Stored per pixel in a DICOM file."""
_QUALITY = 95  # usual for exported radiographs, and OpenCV's default


@dataclass(frozen=True)
class Sources:
    """Radiographs in memory and as files."""

    images: tuple[Pixels, ...]
    files: dict[str, tuple[Path, ...]]
    """By `png`, `jpeg` and, with pydicom, `dicom`; in the order of the images."""
    skipped: tuple[Skipped, ...]


def write_sources(images: Sequence[Pixels], folder: Path) -> Sources:
    """Write uint8 (H, W) radiographs as 8-bit PNG, JPEG, and uncompressed 14-bit DICOM files."""
    files: dict[str, tuple[Path, ...]] = {}
    skipped: tuple[Skipped, ...] = ()
    writers: dict[str, Callable[[Path, Pixels], object]] = {
        "png": lambda path, pixels: path.write_bytes(to_png(pixels)),
        "jpeg": lambda path, pixels: path.write_bytes(
            cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
        ),
        "dicom": write_dicom,
    }
    for kind, write in writers.items():
        paths = tuple(folder / f"{number:04}.{kind}" for number in range(len(images)))
        try:
            for path, pixels in zip(paths, images, strict=True):
                write(path, pixels)
        except MissingDependency as error:
            skipped += (Skipped(name=f"read {kind}, from {kind}", reason=str(error)),)
        else:
            files[kind] = paths
    return Sources(tuple(images), files, skipped)


def write_dicom(path: Path, pixels: Pixels) -> None:
    """Write uint8 (H, W) as an uncompressed 14-bit digital radiograph with a window.

    Raises:
        MissingDependency: pydicom is not installed.
    """
    try:
        from pydicom.dataset import Dataset, FileMetaDataset
        from pydicom.uid import ExplicitVRLittleEndian
    except ImportError as error:
        raise MissingDependency("pydicom", "dicom", "writing a DICOM file") from error
    step = 2 ** (BITS - 8)
    noise = np.random.default_rng(0).integers(0, step, pixels.shape, dtype=np.uint16)
    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    item.SOPInstanceUID = "1.2.3"
    item.Modality, item.PhotometricInterpretation = "DX", "MONOCHROME2"
    item.Rows, item.Columns = pixels.shape
    item.SamplesPerPixel = 1
    item.BitsAllocated, item.BitsStored, item.HighBit = 16, BITS, BITS - 1
    item.PixelRepresentation = 0
    item.WindowCenter, item.WindowWidth = 2 ** (BITS - 1), 2**BITS
    item.PixelData = (pixels.astype(np.uint16) * step + noise).tobytes()
    item.save_as(path, enforce_file_format=True)
