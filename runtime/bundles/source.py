"""Sources of a bundle's files: a folder or a .zip of it, read in place and never unpacked.

An untrusted zip archive is validated from its central directory before any member is opened.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from orthoedge.runtime.errors import BundleError, IntegrityError

# Raised by zipfile for malformed content.
DAMAGED_ZIP = (
    *(zipfile.BadZipFile, zlib.error, struct.error),
    *(EOFError, RuntimeError, ValueError, OverflowError),
)
_END = b"PK\5\6"  # starts the last record, which has 22 bytes without a comment
_DIRECTORY_LIMIT = 2**20  # bytes; a bundle has ten members
_MEMBER_LIMIT = 2**30
_RATIO = 20  # weights hardly shrink; a member of zeros does so a thousand times
_SMALL = 2**20  # bytes that any member may open to
_DIRECTORY_END = struct.Struct("<4s4H2LH")
_DIRECTORY_END_64 = 20  # bytes of the locator before it


def open_source(path: Path) -> Folder | Zip:
    """Open a bundle.

    Raises:
        BundleError: missing, or neither a folder nor a .zip file.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise BundleError(f"{path}: no such bundle")
    if not path.is_file():  # opening a pipe would block
        raise BundleError(f"{path}: neither a folder nor a .zip file")
    return Zip(path)


class Folder:
    """A bundle as a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> set[str]:
        """Return the names of all files; of a folder only if it is empty or a link."""
        return {
            entry.relative_to(self._path).as_posix()
            for entry in self._path.rglob("*")
            if entry.is_symlink() or not entry.is_dir() or not any(entry.iterdir())
        }

    def size(self, name: str) -> int:
        """Return the size of a file in bytes; raises BundleError if it is missing."""
        path = self._path / name
        if not path.is_file():
            raise BundleError(f"{name} is missing, so this is not a bundle")
        return path.stat().st_size

    def read(self, name: str, limit: int) -> bytes:
        """Read a file; raises BundleError if it is missing or has more than `limit` bytes."""
        size = self.size(name)
        _check_size(name, size, limit)
        with (self._path / name).open("rb") as file:
            return file.read(size)  # at most the size that was checked


class Zip:
    """A bundle as a .zip.

    Members are read by the exact names in the manifest and never written to disk, so a member that
    points elsewhere ("../x", a link) is only an unexpected name.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                check_directory(file)
                file.seek(-22, os.SEEK_END)
                last = file.read()
            self._archive = zipfile.ZipFile(path)
            check_members(self._archive)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from error
        except zipfile.BadZipFile as error:
            raise BundleError(f"{path}: neither a folder nor a .zip file") from error
        except (OSError, *DAMAGED_ZIP) as error:
            if isinstance(error, OSError) and error.filename:
                raise
            raise IntegrityError(f"{path}: damaged .zip file: {error}") from error
        first = min((info.header_offset for info in self._archive.infolist()), default=0)
        if first != 0 or not last.startswith(_END) or not last.endswith(b"\0\0"):
            raise IntegrityError(f"{path}: has bytes before or after the .zip archive")

    def names(self) -> set[str]:
        """Return the names of all members; of a folder only if it is empty."""
        names = set(self._archive.namelist())
        parents = {f"{parent}/" for name in names for parent in PurePosixPath(name).parents}
        return names - parents

    def size(self, name: str) -> int:
        """Return the stated size of a member in bytes; raises BundleError if it is missing."""
        try:
            return self._archive.getinfo(name).file_size
        except KeyError as error:
            raise BundleError(f"{name} is missing, so this is not a bundle") from error

    def read(self, name: str, limit: int) -> bytes:
        """Read a member; raises BundleError as `Folder.read`, IntegrityError if it is damaged."""
        _check_size(name, self.size(name), limit)
        try:
            return self._archive.read(name)
        except (OSError, *DAMAGED_ZIP) as error:
            raise IntegrityError(f"{name} cannot be read: {error}") from error


def _check_size(name: str, size: int, limit: int) -> None:
    if size > limit:
        raise BundleError(f"{name} is larger than {limit} bytes")


def check_directory(file: IO[bytes]) -> None:
    """Check the size of an archive's directory, which `zipfile` reads all at once.

    Raises:
        BundleError: too large, or ZIP64 (for more than 4 GB).
        zipfile.BadZipFile: not an archive.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _DIRECTORY_END.size - 2**16 - _DIRECTORY_END_64))
    tail = file.read()
    at = tail.rfind(_END)
    if not 0 <= at <= len(tail) - _DIRECTORY_END.size:
        raise zipfile.BadZipFile("no directory")
    length = _DIRECTORY_END.unpack_from(tail, at)[5]
    if length > _DIRECTORY_LIMIT or tail[max(0, at - _DIRECTORY_END_64) : at].startswith(b"PK\6\7"):
        raise BundleError(f"a zip directory of over {_DIRECTORY_LIMIT} bytes, or of ZIP64")


def check_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Check the archive's members from its directory, and return them by name.

    Raises:
        BundleError: a member is a link, encrypted, duplicated, compressed by a method other than
            deflate, or far larger than its compressed form.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name, size = member.filename, member.file_size
        if not name:
            raise BundleError("a member without a name")
        if member.is_dir():
            continue
        if name in members:
            raise BundleError(f"{name!r} is duplicated")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise BundleError(f"{name!r} is a link or a device")
        if member.flag_bits & 1:
            raise BundleError(f"{name!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{name!r} is neither stored nor deflated")
        if size > _MEMBER_LIMIT or size > max(_SMALL, _RATIO * member.compress_size):
            raise BundleError(f"{name!r} expands from {member.compress_size} to {size} bytes")
        members[name] = member
    return members
