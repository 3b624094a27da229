"""Reading a bundle from a folder or a .zip of it; every SHA-256 is checked first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles import signature
from orthoedge.runtime.bundles.arrays import read_npy, read_npz
from orthoedge.runtime.bundles.manifest import Manifest, decode_manifest
from orthoedge.runtime.bundles.onnx_guard import check_onnx
from orthoedge.runtime.bundles.paths import EMBEDDED as EMBEDDED
from orthoedge.runtime.bundles.paths import PHANTOM as PHANTOM
from orthoedge.runtime.bundles.paths import PHANTOM_SAMPLES as PHANTOM_SAMPLES
from orthoedge.runtime.bundles.paths import SAMPLES as SAMPLES
from orthoedge.runtime.bundles.paths import bundle_argument as bundle_argument
from orthoedge.runtime.bundles.paths import bundle_path as bundle_path
from orthoedge.runtime.bundles.source import Folder, Zip, open_source
from orthoedge.runtime.engine import PRECISIONS, ModelKey, Outputs, calibrated_as, output_names
from orthoedge.runtime.errors import BundleError, IntegrityError, MissingDependency
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.settings import BundleTrust, reads_old_form

MANIFEST = signature.MANIFEST
CARD = "MODEL_CARD.md"
LICENCE = "LICENSE"
"""Terms of the bundle itself, where they need a text."""
GOLDEN_IMAGES = "golden/images.npy"

_MANIFEST_LIMIT = 4 << 20
_FILE_LIMIT = 1 << 30


def model_file(key: ModelKey) -> str:
    """Name of a model's ONNX file inside a bundle."""
    return f"model.{key}.onnx"


def golden_file(key: ModelKey) -> str:
    """Name of the expected outputs of a model inside a bundle; fp16 uses those of fp32."""
    return f"golden/{calibrated_as(key)}.npz"


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files all matched their SHA-256, in memory, so that nothing changes later."""

    path: Path
    manifest: Manifest
    sha256: str
    """SHA-256 of manifest.json, which holds the hash of every other file."""
    files: Mapping[str, bytes]
    signer: bytes | None = None
    """Public key of the verified signature of manifest.json; None where none was verified."""

    def check_trust(self, trust: BundleTrust) -> None:
        """Check signer and version, as `read_bundle` does.

        Raises:
            BundleError: too old.
            IntegrityError: not signed by `trust.public_key`.
        """
        try:
            signature.check_signer(self.signer, trust.public_key)
            signature.check_version(self.manifest.version, trust.min_version)
        except BundleError as error:
            raise type(error)(f"{self.path}: {error}") from error

    def model(self, key: ModelKey) -> bytes:
        """Return an ONNX file; `manifest.key_for` says which one a target runs.

        Raises:
            BundleError: missing (fp16 is left out where half precision overflows, and older bundles
                never have it), or refused by `check_onnx`.
        """
        name = model_file(key)
        if name not in self.files:
            raise BundleError(f"{self.path}: holds no {name}: choose {' or '.join(PRECISIONS)}")
        try:
            check_onnx(self.files[name])
        except BundleError as error:
            raise BundleError(f"{self.path}: {name}: {error}") from error
        return self.files[name]

    def without_models(self) -> Bundle:
        """Return the bundle without its ONNX files, which no open engine needs."""
        models = {model_file(precision) for precision in self.manifest.golden.tolerance}
        kept = {name: data for name, data in self.files.items() if name not in models}
        return replace(self, files=kept)

    def golden_images(self) -> Pixels:
        """Return the inputs of the golden test, uint8 (n, 1, S, S).

        Raises:
            BundleError: the file is malformed.
        """
        size = self.manifest.graph.size
        try:
            images = read_npy(self.files[GOLDEN_IMAGES])
        except BundleError as error:
            raise BundleError(f"{self.path}: {GOLDEN_IMAGES}: {error}") from error
        if images.shape[1:] != (1, size, size) or len(images) < 1 or images.dtype != np.uint8:
            raise BundleError(
                f"{self.path}: {GOLDEN_IMAGES} holds {images.dtype} {images.shape}, "
                f"expected uint8 (n, 1, {size}, {size})"
            )
        return images

    def golden_outputs(self, key: ModelKey) -> Outputs:
        """Return the expected outputs for the golden inputs.

        Raises:
            BundleError: the file is malformed.
        """
        arrays = self._golden(golden_file(key))
        return Outputs(*(arrays[name] for name in output_names(self.manifest.graph.has_mask)))

    def check_labels(self) -> None:
        """Compare the manifest's labels with those recorded with the golden outputs.

        Raises:
            BundleError: they differ, so predictions would carry wrong names.
        """
        for key in self.manifest.calibration:
            name = golden_file(key)
            recorded = tuple(str(label) for label in self._golden(name)["labels"].ravel())
            if recorded != self.manifest.labels:
                raise BundleError(
                    f"{self.path}: manifest.json: labels {', '.join(self.manifest.labels)} "
                    f"differ from those of {name}: {', '.join(recorded)}"
                )

    def _golden(self, name: str) -> dict[str, npt.NDArray[Any]]:
        try:
            arrays = read_npz(self.files[name])
        except BundleError as error:
            raise BundleError(f"{self.path}: {name}: {error}") from error
        expected = {"labels", *output_names(self.manifest.graph.has_mask)}
        if not arrays.keys() >= expected:
            raise BundleError(f"{self.path}: {name} does not hold the golden outputs")
        return arrays


@reads_old_form("key", "oldest")
def read_bundle(path: Path, *, trust: BundleTrust = BundleTrust()) -> Bundle:
    """Read a bundle folder or .zip.

    Args:
        path: the folder or the .zip.
        trust: the key that must have signed the bundle, and the oldest version that is accepted;
            by default any signer, unsigned bundles and any version are accepted.

    Raises:
        BundleError: missing, a malformed manifest, files that are not listed in it, or too old.
        IntegrityError: a file does not match the manifest, or the manifest does not match its hash
            or signature; or it is not signed by the trusted key.
        MissingDependency: a key is pinned, and `cryptography` is not installed.
    """
    source = open_source(path)
    try:
        bundle = _read(source, path, trust)
    except BundleError as error:
        raise type(error)(f"{path}: {error}") from error
    bundle.check_labels()
    return bundle


def _read(source: Folder | Zip, path: Path, trust: BundleTrust) -> Bundle:
    data, names = source.read(MANIFEST, _MANIFEST_LIMIT), source.names()
    signer = None
    # Hash and signature are checked before untrusted JSON is decoded.
    if signature.DIGEST in names:
        signature.check_digest(source.read(signature.DIGEST, signature.SEAL_LIMIT), data)
    if signature.SIGNATURE in names:
        content = source.read(signature.SIGNATURE, signature.SEAL_LIMIT)
        try:
            signer = signature.check_signature(content, data)
        except MissingDependency:
            if trust.public_key is not None:
                raise
    signature.check_signer(signer, trust.public_key)
    manifest = decode_manifest(data)
    signature.check_version(manifest.version, trust.min_version)
    required = {CARD, GOLDEN_IMAGES}
    for key in manifest.golden.tolerance:
        required |= {model_file(key), golden_file(key)}
    listed, present = set(manifest.files), names - {MANIFEST, signature.DIGEST, signature.SIGNATURE}
    _compare_names(required, listed - {LICENCE}, "the bundle needs", "manifest.json lists")
    _compare_names(listed, present, "manifest.json lists", "found")
    files = {}
    for name, record in manifest.files.items():
        content = source.read(name, _FILE_LIMIT) if source.size(name) == record.bytes else b""
        if len(content) != record.bytes or sha256(content) != record.sha256:
            raise IntegrityError(
                f"{name} is not the file the manifest describes (SHA-256 differs): "
                "copy the bundle again from its source"
            )
        files[name] = content
    return Bundle(path, manifest, sha256(data), files, signer)


def _compare_names(expected: set[str], names: set[str], first: str, second: str) -> None:
    if missing := sorted(expected - names):
        raise BundleError(f"{first} {missing[0]}, which is missing")
    if extra := sorted(names - expected):
        raise BundleError(f"{second} {extra[0]}, which does not belong to the bundle")
