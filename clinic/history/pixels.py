"""The pixels of the radiographs: files that are named by the SHA-256 of their content.

Written without compression first, since compressing takes longer than the rest of an answer, and
compressed when there is time for it. A file is complete and synced before a finding names it; a
file that none names, after a kill, is removed by `remove_unnamed`.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from orthoedge.runtime.atomic_files import atomic, write_atomic
from orthoedge.runtime.errors import DataError

__all__ = ["PixelFiles"]

_BLOCK = 2**20


class PixelFiles:
    """The files of one history.

    Args:
        folder: made with the first file.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Of all of them."""

    def write(self, pixels: bytes) -> str:
        """Keep pixels, uint16 little-endian, and return their SHA-256.

        Raises:
            OSError: the disk is full or fails.
        """
        digest = hashlib.sha256(pixels).hexdigest()
        if not self.has(digest):
            raw = self._path(digest, "raw")
            raw.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomic(raw, pixels)
        return digest

    def has(self, digest: str) -> bool:
        """Whether the pixels are there."""
        return self._path(digest, "gz").exists() or self._path(digest, "raw").exists()

    def check(self, digest: str) -> None:
        """Compare pixels with their hash.

        Raises:
            DataError, OSError: as `open`.
        """
        self.open(digest)[0].close()

    def compress_next(self) -> bool:
        """Compress one file that is not yet; return whether there was one.

        Raises:
            OSError: the disk is full or fails.
        """
        raw = next(self.folder.glob("*/*.raw"), None)
        if raw is None:
            return False
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)  # 31: with the header of gzip
        with raw.open("rb") as source, atomic(raw.with_suffix(".gz")) as target:
            while block := source.read(_BLOCK):
                target.write(packer.compress(block))
            target.write(packer.flush())
        raw.unlink()
        return True

    def read(self, digest: str) -> bytes:
        """Pixels, uint16 little-endian.

        Raises:
            DataError, OSError: as `open`.
        """
        file, is_packed = self._open(digest)
        with file, _damage_named(file.name):  # not by `open`, which would unpack them twice
            pixels = gzip.decompress(file.read()) if is_packed else file.read()
        _check_hash(file.name, hashlib.sha256(pixels).hexdigest(), digest)
        return pixels

    def open(self, digest: str) -> tuple[BinaryIO, bool]:
        """Open the file that holds pixels, after it was checked; also, whether gzip packed it.

        Raises:
            DataError: it is missing, or the pixels in it are not those of the hash.
            OSError: the disk fails.
        """
        file, is_packed = self._open(digest)
        seen = hashlib.sha256()
        try:
            with _damage_named(file.name):
                content = gzip.open(file) if is_packed else file  # noqa: SIM115 - the caller's
                while block := content.read(_BLOCK):
                    seen.update(block)
            _check_hash(file.name, seen.hexdigest(), digest)
        except DataError:
            file.close()
            raise
        file.seek(0)
        return file, is_packed

    def _open(self, digest: str) -> tuple[BinaryIO, bool]:
        for suffix in ("gz", "raw", "gz"):  # another process may compress it between the two
            with contextlib.suppress(FileNotFoundError):
                return self._path(digest, suffix).open("rb"), suffix == "gz"
        raise DataError(f"{self._path(digest, 'gz')}: the pixels of a radiograph are missing")

    def is_packed(self, digest: str) -> bool:
        """Whether pixels are compressed."""
        return self._path(digest, "gz").exists()

    def keep(self, digest: str, file: BinaryIO, is_packed: bool) -> None:
        """Keep a file of pixels as another history has it.

        Args:
            digest: of the pixels.
            file: is read to its end.
            is_packed: whether gzip packed it.

        Raises:
            OSError: the disk is full or fails.
        """
        path = self._path(digest, "gz" if is_packed else "raw")
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic(path) as kept:
            shutil.copyfileobj(file, kept, _BLOCK)
        if is_packed:  # a former backup may have them as they were before
            self._path(digest, "raw").unlink(missing_ok=True)

    def older_than(self, seconds: float) -> Iterator[str]:
        """Hashes of the pixels that were written so long ago."""
        latest = time.time() - seconds
        for path in self.folder.glob("*/*"):
            if path.suffix in (".gz", ".raw") and path.stat().st_mtime <= latest:
                yield path.stem

    def remove(self, digest: str) -> None:
        """Delete pixels."""
        for suffix in ("gz", "raw"):
            self._path(digest, suffix).unlink(missing_ok=True)

    def _path(self, digest: str, suffix: str) -> Path:
        return self.folder / digest[:2] / f"{digest}.{suffix}"


@contextlib.contextmanager
def _damage_named(path: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: damaged; only another copy of the history has it whole"
        ) from error


def _check_hash(path: str, seen: str, digest: str) -> None:
    if seen != digest:
        raise DataError(
            f"{path}: not what was written; only another copy of the history has it whole"
        )
