"""Duplicates: the same picture is recognised in every position, two pictures are not confused."""

import hashlib
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import DataError
from orthoedge.training.data_quality.duplicates import (
    file_digest,
    find_duplicates,
    fingerprint,
    stem_key,
)
from orthoedge.training.phantoms.render import write_phantoms


def jpeg(image, quality=70):
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def cropped(image, share):
    y, x = (round(side * share / 2) for side in image.shape)
    return image[y : image.shape[0] - y, x : image.shape[1] - x]


COPIES = {
    "JPEG at quality 70": jpeg,
    "60 % of the size": lambda i: cv2.resize(i, None, fx=0.6, fy=0.6),
    "brightness + 10": lambda i: cv2.add(i, np.full_like(i, 10)),
    "mirrored": lambda i: jpeg(i[:, ::-1]),
    "upside down": lambda i: jpeg(i[::-1]),
    "turned by 90": lambda i: jpeg(np.rot90(i)),
    "turned by 180": lambda i: jpeg(np.rot90(i, 2)),
    "turned by 270": lambda i: jpeg(np.rot90(i, 3)),
    "turned and mirrored": lambda i: jpeg(np.rot90(i)[:, ::-1]),
    "cropped by 2 %": lambda i: cropped(i, 0.02),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, 40, seed=5, size=256)
    paths = sorted((folder / "images").glob("*.png"))
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]


def test_two_phantoms_are_never_alike(images):
    assert find_duplicates([fingerprint(image) for image in images]) == []


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_alike_and_nothing_else(images, kind):
    # One in ten may be missed: a burnt-out phantom loses detail where brightness clips.
    n = len(images)
    copies = [COPIES[kind](image) for image in images]
    pairs = find_duplicates(
        [fingerprint(np.ascontiguousarray(image)) for image in (*images, *copies)]
    )
    expected = {(k, k + n) for k in range(n)}
    assert set(pairs) <= expected
    assert len(pairs) >= 0.9 * n


def test_pairs_come_in_order_over_several_blocks(monkeypatch, images):
    prints = [fingerprint(image) for image in (*images[:9], *images[:9])]
    monkeypatch.setattr("orthoedge.training.data_quality.duplicates._BLOCK", 2)
    assert find_duplicates(prints) == [(k, k + 9) for k in range(9)]


def test_two_lists_are_compared_with_each_other_alone(monkeypatch, images):
    one = [fingerprint(image) for image in images[:7]]
    # A mirror image, others, two that are alike, and a copy.
    other = [fingerprint(np.ascontiguousarray(images[k][:, ::-1])) for k in (4, 8, 9, 9)] + one[2:3]
    monkeypatch.setattr("orthoedge.training.data_quality.duplicates._BLOCK", 2)
    assert find_duplicates(one, other) == [(2, 4), (4, 0)]
    assert find_duplicates(one, []) == find_duplicates([], other) == []


def test_a_copy_of_a_wide_radiograph_turned_is_found(images):
    wide = images[0][60:180]
    assert find_duplicates(
        [fingerprint(wide), fingerprint(np.ascontiguousarray(np.rot90(wide)))]
    ) == [(0, 1)]


def test_constant_pictures_are_like_nothing(images):
    flat = np.full((64, 64), 7, np.uint8)
    assert find_duplicates([fingerprint(flat), fingerprint(flat), fingerprint(images[0])]) == []


def test_none_or_one_picture_has_no_pair(images):
    assert find_duplicates([]) == find_duplicates([fingerprint(images[0])]) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("10.jpg", "10"),
        ("10-rotated1.jpg", "10"),
        ("10-rotated1-rotated2-rotated3.jpg", "10"),
        ("IMG_3147_jpg.rf.fc4622004ff72e58b546635774372fe2.jpg", "img_3147"),
        ("IMG0000019_JPG.RF.0A1B.JPG", "img0000019"),
        ("a_flip.png", "a"),
        ("a_hflip.png", "a"),
        ("a-mirrored.png", "a"),
        ("a_rot90.png", "a"),
        ("a_aug_3.png", "a"),
        ("a - Copy.png", "a"),
        ("a - Copy (2).png", "a"),
        ("benign (1).png", "benign (1)"),  # the first patient of many, not a copy
        ("image_1.png", "image_1"),
        ("left_flipper.png", "left_flipper"),
        ("-rotated1.png", "-rotated1"),
        ("f0768.jpg", "f0768"),
    ],
)
def test_a_key_is_the_name_without_what_marks_a_copy(name, key):
    assert stem_key(Path("any/folder") / name) == key


def test_a_digest_is_the_sha256_of_the_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"bone")
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"bone").hexdigest()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"gone: cannot read the file: No such file") as error:
        file_digest(tmp_path / "gone")
    assert "\n" not in str(error.value)


def test_importing_costs_no_torch():
    code = (
        "import sys, orthoedge.training.data_quality.duplicates; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
