"""Keys for tests, and bundles signed with them."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orthoedge.runtime.bundles.signature import encode_signature

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = PRIVATE.public_key().public_bytes_raw()
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = OTHER.public_key().public_bytes_raw()


def signed(files, private=PRIVATE):
    """The files of a bundle, signed as `orthoedge bundle sign` does it."""
    manifest = files["manifest.json"]
    signature = encode_signature(private.public_key().public_bytes_raw(), private.sign(manifest))
    kept = {name: content for name, content in files.items() if name != "manifest.sha256"}
    return kept | {"signature.json": signature}
