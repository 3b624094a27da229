"""Ed25519: the signatures of RFC 8032, those made here, and those that must be refused."""

import random
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from orthoedge.runtime.bundles.signature import check_signer, verify
from orthoedge.runtime.errors import IntegrityError, MissingDependency

PRIME = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493

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


def test_a_signature_holds_for_its_key_and_message_alone():
    rng = random.Random(0)
    for size in range(25):
        private = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
        key, message = private.public_key().public_bytes_raw(), rng.randbytes(7 * size)
        signature = private.sign(message)
        assert verify(key, message, signature)
        for parts in flipped((key, message, signature), rng):
            assert not verify(*parts)


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
    for times in range(1, 2**256 // ORDER):  # the same equation, another signature
        other = (scalar + times * ORDER).to_bytes(33, "little")[:32]
        assert not verify(key, message, signature[:32] + other)
    for cut in (signature[:-1], signature + b"\0", b""):
        assert not verify(key, message, cut)
    assert not verify(key[:-1], message, signature)


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


# The same points in forms that RFC 8032 does not write: y of the prime or above, x = 0 with a sign.
OTHER_FORMS = [
    (y | sign << 255).to_bytes(32, "little").hex()
    for y, sign in ((PRIME, 0), (PRIME, 1), (PRIME + 1, 0), (PRIME + 1, 1), (1, 1), (PRIME - 1, 1))
]


def holds_in_openssl(key, message, signature):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


@pytest.mark.parametrize("small", SMALL + OTHER_FORMS)
def test_no_key_signs_every_message(small):
    key = bytes.fromhex(small)
    # With S = 0 and R of the key's own small group the equation holds for one message in eight.
    forged = [
        (bytes([message]), bytes.fromhex(written) + bytes(32))
        for message in range(20)
        for written in SMALL + OTHER_FORMS
    ]
    assert any(holds_in_openssl(key, *parts) for parts in forged)
    assert not any(verify(key, *parts) for parts in forged)


def test_a_key_has_one_form():
    """y and y + p are one number; only the smaller is read."""
    for number in range(PRIME, 2**255):
        for sign in (0, 1):
            key = (number | sign << 255).to_bytes(32, "little")
            for written in SMALL:
                assert not verify(key, b"", bytes.fromhex(written) + bytes(32))


def test_r_has_one_form():
    """OpenSSL compares the bytes of R with those that it writes."""
    good = Ed25519PrivateKey.from_private_bytes(bytes(32))
    key = good.public_key().public_bytes_raw()
    for number in range(PRIME, 2**255):
        assert not verify(key, b"", number.to_bytes(32, "little") + bytes(32))


def test_a_key_that_its_owner_made_half_of_small_order_is_accepted():
    """As reliability.md says: only the owner of a key can make one, and it is then pinned."""
    key = bytes.fromhex("bd714bc26817786bc082589a0814771ac15a981628f57dc7304c30a8d7e29dd7")
    assert verify(
        key,
        b"\x0b",
        bytes.fromhex(
            "f0e92dbede6e0d80fbf877969f41e82ac9f3421d3083d77aea45cf93d1385484"
            "f79e529094926d674fc083f6ab58e68005927e04491c34582a61394ee455bf0c"
        ),
    )


def test_without_cryptography_only_a_pinned_key_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    check_signer(None, None)
    with pytest.raises(MissingDependency, match=r"pip install 'orthoedge\[trust\]'"):
        check_signer(None, bytes(32))
    with pytest.raises(MissingDependency):
        verify(bytes(32), b"", bytes(64))
    monkeypatch.undo()
    with pytest.raises(IntegrityError):
        check_signer(None, bytes(32))
