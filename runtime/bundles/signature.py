"""What tells that manifest.json is as it was written, and by whom.

manifest.json holds the hash of every other file. One more file beside it holds its own:
`manifest.sha256`, a plain hash, against damage; or in a signed bundle `signature.json`, against
forgery too once the reader knows the signer's key.
"""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Literal

import msgspec

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles import ed25519
from orthoedge.runtime.errors import BundleError, ConfigError, IntegrityError

MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
SIGNATURE = "signature.json"
SEAL_LIMIT = 1024
"""Bytes that neither file reaches."""

_KEY_FILE_LIMIT = 4096
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s(.*)-----END PUBLIC KEY-----\s*", re.DOTALL)
_DER = bytes.fromhex("302a300506032b6570032100")  # before the key's 32 bytes, RFC 8410 section 4


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    algorithm: Literal["ed25519"]
    public_key: str
    """64 lower-case hex digits."""
    signature: str
    """128 lower-case hex digits."""


def encode_digest(manifest: bytes) -> bytes:
    """Content of `manifest.sha256`, which `sha256sum -c` reads too."""
    return f"{sha256(manifest)}  {MANIFEST}\n".encode()


def encode_signature(key: bytes, signature: bytes) -> bytes:
    """Content of `signature.json`.

    Args:
        key: the signer's public key, 32 bytes.
        signature: Ed25519 over the bytes of manifest.json, 64 bytes.
    """
    return msgspec.json.encode(_Signature("ed25519", key.hex(), signature.hex())) + b"\n"


def check_digest(content: bytes, manifest: bytes) -> None:
    """Raise IntegrityError unless `content` is the `manifest.sha256` of these bytes."""
    if content != encode_digest(manifest):
        raise IntegrityError(
            f"{MANIFEST} is not the file that {DIGEST} describes: "
            "copy the bundle again from its source"
        )


def check_signature(content: bytes, manifest: bytes) -> bytes:
    """The public key whose owner signed manifest.json.

    Args:
        content: of `signature.json`.
        manifest: of `manifest.json`.

    Raises:
        IntegrityError: it is not written as `encode_signature` writes it, or is of other bytes.
    """
    try:
        found = msgspec.json.decode(content, type=_Signature)
        key, signature = bytes.fromhex(found.public_key), bytes.fromhex(found.signature)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise IntegrityError(f"{SIGNATURE}: {error}") from error
    # One way of writing it, so that no flipped bit goes unseen.
    if content != encode_signature(key, signature):
        raise IntegrityError(f"{SIGNATURE}: not as orthoedge bundle sign writes it")
    if not ed25519.verify(key, manifest, signature):
        raise IntegrityError(
            f"{SIGNATURE} is no signature of this {MANIFEST}: one of them was changed; "
            "copy the bundle again from its source"
        )
    return key


def check_signer(signer: bytes | None, key: bytes | None) -> None:
    """Raise IntegrityError unless a bundle is signed by the key that its reader asks for.

    Args:
        signer: public key that it was found to be signed with; None for an unsigned one.
        key: the only public key that may have signed it; None for any or none.
    """
    if key is None or signer == key:
        return
    if signer is None:
        raise IntegrityError(f"{SIGNATURE} is missing: it must be signed by {key.hex()}")
    raise IntegrityError(f"{SIGNATURE}: signed by {signer.hex()}, and not by {key.hex()}")


def check_version(version: str, oldest: str) -> None:
    """Raise where a bundle is older than its reader asks for.

    Worth something only beside a pinned key: who may change the manifest may change its version.

    Args:
        version: of the bundle.
        oldest: numbers with dots; empty for any version.

    Raises:
        BundleError: older, or not to be compared.
        RecipeError: `oldest` is no version.
    """
    if not oldest:
        return
    wanted, found = _numbers(oldest), _numbers(version)
    if wanted is None:
        raise ConfigError(f"min_version must be numbers with dots, got {oldest!r}")
    if found is None:
        raise BundleError(f"{MANIFEST}: version {version!r} is not numbers with dots")
    if found < wanted:
        raise BundleError(f"{MANIFEST}: version {version} is older than {oldest}")


def read_key(path: Path) -> bytes:
    """A public key of 32 bytes, from PEM as OpenSSL and `orthoedge bundle keys` write it.

    Raises:
        OSError: it cannot be read.
        RecipeError: it holds something else.
    """
    with path.open("rb") as file:
        found = _PEM.fullmatch(file.read(_KEY_FILE_LIMIT).decode("ascii", "replace"))
    try:
        data = b"" if found is None else base64.b64decode("".join(found[1].split()), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != len(_DER) + 32 or not data.startswith(_DER):
        raise ConfigError(f"{path}: no public Ed25519 key in PEM, see orthoedge bundle keys")
    return data[len(_DER) :]


def _numbers(version: str) -> tuple[int, ...] | None:
    """1.10 is (1, 10), and so is 1.10.0; None where there is anything but numbers and dots."""
    if re.fullmatch(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8}))*", version) is None:
        return None
    numbers = [int(number) for number in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
