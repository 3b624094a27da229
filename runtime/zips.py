"""Zip archives that nobody vouches for: what they hold is judged by their directory alone."""

from __future__ import annotations

import stat
import struct
import zipfile
from typing import IO

from orthoedge.runtime.errors import BundleError

_DIRECTORY_LIMIT = 2**20  # bytes; a bundle has ten members
_MEMBER_LIMIT = 2**30
_RATIO = 20  # weights hardly shrink; a member of zeros does so a thousand times
_SMALL = 2**20  # bytes that any member may open to
_END = struct.Struct("<4s4H2LH")
_END_64 = 20  # bytes of the locator before it


def check_directory(file: IO[bytes]) -> None:
    """Look at an archive's directory before `zipfile` does, which reads all of it at once.

    Raises:
        BundleError: it is too large, or the archive is in the form for more than 4 GB.
        zipfile.BadZipFile: no archive.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - _END.size - 2**16 - _END_64))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if not 0 <= at <= len(tail) - _END.size:
        raise zipfile.BadZipFile("no directory")
    length = _END.unpack_from(tail, at)[5]
    if length > _DIRECTORY_LIMIT or tail[max(0, at - _END_64) : at].startswith(b"PK\6\7"):
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
