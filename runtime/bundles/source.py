"""Where a bundle's files are read from: a folder, or a .zip of it. Nothing is ever unpacked."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO

from orthoedge.runtime.errors import BundleError, IntegrityError

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


_DIRECTORY_LIMIT = 2**20  # bytes; a bundle has ten members
_MEMBER_LIMIT = 2**30
_RATIO = 20  # weights hardly shrink; a member of zeros does so a thousand times
_SMALL = 2**20  # bytes that any member may open to
_DIRECTORY_END = struct.Struct("<4s4H2LH")
_DIRECTORY_END_64 = 20  # bytes of the locator before it


def check_directory(file: IO[bytes]) -> None:
    """Look at an archive's directory before `zipfile` does, which reads all of it at once.

    Raises:
        BundleError: it is too large, or the archive is in the form for more than 4 GB.
        zipfile.BadZipFile: no archive.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _DIRECTORY_END.size - 2**16 - _DIRECTORY_END_64))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if not 0 <= at <= len(tail) - _DIRECTORY_END.size:
        raise zipfile.BadZipFile("no directory")
    length = _DIRECTORY_END.unpack_from(tail, at)[5]
    if length > _DIRECTORY_LIMIT or tail[max(0, at - _DIRECTORY_END_64) : at].startswith(b"PK\6\7"):
        raise BundleError(f"a zip directory of over {_DIRECTORY_LIMIT} bytes, or of ZIP64")


def check_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's files by their names, none of which has been opened yet.

    Raises:
        BundleError: a member is a link, encrypted, there twice, compressed in another way than
            deflate, or opens to far more than it takes.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name, opened = member.filename, member.file_size
        if not name:
            raise BundleError("a member without a name")
        if member.is_dir():
            continue
        if name in members:
            raise BundleError(f"{name!r} is there twice")
        kind = stat.S_IFMT(member.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise BundleError(f"{name!r} is a link or a device")
        if member.flag_bits & 1:
            raise BundleError(f"{name!r} is encrypted")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise BundleError(f"{name!r} is neither stored nor deflated")
        if opened > _MEMBER_LIMIT or opened > max(_SMALL, _RATIO * member.compress_size):
            raise BundleError(f"{name!r} opens from {member.compress_size} to {opened} bytes")
        members[name] = member
    return members
