"""Integrity and origin of manifest.json, which holds the SHA-256 of every other file.

`manifest.sha256` holds the hash of manifest.json and reveals damage. `signature.json` in a signed
bundle reveals forgery too, for a reader who pins the signer's public key.
"""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import BundleError, ConfigError, IntegrityError, MissingDependency

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

MANIFEST = "manifest.json"
DIGEST = "manifest.sha256"
SIGNATURE = "signature.json"
SEAL_LIMIT = 1024
"""Upper bound for the size of both files, in bytes."""

_KEY_FILE_LIMIT = 4096
_PEM = re.compile(r"-----BEGIN PUBLIC KEY-----\s(.*)-----END PUBLIC KEY-----\s*", re.DOTALL)
_DER = bytes.fromhex("302a300506032b6570032100")  # before the 32 bytes of the key (RFC 8410, 4)

# Ed25519 (RFC 8032, section 5.1): the field's prime, and y of every point whose order divides 8.
_PRIME = 2**255 - 19
_SMALL_ORDER_Y = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_WEAK_Y = {0, 1, _PRIME - 1, _SMALL_ORDER_Y, _PRIME - _SMALL_ORDER_Y}


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
            f"{MANIFEST} does not match {DIGEST}: copy the bundle again from its source"
        )


def check_signature(content: bytes, manifest: bytes) -> bytes:
    """Verify the signature of manifest.json and return the signer's public key.

    Args:
        content: of `signature.json`.
        manifest: of `manifest.json`.

    Raises:
        IntegrityError: not in the form that `encode_signature` writes, or of other bytes.
        MissingDependency: `cryptography` is not installed.
    """
    try:
        record = msgspec.json.decode(content, type=_Signature)
        key, signature = bytes.fromhex(record.public_key), bytes.fromhex(record.signature)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
        raise IntegrityError(f"{SIGNATURE}: {error}") from error
    # A single accepted form, so that every flipped bit is detected.
    if content != encode_signature(key, signature):
        raise IntegrityError(f"{SIGNATURE}: not in the form that orthoedge bundle sign writes")
    if not verify(key, manifest, signature):
        raise IntegrityError(
            f"{SIGNATURE} does not match {MANIFEST}: one of them was changed; "
            "copy the bundle again from its source"
        )
    return key


def verify(key: bytes, message: bytes, signature: bytes) -> bool:
    """Return whether `signature` is an Ed25519 signature of `message` by the owner of `key`.

    OpenSSL accepts keys of small order, with which anyone can sign, and a second encoding of the
    same key (y of the prime or above). Both are refused here.

    Args:
        key: public key, 32 bytes.
        message: any bytes.
        signature: 64 bytes, R and S.

    Raises:
        MissingDependency: `cryptography` is not installed.
    """
    public_keys = _public_keys()
    from cryptography.exceptions import InvalidSignature

    y = int.from_bytes(key, "little") & (2**255 - 1)
    if y >= _PRIME or y in _WEAK_Y:
        return False
    try:
        public_keys.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):  # ValueError: not 32 bytes, or no point of the curve
        return False
    return True


def _public_keys() -> type[Ed25519PublicKey]:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError as error:
        raise MissingDependency("cryptography", "trust", "checking signed bundles") from error
    return Ed25519PublicKey


def check_signer(signer: bytes | None, key: bytes | None) -> None:
    """Check that a bundle is signed by the pinned key.

    Args:
        signer: public key of the verified signature; None where none was verified.
        key: the only public key that is trusted; None for any or none.

    Raises:
        IntegrityError: not signed, or signed by a different key.
        MissingDependency: a key is pinned, and `cryptography` is not installed.
    """
    if key is None or signer == key:
        return
    if signer is None:
        _public_keys()  # without it a signature that exists was not verified
        raise IntegrityError(f"{SIGNATURE} is missing: it must be signed by {key.hex()}")
    raise IntegrityError(f"{SIGNATURE}: signed by {signer.hex()}, and not by {key.hex()}")


def check_version(version: str, oldest: str) -> None:
    """Check that a bundle is not older than its reader accepts (see `BundleTrust`).

    Args:
        version: of the bundle.
        oldest: numbers with dots; empty for any version.

    Raises:
        BundleError: older, or not numbers with dots.
        ConfigError: `oldest` is not numbers with dots.
    """
    if not oldest:
        return
    oldest_numbers, numbers = _numbers(oldest), _numbers(version)
    if oldest_numbers is None:
        raise ConfigError(f"min_version must be numbers with dots, got {oldest!r}")
    if numbers is None:
        raise BundleError(f"{MANIFEST}: version {version!r} is not numbers with dots")
    if numbers < oldest_numbers:
        raise BundleError(f"{MANIFEST}: version {version} is older than {oldest}")


def read_key(path: Path) -> bytes:
    """Read a public key of 32 bytes from PEM as OpenSSL and `orthoedge bundle keys` write it.

    Raises:
        OSError: the file cannot be read.
        ConfigError: not a public Ed25519 key.
    """
    with path.open("rb") as file:
        pem = _PEM.fullmatch(file.read(_KEY_FILE_LIMIT).decode("ascii", "replace"))
    try:
        data = b"" if pem is None else base64.b64decode("".join(pem[1].split()), validate=True)
    except ValueError:
        data = b""
    if len(data) != len(_DER) + 32 or not data.startswith(_DER):
        raise ConfigError(f"{path}: no public Ed25519 key in PEM, see orthoedge bundle keys")
    return data[len(_DER) :]


def _numbers(version: str) -> tuple[int, ...] | None:
    """Parse a version: 1.10 and 1.10.0 are both (1, 10); None for anything but numbers and dots."""
    if re.fullmatch(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8}))*", version) is None:
        return None
    numbers = [int(number) for number in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)
