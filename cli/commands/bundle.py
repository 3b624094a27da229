"""`orthoedge bundle`: make key pairs, sign a bundle, verify a signature."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoedge.cli.options import add_min_version, bundle_trust, named_bundle

if TYPE_CHECKING:
    from orthoedge.runtime.bundles.bundle import Bundle


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's arguments."""
    actions = parser.add_subparsers(metavar="ACTION", dest="action", required=True)
    keys = actions.add_parser("keys", help="make a pair of keys")
    keys.add_argument(
        "private", type=Path, metavar="FILE", help="the private key; the public one is FILE.pub"
    )
    sign = actions.add_parser("sign", help="sign a bundle folder, in place")
    sign.add_argument("bundle", type=Path, metavar="BUNDLE", help="bundle folder")
    sign.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="private key, PEM, not encrypted"
    )
    verify = actions.add_parser("verify", help="check every hash, the signature and its key")
    verify.add_argument(
        "bundle", type=named_bundle, metavar="BUNDLE", help="bundle folder or .zip, or phantom"
    )
    verify.add_argument(
        "--key", type=Path, required=True, metavar="FILE", help="the signer's public key, PEM"
    )
    add_min_version(verify)


def run(args: argparse.Namespace) -> int:
    """Run one action; exit 1 if a bundle does not verify."""
    return {"keys": _keys, "sign": _sign, "verify": _verify}[args.action](args)


def _keys(args: argparse.Namespace) -> int:
    """Write both keys as PEM; existing files are never replaced."""
    from orthoedge.runtime.atomic_files import write_atomic
    from orthoedge.runtime.errors import DataError

    public = args.private.with_name(f"{args.private.name}.pub")
    for path in (args.private, public):
        if path.exists():
            raise DataError(f"{path}: exists already; choose another name")
    kinds, serialization = _cryptography()
    key = kinds.Ed25519PrivateKey.generate()
    private_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public_pem = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    before = os.umask(0o077)  # so that no one else can read even the first byte
    try:
        write_atomic(args.private, private_pem)
    finally:
        os.umask(before)
    try:
        write_atomic(public, public_pem)
    except OSError:
        args.private.unlink()  # one key without the other would only block the name
        raise
    print(f"private key, keep it: {args.private}")
    print(f"public key, for --key: {public} ({key.public_key().public_bytes_raw().hex()})")
    return 0


def _sign(args: argparse.Namespace) -> int:
    """Add the signature, once everything was checked; the plain hash stays."""
    from orthoedge.runtime.atomic_files import sha256, staging, sync_folder, write_atomic
    from orthoedge.runtime.bundles.bundle import read_bundle
    from orthoedge.runtime.bundles.signature import MANIFEST, SIGNATURE, encode_signature
    from orthoedge.runtime.errors import BundleError
    from orthoedge.runtime.settings import BundleTrust

    if args.bundle.is_file():
        raise BundleError(f"{args.bundle}: is a file; sign the folder, then pack it")
    key = _read_private(args.key)
    bundle, manifest = read_bundle(args.bundle), (args.bundle / MANIFEST).read_bytes()
    if sha256(manifest) != bundle.sha256:
        raise BundleError(f"{args.bundle}: was changed while it was read")
    signer = key.public_key().public_bytes_raw()
    # Staged next to the bundle: a file that a killed process leaves inside would make it invalid.
    with staging(args.bundle.absolute().parent, args.bundle) as folder:
        write_atomic(folder / SIGNATURE, encode_signature(signer, key.sign(manifest)))
        (folder / SIGNATURE).rename(args.bundle / SIGNATURE)
    sync_folder(args.bundle)
    print(_signed_by(read_bundle(args.bundle, trust=BundleTrust(signer))))
    return 0


def _verify(args: argparse.Namespace) -> int:
    from orthoedge.runtime.bundles.bundle import read_bundle
    from orthoedge.runtime.errors import BundleError

    trust = bundle_trust(args)
    try:
        bundle = read_bundle(args.bundle, trust=trust)
    except BundleError as error:
        print(f"FAIL  {error}")
        return 1
    print(f"pass  {_signed_by(bundle)}, every file matches its SHA-256")
    return 0


def _signed_by(bundle: Bundle) -> str:
    name = f"{bundle.manifest.name} {bundle.manifest.version}"
    signer = "" if bundle.signer is None else bundle.signer.hex()
    return f"{bundle.path}: {name}, signed by {signer}"


def _read_private(path: Path) -> Any:
    """Read an Ed25519 private key; raises ConfigError if the file holds anything else."""
    from orthoedge.runtime.errors import ConfigError

    kinds, serialization = _cryptography()
    data = path.read_bytes()
    try:
        key = serialization.load_pem_private_key(data, password=None)
    # cryptography raises ValueError, TypeError for an encrypted key, and others.
    except Exception as error:
        raise ConfigError(f"{path}: no private key in PEM, or an encrypted one") from error
    if not isinstance(key, kinds.Ed25519PrivateKey):
        raise ConfigError(f"{path}: not an Ed25519 key")
    return key


def _cryptography() -> tuple[Any, Any]:
    """Import the modules that make keys and signatures."""
    from orthoedge.runtime.errors import MissingDependency

    try:
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ModuleNotFoundError as error:
        raise MissingDependency("cryptography", "trust", "signing bundles") from error
    return ed25519, serialization
