"""Small files that ask for gigabytes, and the cost of refusing them."""

from __future__ import annotations

import io
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from orthoedge.runtime.errors import OrthoEdgeError
from tests.helpers.hostile.files import dicom, encode, pictures, png_of, radiograph

SIDE = 30_000  # pixels; 900 million of them


def tiff(**tags: int) -> bytes:
    """A TIFF of tags alone, each one 32-bit number."""
    numbers = {"width": 256, "height": 257, "bits": 258, "compression": 259, "photometric": 262}
    numbers |= {"strip": 273, "samples": 277, "rows": 278, "bytes": 279}
    numbers |= {"tile_width": 322, "tile_height": 323, "tile": 324, "tile_bytes": 325}
    entries = sorted((numbers[name], value) for name, value in tags.items())
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + body + bytes(4 + 4096)


def busy_tiff() -> bytes:
    """A TIFF whose 60,000 tags each hold the whole file; as in a table of contents of nothing."""
    head = b"II*\0" + struct.pack("<IH", 8, 60_000)
    size = len(head) + 12 * 60_000
    return head + struct.pack("<HHII", 273, 1, size, 0) * 60_000 + bytes(4)


def jpeg_2000_of(components: int) -> bytes:
    """A DICOM file whose codestream holds many pictures where its header says one."""
    data = bytearray(dicom(radiograph(bits=12), "1.2.840.10008.1.2.4.90"))
    at = data.find(b"\xff\x4f\xff\x51")
    data[at + 40 : at + 42] = struct.pack(">H", components)
    return bytes(data)


@cache
def picture_bombs() -> dict[str, bytes]:
    """Pictures whose headers, or whose tables, ask for far more than they are."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(20_000_000), 9)
    whole = {"bits": 8, "compression": 8, "photometric": 1, "samples": 1, "strip": 200}
    large = {"width": SIDE, "height": SIDE, "rows": SIDE, "bytes": 1000}
    tiles = {"tile_width": SIDE, "tile_height": SIDE, "tile": 200, "tile_bytes": 1000}
    small = {"width": 96, "height": 96}
    grey = pictures()["grey.jpg"]
    size = struct.pack(">HH", 96, 96)
    frame = grey.index(size)
    fill = bytes.fromhex("ffe10002") * 100_000
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    return {
        "PNG": png_of([(b"IHDR", header), (b"IDAT", rows), (b"IEND", b"")]),
        "PNG of chunks": png_of(
            [(b"IHDR", struct.pack(">II", 96, 96) + header[8:])] + [(b"teSt", b"")] * 200_000
        ),
        "JPEG": grey.replace(size, struct.pack(">HH", SIDE, SIDE), 1),
        "JPEG of segments": grey[:2] + fill + grey[2:],
        "JPEG of scans": grey[: frame + 8] + scan * 50_000 + b"\xff\xd9",
        "TIFF": tiff(**whole, **large),
        "TIFF of one tile": tiff(**{**whole, **small, **tiles}),
        "TIFF of samples": tiff(**{**whole, **small, "samples": 60_000, "bytes": 1000}),
        "TIFF of tags": busy_tiff(),
        "BMP": encode(".bmp", radiograph())[:18] + struct.pack("<ii", SIDE, SIDE) + bytes(100),
        "DICOM": dicom(radiograph(bits=12), Rows=SIDE, Columns=SIDE),
        "deflated DICOM": dicom(np.zeros((8000, 8000), np.uint16), "1.2.840.10008.1.2.1.99"),
        "JPEG 2000 of components": jpeg_2000_of(16_000),
    }


def zip_of(folder: Path, **instead: bytes) -> bytes:
    """A bundle's folder as an archive; `instead` replaces a file by its stem."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                content = instead.get(path.name.split(".")[0]) or path.read_bytes()
                archive.writestr(str(path.relative_to(folder)), content)
    return file.getvalue()


def zip_of_members(count: int) -> bytes:
    """An archive of `count` empty members: its directory is what there is to read."""
    one = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", *[0] * 11, 1, *[0] * 6) + b"x"
    directory = one * count
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(directory), 0, 0)
    return directory + end


def cost_of(refuse: Callable[[], object]) -> tuple[str, float, float]:
    """Message of the refusal, milliseconds of the quickest of three, MiB more at the peak."""
    message, quickest, most = "", float("inf"), 0.0
    for _ in range(3):
        Path("/proc/self/clear_refs").write_text("5")  # counts the peak from here: proc(5)
        before, start = _status("VmRSS"), time.perf_counter()
        try:
            refuse()
            message = ""
        except OrthoEdgeError as error:
            message = str(error)
        quickest = min(quickest, (time.perf_counter() - start) * 1e3)
        most = max(most, _status("VmHWM") - before)
    return message, quickest, most


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024
