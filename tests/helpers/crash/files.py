"""What lies in a folder after a kill or on a full disk, and whether each file is whole."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import struct
import zipfile
from pathlib import Path

# TensorBoard's log only ever grows, and its reader skips a last record that is cut off.
_GROWS = "events.out.tfevents.*"


def contents(folder: Path) -> dict[str, bytes]:
    """What a user sees in a folder; hidden names are nobody's."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and not fnmatch.fnmatch(path.name, _GROWS)
    }


def hidden(folder: Path) -> list[str]:
    """What a kill left behind."""
    return [str(path.relative_to(folder)) for path in folder.rglob(".*")]


def whole(name: str, content: bytes) -> bool:
    """Whether a file of this name is all there, by its own measure."""
    file = Path(name)
    try:
        if file.suffix in (".openvino", ".precision"):
            return hashlib.sha256(f"{file.name}\0".encode() + content[32:]).digest() == content[:32]
        return _CHECKS[file.suffix](content)
    except (ValueError, zipfile.BadZipFile, struct.error):
        return False


def _zip(content: bytes) -> bool:
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.testzip() is None


def _safetensors(content: bytes) -> bool:
    (length,) = struct.unpack_from("<Q", content)
    header = json.loads(content[8 : 8 + length])
    ends = [one["data_offsets"][1] for name, one in header.items() if name != "__metadata__"]
    return len(content) == 8 + length + max(ends)


def _onnx(content: bytes) -> bool:
    import onnx

    onnx.checker.check_model(onnx.load_from_string(content))
    return True


def _sealed(content: bytes) -> bool:
    _, digest, rest = content.split(b"\n", 2)
    return hashlib.sha256(rest).hexdigest().encode() == digest


_CHECKS = {
    ".json": lambda content: bool(json.loads(content)),
    ".pt": _zip,
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".npy": lambda content: hashlib.sha256(content[:-32]).digest() == content[-32:],
    ".timings": _sealed,
    ".png": lambda content: content.endswith(b"IEND\xaeB`\x82"),
    ".csv": lambda content: content.endswith(b"\n"),
    ".md": lambda content: content.endswith(b"\n"),
    ".npz": _zip,
}
