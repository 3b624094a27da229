"""Signature of a bundle: a plain hash reveals damage, a signature reveals other authors."""

import json
import random

import pytest

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.bundles.signature import check_version, encode_signature
from orthoedge.runtime.errors import BundleError, ConfigError, IntegrityError
from orthoedge.targets import BundleTrust, open_pipeline
from tests.helpers.hostile.mutations import FORMS, KINDS, contents, mutate, named, write
from tests.helpers.hostile.signers import KEY, OTHER, OTHER_KEY, signed


@pytest.fixture
def plain(small_bundle):
    return contents(small_bundle.path)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_thing_wrong_is_refused_with_the_file_named(plain, tmp_path, form, kind):
    rng = random.Random(f"{form} {kind}")
    for files, key in ((plain, None), (signed(plain), KEY)) * 2:
        changed, names = mutate(files, rng, kind)
        if names == {"manifest.sha256"} and kind == "removed":
            continue  # what is left is the unsigned bundle of older versions
        with pytest.raises(BundleError) as raised:
            read_bundle(
                write(changed, tmp_path / "bundle", form), trust=BundleTrust(public_key=key)
            )
        assert named(raised.value, names)


def test_an_older_bundle_without_a_hash_is_read(plain, small_bundle, tmp_path):
    del plain["manifest.sha256"]
    bundle = read_bundle(write(plain, tmp_path / "bundle", "folder"))
    assert (bundle.sha256, bundle.signer) == (small_bundle.sha256, None)


@pytest.mark.parametrize("form", FORMS)
def test_a_pinned_key_takes_its_owners_bundle_and_no_other(plain, tmp_path, form):
    ours = write(signed(plain), tmp_path / "ours", form)
    assert (
        read_bundle(ours, trust=BundleTrust(public_key=KEY)).signer
        == read_bundle(ours).signer
        == KEY
    )
    with pytest.raises(IntegrityError, match=f"signature.json: signed by {KEY.hex()}, and not by"):
        read_bundle(ours, trust=BundleTrust(public_key=OTHER_KEY))
    with pytest.raises(IntegrityError, match=r"signature\.json is missing"):
        read_bundle(write(plain, tmp_path / "plain", form), trust=BundleTrust(public_key=KEY))
    with pytest.raises(IntegrityError, match=f"signed by {OTHER_KEY.hex()}, and not"):
        read_bundle(
            write(signed(plain, OTHER), tmp_path / "theirs", form),
            trust=BundleTrust(public_key=KEY),
        )


def test_a_manifest_signed_by_another_key_is_not_decoded(plain, tmp_path):
    """With a key pinned; without one the same bytes are refused for what they are."""
    plain["manifest.json"] = b"{"
    del plain["manifest.sha256"]
    path = write(signed(plain, OTHER), tmp_path / "bundle", "folder")
    with pytest.raises(IntegrityError, match="and not by"):
        read_bundle(path, trust=BundleTrust(public_key=KEY))
    with pytest.raises(BundleError, match=r"manifest\.json: Input data was truncated"):
        read_bundle(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null\n",
        encode_signature(KEY, bytes(64)),
        encode_signature(KEY[:-1], bytes(64)),
        encode_signature(KEY, bytes(64)).replace(b"ed25519", b"none"),
        encode_signature(KEY, bytes(64)).replace(b"00", b"zz"),
    ],
)
def test_a_signature_of_something_else_is_refused_by_every_reader(plain, tmp_path, content):
    path = write(plain | {"signature.json": content}, tmp_path / "bundle", "folder")
    for key in (None, KEY):
        with pytest.raises(IntegrityError, match=r"bundle: signature\.json"):
            read_bundle(path, trust=BundleTrust(public_key=key))


def test_a_signature_is_written_in_one_way(plain, tmp_path):
    files = signed(plain)
    whole = files["signature.json"]
    for other in (whole.upper(), whole[:-1], b" " + whole, json.dumps(json.loads(whole)).encode()):
        path = write(files | {"signature.json": other}, tmp_path / "bundle", "folder")
        with pytest.raises(IntegrityError, match=r"signature\.json"):
            read_bundle(path)


@pytest.mark.parametrize(
    ("version", "oldest", "fits"),
    [
        ("1.2.3", "", True),
        ("x", "", True),
        ("1.2.3", "1.2.3", True),
        ("1.2", "1.2.0", True),
        ("1.2.0", "1.2", True),
        ("1.10", "1.9", True),
        ("2", "1.9.9", True),
        ("1.9", "1.10", False),
        ("0.9.9", "1", False),
        ("x", "0", False),
        ("1.0rc1", "0", False),
        ("1.٣", "0", False),
        ("01", "0", False),
        ("1.", "0", False),
    ],
)
def test_versions_are_compared_number_by_number(version, oldest, fits):
    if fits:
        check_version(version, oldest)
    else:
        with pytest.raises(BundleError, match=r"manifest\.json: version"):
            check_version(version, oldest)


@pytest.mark.parametrize("oldest", ["v1", "1.x", " 1", "1\n", "-1", "1..2"])
def test_an_oldest_version_that_is_none_is_refused(oldest):
    with pytest.raises(ConfigError, match="min_version must be numbers with dots"):
        check_version("1", oldest)


def test_a_bundle_that_is_read_already_is_held_to_the_same(plain, tmp_path):
    path = write(signed(plain), tmp_path / "bundle", "folder")
    for given in (path, read_bundle(path)):
        assert (
            open_pipeline(
                given, precision="fp32", trust=BundleTrust(public_key=KEY, min_version="0")
            ).bundle.signer
            == KEY
        )
        with pytest.raises(IntegrityError, match="and not by"):
            open_pipeline(given, trust=BundleTrust(public_key=OTHER_KEY))
        with pytest.raises(BundleError, match=r"version 0 is older than 0\.1"):
            open_pipeline(given, trust=BundleTrust(public_key=KEY, min_version="0.1"))


def test_the_plain_hash_is_what_sha256sum_reads(plain):
    content = plain["manifest.sha256"].decode()
    assert content == f"{sha256(plain['manifest.json'])}  manifest.json\n"
