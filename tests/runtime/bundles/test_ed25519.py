"""Signatures: those of RFC 8032, those of another implementation, and those that must not pass."""

import hashlib
import random

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from orthoedge.runtime.bundles import ed25519
from orthoedge.runtime.bundles.ed25519 import verify

# RFC 8032 section 7.1, tests 1 to 3: public key, message, signature.
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0"
        "f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f76098"
        "4dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize("vector", VECTORS)
def test_the_signatures_of_the_rfc_hold(vector):
    key, message, signature = map(bytes.fromhex, vector)
    assert verify(key, message, signature)
    assert not verify(key, message + b"\0", signature)


def accepted_elsewhere(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def test_another_implementation_says_the_same():
    rng = random.Random(0)
    for size in range(25):
        private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        key, message = private.public_key().public_bytes_raw(), rng.randbytes(7 * size)
        signature = private.sign(message)
        assert verify(key, message, signature)
        for parts in flipped((key, message, signature), rng):
            assert verify(*parts) == accepted_elsewhere(*parts) == False  # noqa: E712


def flipped(parts, rng):
    """The three with one bit changed in each of those that have one."""
    for i, part in enumerate(parts):
        if part:
            at = rng.randrange(len(part))
            changed = part[:at] + bytes([part[at] ^ 1 << rng.randrange(8)]) + part[at + 1 :]
            yield (*parts[:i], changed, *parts[i + 1 :])


def test_a_signature_has_one_form():
    key, message, signature = map(bytes.fromhex, VECTORS[1])
    scalar = int.from_bytes(signature[32:], "little")
    for times in range(1, 2**256 // ed25519._ORDER):  # the same equation, another signature
        other = (scalar + times * ed25519._ORDER).to_bytes(33, "little")[:32]
        assert not verify(key, message, signature[:32] + other)
    for cut in (signature[:-1], signature + b"\0", b""):
        assert not verify(key, message, cut)
    assert not verify(key[:-1], message, signature)


def test_a_point_has_one_form():
    """y and y + p are one number; only the smaller is read, as a key and as R."""
    identity = (1).to_bytes(32, "little")
    for number in (ed25519._P, ed25519._P + 1, 2**255 - 1):
        assert ed25519._decode(number.to_bytes(32, "little")) is None
    assert ed25519._decode(identity) is not None
    assert ed25519._decode(identity[:31] + b"\x80") is None  # x = 0 has no sign


SMALL = [  # all points whose order divides 8, as they are written
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize("small", SMALL)
def test_no_key_vouches_for_every_message(small):
    key = bytes.fromhex(small)
    assert ed25519._decode(key) is not None
    # With S = 0 and R of the key's own small group the equation holds for one message in eight.
    for message in range(20):
        for written in SMALL:
            assert not verify(key, bytes([message]), bytes.fromhex(written) + bytes(32))


def test_a_key_that_is_only_half_in_the_group_is_refused():
    """Whether it signed would depend on the implementation asked: here the equation holds."""
    secret, chance = 1234567, 7654321
    torsion = ed25519._decode(bytes.fromhex(SMALL[4]))
    key = ed25519._encode(ed25519._add(ed25519._times(secret, ed25519._BASE), torsion))
    written = ed25519._encode(ed25519._times(chance, ed25519._BASE))
    for number in range(100):
        message = bytes([number])
        factor = int.from_bytes(hashlib.sha512(written + key + message).digest(), "little")
        factor %= ed25519._ORDER
        if factor % 8 == 0:
            break
    scalar = (chance + factor * secret) % ed25519._ORDER
    signature = written + scalar.to_bytes(32, "little")
    assert accepted_elsewhere(key, message, signature)
    assert not verify(key, message, signature)
