"""Radiographs in every format that is read, and damaged or malicious variants of them."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from tests.runtime.dicom import layouts

SIDE = 96
NATIVE = "1.2.840.10008.1.2.1"
_SYNTAXES = {
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
    "JPEG 2000": "1.2.840.10008.1.2.4.90",
}


def radiograph(side: int = SIDE, bits: int = 8) -> np.ndarray:
    """A bright shaft in soft noise, uint8 or uint16 (side, side)."""
    y, x = np.mgrid[:side, :side]
    noise = np.random.default_rng(0).normal(0, 2, (side, side))
    values = 60 + 40 * np.sin(y / 17) + noise + 110 * np.exp(-(((x - side / 2) / 9) ** 2))
    scaled = np.clip(values, 0, 255) * (2**bits - 1) / 255
    return scaled.astype(np.uint8 if bits <= 8 else np.uint16)


def encode(suffix: str, image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, list(options))
    assert done
    return data.tobytes()


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(name, content) of each chunk."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        chunks.append((name, data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def png_of(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A PNG of chunks, whatever they hold, with the right checksum on each."""
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, body in chunks:
        checksum = struct.pack(">I", zlib.crc32(name + body))
        parts.append(struct.pack(">I", len(body)) + name + body + checksum)
    return b"".join(parts)


def pictures() -> dict[str, bytes]:
    """PNG, JPEG, TIFF and BMP, by what is special about each."""
    grey, deep = radiograph(), radiograph(bits=16)
    colour = cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
    quality = (cv2.IMWRITE_JPEG_QUALITY, 90)
    progressive = (*quality, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    restarts = (*quality, cv2.IMWRITE_JPEG_RST_INTERVAL, 3)
    files = {
        "grey.png": encode(".png", grey),
        "deep.png": encode(".png", deep),
        "colour.png": encode(".png", colour),
        "bits.png": encode(".png", (grey > 120).astype(np.uint8), cv2.IMWRITE_PNG_BILEVEL, 1),
        "grey.jpg": encode(".jpg", grey, *quality),
        "colour.jpg": encode(".jpg", colour, *quality),
        "progressive.jpg": encode(".jpg", grey, *progressive),
        "restarts.jpg": encode(".jpg", grey, *restarts),
        "grey.bmp": encode(".bmp", grey),
        "colour.bmp": encode(".bmp", colour),
    }
    for name, number in {"plain": 1, "lzw": 5, "deflate": 8, "packbits": 32773}.items():
        files[f"{name}.tiff"] = encode(".tiff", grey, cv2.IMWRITE_TIFF_COMPRESSION, number)
    files["deep.tiff"] = encode(".tiff", deep, cv2.IMWRITE_TIFF_COMPRESSION, 5)
    return files


def dicom(stored: np.ndarray, syntax: str = NATIVE, **elements: object) -> bytes:
    """A DX file of uint16 (H, W) of 12 bits."""
    from pydicom.dataset import Dataset, FileMetaDataset

    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = NATIVE
    item.SOPClassUID, item.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    item.Modality, item.PhotometricInterpretation = "DX", "MONOCHROME2"
    item.Rows, item.Columns = stored.shape
    item.SamplesPerPixel, item.PixelRepresentation = 1, 0
    item.BitsAllocated, item.BitsStored, item.HighBit = 16, 12, 11
    item.WindowCenter, item.WindowWidth = 2000, 3900
    item.PixelData = stored.tobytes()
    for name, value in elements.items():
        setattr(item, name, value)
    if syntax in (_SYNTAXES["RLE"], _SYNTAXES["JPEG-LS"], _SYNTAXES["JPEG 2000"]):
        item.compress(syntax, generate_instance_uid=False)
    elif syntax == _SYNTAXES["big endian"]:
        item.PixelData = stored.astype(">u2").tobytes()
    return _written(item, syntax)


def _written(item: object, syntax: str) -> bytes:
    import pydicom

    file = io.BytesIO()
    item.file_meta.TransferSyntaxUID = syntax  # type: ignore[attr-defined]
    pydicom.dcmwrite(file, item, enforce_file_format=True)
    return file.getvalue()


def scans() -> dict[str, bytes]:
    """DICOM in each transfer syntax that can be written here."""
    stored = radiograph(bits=12)
    made = {f"{name}.dcm": dicom(stored, syntax) for name, syntax in _SYNTAXES.items()}
    native = dicom(stored)
    jpeg = encode(".jpg", radiograph())
    return {
        "native.dcm": native,
        **made,
        "bare.dcm": native[native.index(b"\x08\0\x16\0") :],
        "JPEG.dcm": layouts.compressed(jpeg, radiograph(), 8, f"{layouts.JPEG}50"),
        **_twelve_bits(stored),
    }


def _twelve_bits(stored: np.ndarray) -> dict[str, bytes]:
    """A 12-bit JPEG, where an encoder is installed."""
    try:
        from imagecodecs import jpeg8_encode
    except ImportError:
        return {}
    jpeg = jpeg8_encode(stored, level=90, bitspersample=12)
    return {"JPEG 12 bits.dcm": layouts.compressed(jpeg, stored, 12, f"{layouts.JPEG}51")}


def dicom_samples() -> list[Path]:
    """Every DICOM file, whole or broken on purpose, of pydicom and of pydicom-data."""
    import data_store
    import pydicom

    folders = (
        Path(pydicom.__file__).parent / "data" / "test_files",
        Path(data_store.__file__).parent / "data",
    )
    paths = (path for folder in folders for path in folder.rglob("*.dcm"))
    return sorted(paths, key=lambda path: path.name)


def readable_samples() -> dict[str, bytes]:
    """Those of them with one grey frame, called DX: so that damage to them reaches a decoder."""
    import pydicom

    contents = {}
    for path in dicom_samples():
        try:
            item = pydicom.dcmread(path)
            grey = str(item.PhotometricInterpretation).startswith("MONOCHROME")
            single = int(item.get("NumberOfFrames", 1) or 1) == 1
            if not (grey and single and len(item.PixelData) < 2**19):
                continue
            item.Modality = "DX"
            contents[path.name] = _written(item, item.file_meta.TransferSyntaxUID)
        except Exception:  # broken on purpose: `dicom_samples` has them as they are
            continue
    return contents


_EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """One file made of another: flipped, set, cut, filled, moved, lengthened; early bytes first."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if len(changed) < 16:
            break
        # Headers are short and matter most, so half of the damage is in the first kilobyte.
        reach = min(len(changed), 1024) if rng.random() < 0.5 else len(changed)
        at = int(rng.integers(0, reach))
        size = int(rng.integers(1, 1 + min(256, len(changed) - at)))
        kind = int(rng.integers(0, 8))
        if kind == 0:
            changed[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            changed[at] = int(rng.integers(0, 256))
        elif kind == 2:
            order = "><"[int(rng.integers(0, 2))]
            value = _EXTREMES[int(rng.integers(0, len(_EXTREMES)))]
            width = "HI"[int(rng.integers(0, 2))]
            number = struct.pack(order + width, value & (2 ** (16 if width == "H" else 32) - 1))
            changed[at : at + len(number)] = number
        elif kind == 3:
            del changed[at : at + size]
        elif kind == 4:
            changed[at:at] = changed[at : at + size]
        elif kind == 5:
            changed[at : at + size] = rng.bytes(size)
        elif kind == 6:
            changed[at : at + size] = bytes(size)
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def mutate_png(rng: np.random.Generator, data: bytes) -> bytes:
    """Damage inside one chunk that its checksum does not tell, for the damage was there first."""
    chunks = png_chunks(data)
    place = int(rng.integers(0, len(chunks)))
    name, body = chunks[place]
    chunks[place] = name, mutate(rng, body) if len(body) >= 16 else rng.bytes(len(body))
    return png_of(chunks)


def cases(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """`count` files: every sample as it is, then damage to pictures, scans and samples in turn.

    The name says the seed's place, with which `np.random.default_rng([seed, place])` repeats it.
    """
    whole = [(path.name, path.read_bytes()) for path in dicom_samples()][:count]
    yield from whole
    sources = [list(files.items()) for files in (pictures(), scans(), readable_samples())]
    for place in range(count - len(whole)):
        rng = np.random.default_rng([seed, place])
        files = sources[place % len(sources)]
        name, data = files[place // len(sources) % len(files)]
        change = mutate_png if name.endswith(".png") and rng.random() < 0.5 else mutate
        yield f"{name} [{seed}, {place}]", change(rng, data)
