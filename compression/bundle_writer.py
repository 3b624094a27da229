"""Write a bundle atomically: into a temporary folder, read back, then renamed."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.atomic_files import sha256, staging, sync_folder, write_atomic
from orthoedge.runtime.bundles.bundle import (
    CARD,
    GOLDEN_IMAGES,
    LICENCE,
    MANIFEST,
    Bundle,
    golden_file,
    model_file,
    read_bundle,
)
from orthoedge.runtime.bundles.manifest import FileRecord, Manifest, encode_manifest
from orthoedge.runtime.bundles.signature import DIGEST, encode_digest
from orthoedge.runtime.engine import ModelKey, Outputs
from orthoedge.runtime.errors import BundleError


def write_bundle(
    folder: Path,
    manifest: Manifest,
    models: Mapping[ModelKey, bytes],
    golden_images: npt.NDArray[np.uint8],
    golden_outputs: Mapping[ModelKey, Outputs],
    card: str,
    announce: Callable[[], None] = lambda: None,
    licence: str = "",
) -> Bundle:
    """Write a bundle and read it back.

    Args:
        folder: must not exist; it appears complete or not at all.
        manifest: `files` is filled in here.
        models: ONNX by key.
        golden_images: uint8 (n, 1, S, S).
        golden_outputs: expected outputs for them, for each of `manifest.calibrated`.
        card: text of MODEL_CARD.md.
        announce: called when the bundle is complete, just before it appears.
        licence: text of LICENSE; "" for a bundle without that file.

    Raises:
        BundleError: the folder exists, or the written bundle does not read back.
    """
    check_free(folder)
    buffer = io.BytesIO()
    np.save(buffer, golden_images, allow_pickle=False)
    files = {CARD: card.encode(), GOLDEN_IMAGES: buffer.getvalue()}
    if licence:
        files[LICENCE] = licence.encode()
    for key, model in models.items():
        files[model_file(key)] = model
    for key, outputs in golden_outputs.items():
        buffer = io.BytesIO()
        arrays: dict[str, Any] = {"labels": np.array(manifest.labels), **outputs.tensors()}
        np.savez_compressed(buffer, **arrays)
        files[golden_file(key)] = buffer.getvalue()
    records = {
        name: FileRecord(sha256=sha256(content), bytes=len(content))
        for name, content in sorted(files.items())
    }
    files[MANIFEST] = encode_manifest(msgspec.structs.replace(manifest, files=records))
    files[DIGEST] = encode_digest(files[MANIFEST])
    with staging(folder.parent, folder) as temporary:
        for name, content in files.items():
            write_atomic(temporary / name, content)
        bundle = read_bundle(temporary)
        announce()
        temporary.rename(folder)
    sync_folder(folder.parent)
    return Bundle(folder, bundle.manifest, bundle.sha256, bundle.files)


def check_free(folder: Path) -> None:
    """Raise BundleError if `folder` already exists."""
    if folder.exists():
        raise BundleError(f"{folder}: already exists; remove it or choose another --out")
