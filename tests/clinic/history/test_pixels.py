"""Pixels come back as they were written, or not at all."""

import gzip
import os
import time

import pytest

from orthoedge.clinic.history import History
from orthoedge.clinic.history.pixels import PixelFiles
from orthoedge.runtime.errors import DataError
from tests.helpers.history.findings import PIXELS, file_of, new_finding


@pytest.fixture
def files(tmp_path):
    return PixelFiles(tmp_path / "pixels")


def test_pixels_are_the_same_before_and_after_they_are_compressed(files):
    digest = files.write(PIXELS)
    assert files.read(digest) == PIXELS
    assert files.compress_next()
    assert file_of(files, digest).suffix == ".gz"
    assert gzip.decompress(file_of(files, digest).read_bytes()) == PIXELS
    assert files.read(digest) == PIXELS
    assert not files.compress_next()


def test_the_same_pixels_are_kept_once(files):
    assert files.write(PIXELS) == files.write(PIXELS)
    assert len(list(file_of(files, files.write(PIXELS)).parent.iterdir())) == 1


@pytest.mark.parametrize("is_packed", [False, True])
@pytest.mark.parametrize("damage", [lambda data: data[:-5], lambda data: b"\0" * len(data)])
def test_damaged_pixels_are_an_error_and_no_picture(files, is_packed, damage):
    digest = files.write(PIXELS)
    if is_packed:
        files.compress_next()
    path = file_of(files, digest)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match="only another copy of the history"):
        files.read(digest)


def test_missing_pixels_are_an_error(files):
    digest = files.write(PIXELS)
    files.remove(digest)
    with pytest.raises(DataError, match="missing"):
        files.read(digest)


def test_pixels_that_no_finding_names_are_removed_unless_they_are_young(tmp_path):
    history = History(tmp_path)
    number = history.add(new_finding(), PIXELS)
    lost = history.pixels.write(PIXELS[::-1])
    young = history.pixels.write(PIXELS * 2)
    hours_ago = time.time() - 7200
    for digest in (lost, history.get(number).picture.sha256):
        os.utime(file_of(history.pixels, digest), (hours_ago, hours_ago))
    assert history.remove_unnamed() == 1
    assert not history.pixels.has(lost)
    assert history.pixels.has(young)
    assert history.pixels.read(history.get(number).picture.sha256) == PIXELS
    history.close()
