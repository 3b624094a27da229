"""Where a bundle's files are read from: a folder, or a .zip of it. Nothing is ever unpacked."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from orthoedge.runtime.errors import BundleError, IntegrityError
from orthoedge.runtime.zips import check_directory, check_members

# What zipfile raises at content that is not what it expects.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
)
_END = b"PK\5\6"  # of the last record, which is 22 bytes where no comment follows


def open_source(path: Path) -> Folder | Zip:
    """Open a bundle.

    Raises:
        BundleError: missing, or neither a folder nor a .zip file.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise BundleError(f"{path}: no such bundle")
    if not path.is_file():  # a pipe would be waited for
        raise BundleError(f"{path}: neither a folder nor a .zip file")
    return Zip(path)


class Folder:
    """A bundle as a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> set[str]:
        """Of all that is in it; a folder only where it holds nothing, or is a link."""
        return {
            entry.relative_to(self._path).as_posix()
            for entry in self._path.rglob("*")
            if entry.is_symlink() or not entry.is_dir() or not any(entry.iterdir())
        }

    def size(self, name: str) -> int:
        """Bytes of a file; raises BundleError where it is missing."""
        path = self._path / name
        if not path.is_file():
            raise BundleError(f"{name} is missing, so this is no bundle")
        return path.stat().st_size

    def read(self, name: str, limit: int) -> bytes:
        """A file; raises BundleError where it is missing or has more than `limit` bytes."""
        size = self.size(name)
        _check_size(name, size, limit)
        with (self._path / name).open("rb") as file:
            return file.read(size)  # the memory for it is taken beforehand


class Zip:
    """A bundle as a .zip.

    Members are read by the exact names in the manifest and never written to a disk, so a member
    that points elsewhere ("../x", a link) can only be an unexpected name.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                check_directory(file)
            self._archive = zipfile.ZipFile(path)
            check_members(self._archive)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error
        except zipfile.BadZipFile as error:
            raise BundleError(f"{path}: neither a folder nor a .zip file") from error
        except (OSError, *_DAMAGED) as error:
            if isinstance(error, OSError) and error.filename:
                raise
            raise IntegrityError(f"{path}: damaged .zip file: {error}") from error
        self._check_ends(path)

    def _check_ends(self, path: Path) -> None:
        """Raise where bytes stand before the first member or after the list of them."""
        with path.open("rb") as file:
            file.seek(-22, os.SEEK_END)
            last = file.read()
        first = min((info.header_offset for info in self._archive.infolist()), default=0)
        if first != 0 or not last.startswith(_END) or not last.endswith(b"\0\0"):
            raise IntegrityError(f"{path}: holds more than the .zip file of a bundle")

    def names(self) -> set[str]:
        """Of all its members; a folder only where it holds nothing."""
        names = set(self._archive.namelist())
        parents = {f"{parent}/" for name in names for parent in PurePosixPath(name).parents}
        return names - parents

    def size(self, name: str) -> int:
        """Bytes of a member, as stated; raises BundleError where it is missing."""
        try:
            return self._archive.getinfo(name).file_size
        except KeyError as error:
            raise BundleError(f"{name} is missing, so this is no bundle") from error

    def read(self, name: str, limit: int) -> bytes:
        """A member; raises BundleError as `Folder.read`, IntegrityError where it is damaged."""
        _check_size(name, self.size(name), limit)
        try:
            return self._archive.read(name)
        except (OSError, *_DAMAGED) as error:
            raise IntegrityError(f"{name} cannot be read: {error}") from error


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise BundleError(f"{name} is larger than {limit} bytes")
