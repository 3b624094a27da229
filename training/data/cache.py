"""Disk cache of preprocessed radiographs, which later runs map into memory.

A cache file is an .npy of one record per radiograph, followed by the SHA-256 of the rest. Its
name is a hash of its sources: paths, sizes and times of the files, settings, and the output of
the preprocessing on test patterns. Nothing is ever invalidated: a changed set is a different file.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.atomic_files import atomic, remove_stale_temporaries, sha256
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.progress import Progress, log_progress

Records = npt.NDArray[Any]
"""(N,) of `pixels` uint8 (S, S), and int32 `shape` (H, W), and the transform's two boxes."""

_VERSION = 1  # of the records; part of every file's name
_BLOCK = 1 << 20
_DIGEST = hashlib.sha256().digest_size
_AT_ONCE = 256  # radiographs in memory between decoding and writing
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/orthoedge, or ~/.cache/orthoedge (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "orthoedge"


def preprocessed(
    paths: Sequence[Path], preprocess: Preprocess, folder: Path | None, progress: bool
) -> Records:
    """Decode and preprocess radiographs, or map their cache file.

    Args:
        paths: image files.
        preprocess: the runtime's own preprocessing.
        folder: of the cache; None: no cache, an array in memory.
        progress: show a bar while decoding; else lines.

    Returns:
        A record per path. Writing to a mapped record changes only this process's copy.

    Raises:
        InputError: a file is not a radiograph.
        DataError: the cache cannot be written; no partial file is left.
    """
    kind = record_type(preprocess.size)
    blocks = _decode(paths, preprocess, kind, progress)
    if folder is None:
        records = np.empty(len(paths), kind)
        for start, block in zip(range(0, len(paths), _AT_ONCE), blocks, strict=True):
            records[start : start + len(block)] = block
        return records
    file = folder / f"{_key(paths, preprocess)}.npy"
    return cached(file, kind, len(paths), blocks, f"{len(paths)} preprocessed images")


def cached(
    file: Path, kind: np.dtype[Any], count: int, blocks: Iterator[Records], what: str
) -> Records:
    """Map a file of records; write it first if it is missing or damaged.

    Args:
        file: named by a hash of everything that its records depend on.
        kind: of one record.
        count: number of records.
        blocks: the records; consumed only if the file must be written.
        what: name of the records, for the message of a full disk.

    Raises:
        DataError: the file cannot be written; no partial file is left.
    """
    whole = file.exists() and _whole(file)
    if not whole:
        if file.exists():
            log_progress(f"{file}: damaged; rebuilding it")
        _write(file, blocks, count, kind, what)
    # "c" (copy on write): torch warns about read-only arrays.
    records: Records = np.load(file, mmap_mode="c")
    return records


def record_type(size: int) -> np.dtype[Any]:
    """Record of one radiograph at `size` pixels."""
    boxes = [("field", "<i4", (4,)), ("content", "<i4", (4,))]
    return np.dtype([("pixels", "u1", (size, size)), ("shape", "<i4", (2,)), *boxes])


def _key(paths: Sequence[Path], preprocess: Preprocess) -> str:
    resolved = {folder: folder.resolve() for folder in {path.parent for path in paths}}
    files = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror}") from error
        location = str(resolved[path.parent] / path.name)
        files.append((location, status.st_size, status.st_mtime_ns))
    code = [version("orthoedge"), msgspec.to_builtins(preprocess), fingerprint(preprocess)]
    return sha256(json.dumps([_VERSION, *code, files]).encode())[:32]


def fingerprint(preprocess: Preprocess) -> str:
    """Hash the output of a preprocessing on test patterns, which identifies its code.

    One pattern is smaller than any network's input and one larger: they take different paths.
    """
    rng = np.random.default_rng(0)
    patterns = [rng.integers(0, 256, shape, np.uint8) for shape in ((23, 31), (1531, 1297))]
    return sha256(b"".join(preprocess(pattern).tobytes() for pattern in patterns))


def _decode(
    paths: Sequence[Path], preprocess: Preprocess, kind: np.dtype[Any], progress: bool
) -> Iterator[Records]:
    """Yield records in blocks, so that the whole set is never held twice."""

    def load(path: Path, record: Any) -> None:
        try:
            pixels = read_image(path).pixels
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        record["pixels"], placement = preprocess.prepare(pixels)
        record["shape"] = pixels.shape
        record["field"], record["content"] = placement.field, placement.content

    reading = Progress("reading", len(paths), "images", progress)
    with reading, ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            block = np.empty(len(some), kind)
            for _ in pool.map(load, some, block):
                reading.advance()
            yield block


def _whole(file: Path) -> bool:
    """Return whether the file matches its SHA-256; reading it also warms the page cache."""
    left, digest = file.stat().st_size - _DIGEST, hashlib.sha256()
    with file.open("rb") as content:  # no memory map: a read error would end the process
        while left > 0 and (block := content.read(min(_BLOCK, left))):
            digest.update(block)
            left -= len(block)
        return left == 0 and content.read() == digest.digest()


def _write(
    file: Path, blocks: Iterator[Records], count: int, kind: np.dtype[Any], what: str
) -> None:
    header = io.BytesIO()
    shape = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(header, shape)
    needed = len(header.getvalue()) + count * kind.itemsize + _DIGEST
    folder = file.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale_temporaries(folder)  # the partial file of a killed call takes up space
        if shutil.disk_usage(folder).free < needed:  # fail before an hour of decoding
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        digest = hashlib.sha256(header.getvalue())
        with atomic(file) as out:
            out.write(header.getvalue())
            for block in blocks:
                digest.update(block.view(np.uint8).data)
                out.write(block.view(np.uint8).data)
            out.write(digest.digest())
    except OSError as error:
        fault = f"the cache cannot be written: {error.strerror}"
        if error.errno in _FULL:
            free = f"{shutil.disk_usage(folder).free / 1e6:.1f} MB are free"
            fault = f"the disk is full: {what} need {needed / 1e6:.1f} MB, {free}"
        raise DataError(f"{folder}: {fault}; --cache DIR names another place") from error
