"""Files and bytes that do not belong to a bundle are refused."""

import shutil
import zipfile

import pytest

from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.errors import BundleError, IntegrityError
from tests.helpers.hostile.mutations import contents, write


@pytest.fixture
def archive(small_bundle, tmp_path):
    return write(contents(small_bundle.path), tmp_path / "bundle.zip", "deflated")


def test_an_archive_holds_its_members_and_nothing_else(archive):
    whole = archive.read_bytes()
    read_bundle(archive)
    for other in (b"#!/bin/sh\n" + whole, whole + b"\0", whole + b"PK\5\6" + bytes(18)):
        archive.write_bytes(other)
        with pytest.raises(BundleError, match=r"^\S*bundle\.zip: "):
            read_bundle(archive)


def test_a_comment_is_refused(archive):
    with zipfile.ZipFile(archive, "a") as file:
        file.comment = b"more"
    with pytest.raises(IntegrityError, match="bytes before or after"):
        read_bundle(archive)


def test_folders_in_an_archive_are_no_files_unless_empty(archive):
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("golden/", b"")
    read_bundle(archive)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("other/", b"")
    with pytest.raises(BundleError, match="found other/, which does not belong"):
        read_bundle(archive)


def test_an_empty_folder_and_a_link_to_a_folder_are_additions(small_bundle, tmp_path):
    bundle = shutil.copytree(small_bundle.path, tmp_path / "bundle")
    (bundle / "empty").mkdir()
    with pytest.raises(BundleError, match="found empty, which does not belong"):
        read_bundle(bundle)
    (bundle / "empty").rmdir()
    (bundle / "link").symlink_to(bundle / "golden")
    with pytest.raises(BundleError, match="found link, which does not belong"):
        read_bundle(bundle)
