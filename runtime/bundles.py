"""Reading a bundle: a folder, or the same folder as one .zip. Every SHA-256 is checked first."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orthoedge.runtime.engine import PRECISIONS, Outputs, Precision, calibrated_as
from orthoedge.runtime.errors import BundleError, IntegrityError
from orthoedge.runtime.files import sha256
from orthoedge.runtime.manifest import Manifest, decode_manifest
from orthoedge.runtime.preprocess import Pixels

MANIFEST = "manifest.json"
CARD = "MODEL_CARD.md"
GOLDEN_IMAGES = "golden/images.npy"

EMBEDDED = Path(__file__).parent / "bundle"
"""The bundle inside the package: trained on phantoms, a demonstration."""

SAMPLES = Path(__file__).parent / "samples"
"""Phantom radiographs inside the package."""

_MANIFEST_LIMIT = 4 << 20
_FILE_LIMIT = 1 << 30
# What zipfile and numpy raise at content that is not what they expect.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, ValueError)


def model_file(precision: Precision) -> str:
    """Name of a precision's ONNX file inside a bundle."""
    return f"model.{precision}.onnx"


def golden_file(precision: Precision) -> str:
    """Name of a precision's expected answers inside a bundle; those of fp16 are fp32's."""
    return f"golden/{calibrated_as(precision)}.npz"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files all matched their SHA-256; held in memory, so nothing changes after."""

    path: Path
    manifest: Manifest
    sha256: str
    """Of manifest.json, which holds the hash of every other file."""
    files: Mapping[str, bytes]

    def model(self, precision: Precision) -> bytes:
        """The ONNX file of a precision.

        Raises:
            BundleError: the bundle has none; fp16 is left out where half precision overflows, and
                older bundles never had it.
        """
        name = model_file(precision)
        if name not in self.files:
            raise BundleError(f"{self.path}: holds no {name}: choose {' or '.join(PRECISIONS)}")
        return self.files[name]

    def golden_images(self) -> Pixels:
        """uint8 (n, 1, S, S) inputs of the golden test.

        Raises:
            BundleError: the file holds something else.
        """
        size, images = self.manifest.graph.size, self._load(GOLDEN_IMAGES)
        shape: tuple[int, ...] = getattr(images, "shape", ())
        kind = getattr(images, "dtype", None)
        if shape[1:] != (1, size, size) or shape[0] < 1 or kind != np.uint8:
            raise BundleError(
                f"{self.path}: {GOLDEN_IMAGES} holds {kind} {shape}, "
                f"expected uint8 (n, 1, {size}, {size})"
            )
        return images  # type: ignore[no-any-return]

    def golden_outputs(self, precision: Precision) -> Outputs:
        """The answers expected for the golden inputs.

        Raises:
            BundleError: the file holds something else.
        """
        name = golden_file(precision)
        arrays = self._load(name)
        try:
            with arrays:
                return Outputs(arrays["logits"], arrays["saliency_map"], arrays["feature_vector"])
        except (AttributeError, TypeError, KeyError, *_UNREADABLE) as error:
            raise BundleError(f"{self.path}: {name} does not hold the golden answers") from error

    def check_labels(self) -> None:
        """Compare the manifest's labels with those the golden answers were recorded under.

        Raises:
            BundleError: they differ, so every answer would carry a wrong name.
        """
        for precision in self.manifest.calibration:
            name = golden_file(precision)
            try:
                with self._load(name) as arrays:
                    recorded = tuple(str(label) for label in arrays["labels"])
            except (AttributeError, TypeError, KeyError, *_UNREADABLE) as error:
                raise BundleError(
                    f"{self.path}: {name} does not hold the golden answers"
                ) from error
            if recorded != self.manifest.labels:
                raise BundleError(
                    f"{self.path}: manifest.json: labels {', '.join(self.manifest.labels)} are not "
                    f"those of {name}: {', '.join(recorded)}"
                )

    def _load(self, name: str) -> Any:
        try:
            return np.load(io.BytesIO(self.files[name]), allow_pickle=False)
        except _UNREADABLE as error:
            raise BundleError(f"{self.path}: {name} is no file of arrays") from error


def read_bundle(path: Path) -> Bundle:
    """Read a bundle folder or .zip.

    Raises:
        BundleError: missing, a malformed manifest, or files that are not listed in it.
        IntegrityError: a file's size or SHA-256 differs from the manifest.
    """
    source = _open(path)
    data = source.read(MANIFEST, _MANIFEST_LIMIT)
    if len(data) > _MANIFEST_LIMIT:
        raise BundleError(f"{path}: {MANIFEST} is larger than {_MANIFEST_LIMIT} bytes")
    try:
        manifest = decode_manifest(data)
        required = {CARD, GOLDEN_IMAGES}
        for precision in manifest.golden.tolerance:
            required |= {model_file(precision), golden_file(precision)}
        listed, found = set(manifest.files), source.names() - {MANIFEST}
        _compare_names(required, listed, "the bundle needs", "manifest.json lists")
        _compare_names(listed, found, "manifest.json lists", "found")
    except BundleError as error:
        raise BundleError(f"{path}: {error}") from error
    files = {}
    for name, record in manifest.files.items():
        content = source.read(name, min(record.bytes, _FILE_LIMIT))
        if len(content) != record.bytes or sha256(content) != record.sha256:
            raise IntegrityError(
                f"{path}: {name} is not the file the manifest describes (SHA-256 differs): "
                "copy the bundle again from its source"
            )
        files[name] = content
    bundle = Bundle(path, manifest, sha256(data), files)
    bundle.check_labels()
    return bundle


def _compare_names(wanted: set[str], found: set[str], first: str, second: str) -> None:
    if missing := sorted(wanted - found):
        raise BundleError(f"{first} {missing[0]}, which is missing")
    if extra := sorted(found - wanted):
        raise BundleError(f"{second} {extra[0]}, which does not belong to the bundle")


def _open(path: Path) -> _Folder | _Zip:
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise BundleError(f"{path}: no such bundle")
    if not path.is_file():  # a pipe would be waited for
        raise BundleError(f"{path}: neither a folder nor a .zip file")
    try:
        return _Zip(zipfile.ZipFile(path), path)
    except zipfile.BadZipFile as error:
        raise BundleError(f"{path}: neither a folder nor a .zip file") from error


class _Folder:
    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> set[str]:
        return {
            entry.relative_to(self._path).as_posix()
            for entry in self._path.rglob("*")
            if not entry.is_dir()
        }

    def read(self, name: str, limit: int) -> bytes:
        """The file, or one byte more than `limit` of one that is larger."""
        path = self._path / name
        if not path.is_file():
            raise BundleError(f"{self._path}: {name} is missing, so this is no bundle")
        with path.open("rb") as file:
            return file.read(limit + 1)


class _Zip:
    def __init__(self, archive: zipfile.ZipFile, path: Path) -> None:
        self._archive = archive
        self._path = path

    def names(self) -> set[str]:
        # Members are read by the exact names in the manifest and never written to a disk, so a
        # member that points elsewhere ("../x", a link) can only be an unexpected name.
        return {info.filename for info in self._archive.infolist() if not info.is_dir()}

    def read(self, name: str, limit: int) -> bytes:
        """The member, or one byte more than `limit` of one that is larger."""
        try:
            with self._archive.open(name) as member:
                return member.read(limit + 1)
        except KeyError as error:
            raise BundleError(f"{self._path}: {name} is missing, so this is no bundle") from error
        except _UNREADABLE as error:
            raise IntegrityError(f"{self._path}: {name} cannot be read: {error}") from error
