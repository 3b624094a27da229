"""Records, their split and their images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.benchmarks.metrics.classification import boxes_in_input, points_at
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import LetterboxTransform, Preprocess
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord, check_labels, list_sha256, read_index
from orthoedge.training.data.loader import class_weights, draw
from orthoedge.training.recipe_file import load_recipe


def _image(path: Path, seed: int = 0, shape: tuple[int, int] = (80, 60)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(20, 170, shape).astype(np.float32)
    cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8))


def _index(folder: Path, header: str, *rows: str) -> Path:
    (folder / "index.csv").write_text("\n".join((header, *rows)) + "\n")
    return folder


def test_an_index_gives_paths_groups_boxes_and_masks(tmp_path):
    _image(tmp_path / "a.png")
    _image(tmp_path / "m.png")
    _image(tmp_path / "b.png")
    header = "path,label,group,source,boxes,mask"
    _index(tmp_path, header, 'a.png,x,p1,s,"[[0.1,0.2,0.5,1]]",m.png', "b.png,y,,s,,")
    first, second = read_index(tmp_path)
    assert first == ImageRecord(
        tmp_path / "a.png", "x", "p1", ((0.1, 0.2, 0.5, 1.0),), tmp_path / "m.png", "s"
    )
    assert second == ImageRecord(tmp_path / "b.png", "y", "b.png", source="s")
    assert read_index(tmp_path / "index.csv") == [first, second]


def test_a_folder_per_class_is_an_index_too(tmp_path):
    _image(tmp_path / "x" / "1.png")
    _image(tmp_path / "y" / "deep" / "2.PNG")
    (tmp_path / "y" / "notes.txt").write_text("not an image")
    (tmp_path / "y" / "folder.png").mkdir()
    assert [(s.label, s.patient_id) for s in read_index(tmp_path)] == [
        ("x", "x/1.png"),
        ("y", "y/deep/2.PNG"),
    ]


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("path,class", "a.png,x", "line 1: column label is missing"),
        ("path,label", "b.png,x", "line 2, column path: no file"),
        ("path,label", "a.png,", "line 2, column label: empty"),
        ("path,label", "a.png,x,[[0,0,1,1]]", "line 2: more or fewer cells"),
        ("path,label,mask", "a.png,x,m.png", "line 2, column mask: no file"),
        ("path,label,boxes", "a.png,x,none", "line 2, column boxes: expected a JSON list"),
        ("path,label,boxes", "a.png,x," + "[" * 100_000, "expected a JSON list of boxes, got [[["),
        ("path,label,boxes", 'a.png,x,"[[0,0,1]]"', "line 2, column boxes: expected [x0"),
        ("path,label,boxes", 'a.png,x,"[[5,5,90,90]]"', "line 2, column boxes: expected [x0"),
        ("path,label,boxes", 'a.png,x,"[[0.5,0,0.5,1]]"', "line 2, column boxes: expected [x0"),
        ("path,label", "a.png,x\na.png,y", "listed 2 times"),
        ("path,label", "", "lists no image"),
    ],
)
def test_a_bad_index_is_refused_with_file_line_and_column(tmp_path, header, row, message):
    _image(tmp_path / "a.png")
    with pytest.raises(DataError) as caught:
        read_index(_index(tmp_path, header, row))
    assert message in str(caught.value)
    assert "index.csv" in str(caught.value)


def test_a_folder_with_nothing_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(DataError, match="neither"):
        read_index(tmp_path)
    with pytest.raises(DataError, match="not a readable index"):
        read_index(tmp_path / "absent.csv")


def test_hidden_folders_are_neither_classes_nor_images_of_one(tmp_path):
    for name in ("a/1.png", "b/1.png", ".git/x.png", ".ipynb_checkpoints/1-checkpoint.png"):
        _image(tmp_path / name, 0)
    _image(tmp_path / "a" / ".ipynb_checkpoints" / "1-checkpoint.png", 0)
    _image(tmp_path / "b" / ".1.png", 0)
    assert [(s.path, s.label) for s in read_index(tmp_path)] == [
        (tmp_path / "a" / "1.png", "a"),
        (tmp_path / "b" / "1.png", "b"),
    ]


def test_a_byte_order_mark_is_no_part_of_an_index(tmp_path):
    _image(tmp_path / "1.png", 0)
    (tmp_path / "index.csv").write_bytes(b"\xef\xbb\xbfpath,label\n1.png,a\n")
    (record,) = read_index(tmp_path)
    assert (record.path, record.label) == (tmp_path / "1.png", "a")


@pytest.mark.parametrize(
    "boxes", ["[[0, 0, 1" + "0" * 400 + ", 1]]", "[[0, 0, " + "9" * 5000 + ", 1]]", "[" * 100_000]
)
def test_an_absurd_box_is_one_clear_line(tmp_path, boxes):
    _image(tmp_path / "1.png", 0)
    (tmp_path / "index.csv").write_text(f'path,label,boxes\n1.png,a,"{boxes}"\n')
    with pytest.raises(DataError, match="line 2, column boxes: expected a JSON list") as caught:
        read_index(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("stage", ["after", "before", "none"])
def test_training_sees_the_runtimes_preprocessing_byte_for_byte(tmp_path, stage):
    preprocess = Preprocess(
        size=96, collimated_field="crop", clahe_stage=stage, clahe_clip=2.0, clahe_tiles=8
    )
    records = []
    for i, shape in enumerate([(300, 200), (90, 250), (64, 64), (500, 410)]):
        _image(tmp_path / f"{i}.png", i, shape)
        records.append(ImageRecord(tmp_path / f"{i}.png", "ab"[i % 2], str(i)))
    data = RadiographDataset(records, ("a", "b"), preprocess, progress=False)
    for i, record in enumerate(records):
        image, label = data[i]
        assert image.shape == (1, 96, 96)
        assert image.dtype == np.uint8
        assert image.tobytes() == preprocess(read_image(record.path).pixels).tobytes()
        assert label == i % 2
    assert data.labels.tolist() == [0, 1, 0, 1]


def test_the_content_of_an_image_has_no_letterbox(tmp_path):
    preprocess = Preprocess(
        size=96, collimated_field="crop", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )
    _image(tmp_path / "0.png", 0, (300, 200))
    data = RadiographDataset(
        [ImageRecord(tmp_path / "0.png", "a", "0")], ("a",), preprocess, progress=False
    )
    content = data.content(0)
    assert content.shape == (96, 64)
    assert content.min() > 0
    assert data.images[0].sum() == content.sum()


def test_a_label_that_the_recipe_does_not_name_is_refused(tmp_path):
    record = ImageRecord(tmp_path / "a.png", "cyst", "g")
    with pytest.raises(DataError, match="label cyst is not one of"):
        RadiographDataset([record], ("a", "b"), load_recipe("tiny").preprocess)


def test_labels_and_recipe_must_name_the_same_classes():
    records = [ImageRecord(Path(f"{label}.png"), label, label) for label in "ab"]
    check_labels(records, ("b", "a"))
    with pytest.raises(DataError, match=r"b\.png: label b is not one of"):
        check_labels(records, ("a", "c"))
    with pytest.raises(DataError, match="no image has the label c"):
        check_labels(records, ("a", "b", "c"))


def test_an_image_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(InputError, match=r"a\.png: not an image"):
        RadiographDataset(
            [ImageRecord(tmp_path / "a.png", "a", "g")], ("a",), load_recipe("tiny").preprocess
        )


def test_boxes_follow_the_image_into_the_square():
    # A 200×100 radiograph (W×H) with a field from x 50 to 150, fitted to all 100 of the square.
    placement = LetterboxTransform(field=(50, 0, 150, 100), content=(0, 0, 100, 100))
    shape = (100, 200)
    inside, clipped = (0.5, 0.2, 0.6, 0.4), (0.0, 0.0, 0.5, 0.5)
    outside = (0.8, 0.0, 1.0, 1.0)
    assert boxes_in_input((inside, clipped, outside), shape, placement, 100) == (
        pytest.approx((0.5, 0.2, 0.7, 0.4)),
        pytest.approx((0.0, 0.0, 0.5, 0.5)),
    )


def test_a_mark_in_its_box_is_in_the_mapped_box_of_the_square(tmp_path):
    pixels = np.full((300, 180), 60, np.uint8)
    pixels[200:230, 100:130] = 170
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    box = (100 / 180, 200 / 300, 130 / 180, 230 / 300)
    record = ImageRecord(tmp_path / "a.png", "a", "g", (box,))
    plain = Preprocess(
        size=128, collimated_field="keep", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )
    data = RadiographDataset([record], ("a",), plain, progress=False)
    assert points_at(data.images[0].astype(float), data.boxes[0])
    x0, y0, x1, y1 = np.array(data.boxes[0][0]) * 128
    bright = np.argwhere(data.images[0] > 120)
    assert bright.min(0) == pytest.approx((y0, x0), abs=1)  # a pixel of the resized image
    assert bright.max(0) + 1 == pytest.approx((y1, x1), abs=1)


def test_a_lists_identity_is_its_content_not_its_place_or_order(tmp_path):
    for folder in ("here", "there"):
        for i in range(3):
            _image(tmp_path / folder / f"{i}.png", i)
    here, there = (
        [ImageRecord(tmp_path / f / f"{i}.png", "a", str(i)) for i in range(3)]
        for f in ("here", "there")
    )
    assert list_sha256(here) == list_sha256(there[::-1])
    assert list_sha256(here) != list_sha256(here[:2])
    (tmp_path / "there" / "0.png").write_bytes(b"other")
    assert list_sha256(here) != list_sha256(there)


def test_a_balanced_draw_shows_every_class_equally_often_and_is_not_corrected_twice():
    labels = np.repeat([0, 1, 2], [900, 90, 10])
    drawn = labels[draw(labels, True, np.random.default_rng(0))]
    # 1,000 draws at 1/3: four standard deviations are 60
    assert np.bincount(drawn) == pytest.approx(333, abs=60)
    assert sorted(draw(labels, False, np.random.default_rng(0))) == list(range(1000))
    both = load_recipe("orthovision")
    assert class_weights(labels, 3, both).tolist() == [1, 1, 1]
    only = load_recipe("orthovision", ["balanced=false"])
    weights = class_weights(labels, 3, only).numpy()
    assert weights[labels].mean() == pytest.approx(1)
    assert weights * [900, 90, 10] == pytest.approx(1000 / 3)
