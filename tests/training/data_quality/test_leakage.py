"""Leaks of each kind are refused, and a clean split passes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord, read_index
from orthoedge.training.data.splits import SPLITS, Splits, split_records
from orthoedge.training.data_quality.leakage import check_leaks, seen_before
from orthoedge.training.recipe import SplitSettings

SEVENTY = SplitSettings(train=0.7, val=0.15, seed=0, by="patient", test_sites=(), folds=0)
CURE = "orthoedge data clean SRC --out DIR"


@pytest.fixture
def parts(phantoms) -> Splits:
    """A dozen records, four in each part, of one label."""
    records = [s for s in read_index(phantoms) if s.label == "fracture"][:12]
    return Splits(tuple(records[:4]), tuple(records[4:8]), tuple(records[8:]))


def _add(parts: Splits, part: str, record: ImageRecord) -> Splits:
    return replace(parts, **{part: (*getattr(parts, part), record)})


def _plant(record: ImageRecord, path: Path) -> ImageRecord:
    """`record` as its copy at `path` of another patient, so that only the copy can be found."""
    return replace(record, path=path, patient_id="planted")


def _rewritten(change):
    """A kind of leak: the picture changed a little, under a name that does not tell."""

    def plant(record: ImageRecord, folder: Path) -> ImageRecord:
        path = folder / "other.png"
        pixels = cv2.imread(str(record.path), cv2.IMREAD_GRAYSCALE)
        cv2.imwrite(str(path), np.ascontiguousarray(change(pixels)))
        return _plant(record, path)

    return plant


def _named(name: str):
    """A kind of leak: a name that tells, above a picture turned by 30 degrees."""

    def plant(record: ImageRecord, folder: Path) -> ImageRecord:
        path = folder / name.format(record.path.stem)
        pixels = cv2.imread(str(record.path), cv2.IMREAD_GRAYSCALE)
        turn = cv2.getRotationMatrix2D((48, 48), 30, 1)
        cv2.imwrite(str(path), cv2.warpAffine(pixels, turn, (96, 96)))
        return _plant(record, path)

    return plant


def _copied(record: ImageRecord, folder: Path) -> ImageRecord:
    return _plant(record, Path(shutil.copy(record.path, folder / "other.png")))


def _same_file(record: ImageRecord, folder: Path) -> ImageRecord:
    return _plant(record, record.path.parent / ".." / record.path.parent.name / record.path.name)


def _jpeg(pixels):
    coded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE)


# What is planted, and what the message says of it.
KINDS = {
    "file": (_same_file, "are the same file"),
    "bytes": (_copied, "hold the same bytes"),
    "rotated copy": (_named("{}-rotated1-rotated2.png"), "copies of one image by their names"),
    "exported copy": (_named("{}_png.rf.0a1b2c.jpg"), "copies of one image by their names"),
    "mirror image": (_rewritten(lambda p: p[:, ::-1]), "show the same picture"),
    "quarter turn": (_rewritten(np.rot90), "show the same picture"),
    "saved as a JPEG": (_rewritten(_jpeg), "show the same picture"),
    "brighter": (_rewritten(lambda p: cv2.convertScaleAbs(p, beta=10)), "show the same picture"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("first", "second"), [("train", "val"), ("train", "test"), ("val", "test")]
)
def test_a_radiograph_in_two_parts_is_refused_by_file_and_part(
    parts, tmp_path, kind, first, second
):
    plant, cause = KINDS[kind]
    planted = plant(getattr(parts, first)[1], tmp_path)
    with pytest.raises(DataError) as caught:
        check_leaks(_add(parts, second, planted))
    message = str(caught.value)
    assert cause in message
    assert f"{getattr(parts, first)[1].path} ({first}) and {planted.path} ({second})" in message
    assert CURE in message
    assert "\n" not in message


def test_a_group_and_a_centre_in_two_parts_are_refused(parts):
    straddling = replace(parts.test[0], patient_id=parts.val[0].patient_id)
    with pytest.raises(DataError, match=r"\(val\) and .* \(test\) are of one patient"):
        check_leaks(replace(parts, test=(straddling, *parts.test[1:])))
    here, there = (tuple(replace(s, site=c) for s in parts.train) for c in ("here", "there"))
    test = tuple(replace(s, site="there") for s in parts.test)
    val = tuple(replace(s, site="here") for s in parts.val)
    check_leaks(Splits(here, val, test), by="site")
    with pytest.raises(DataError, match=r"\(train\) and .* \(test\) are of one site"):
        check_leaks(Splits(there, val, test), by="site")
    check_leaks(Splits(there, val, test))


@pytest.mark.parametrize("kind", KINDS)
def test_a_copy_inside_one_part_is_no_leak(parts, tmp_path, kind):
    check_leaks(_add(parts, "train", KINDS[kind][0](parts.train[1], tmp_path)))


def test_equal_names_of_different_pictures_are_no_leak(parts, tmp_path):
    # Collections number each class from one, and cameras start at IMG_0001 again.
    other = tmp_path / parts.train[0].path.name
    shutil.copy(parts.test[0].path, other)
    check_leaks(replace(parts, test=(replace(parts.test[0], path=other), *parts.test[1:])))
    marked = tmp_path / f"{parts.train[0].path.stem}-rotated1.png"
    shutil.copy(parts.test[0].path, marked)
    tumour = replace(parts.test[0], path=marked, label="tumor-benign")
    check_leaks(replace(parts, test=(tumour, *parts.test[1:])))


def test_a_split_of_phantoms_is_clean_as_files_and_as_the_networks_squares(phantoms, tmp_path):
    parts = split_records(read_index(phantoms), SEVENTY)
    check_leaks(parts)
    copy = _add(parts, "test", KINDS["mirror image"][0](parts.train[3], tmp_path))

    labels = sorted({record.label for record in parts.train})

    def squares(of: Splits):
        return [RadiographDataset(getattr(of, part), labels, STANDARD) for part in SPLITS]

    check_leaks(parts, squares(parts))
    with pytest.raises(DataError, match="the same picture"):
        check_leaks(copy, squares(copy))


def test_what_was_seen_before_is_told_and_copies_among_the_new_are_not(parts, tmp_path):
    def read(records):
        return RadiographDataset(records, ["fracture"], STANDARD)

    assert seen_before(read(parts.test), [read(parts.train), read(parts.val)]) == []
    kinds = ("bytes", "mirror image")
    planted = []
    for kind, known in zip(kinds, (parts.train[2], parts.val[1]), strict=True):
        (tmp_path / kind).mkdir()
        planted.append(KINDS[kind][0](known, tmp_path / kind))
    twice = KINDS["mirror image"][0](parts.test[0], tmp_path)
    new = (planted[0], *parts.test, twice, planted[1])
    # A copy inside the known parts, too: it is nothing that the new set has.
    known = (*parts.train, KINDS["file"][0](parts.train[0], tmp_path))
    assert seen_before(read(new), [read(known), read(parts.val)]) == planted


def test_an_image_that_cannot_be_read_is_named(parts, tmp_path):
    (tmp_path / "text.png").write_text("text")
    broken = replace(parts.val[0], path=tmp_path / "text.png")
    with pytest.raises(InputError, match=r"text\.png: not an image"):
        check_leaks(_add(parts, "train", replace(broken, patient_id="planted")))
