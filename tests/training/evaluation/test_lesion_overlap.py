import cv2
import numpy as np
import pytest

from orthoedge.benchmarks.metrics.classification import boxes_in_input
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.evaluation.lesion_overlap import (
    cover_of_boxes,
    cover_of_mask,
    energy_inside,
    read_cover,
    to_cells,
)

SIZE = 64


def preprocess(size=SIZE):
    return Preprocess(
        size=size, collimated_field="crop", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )


def radiograph(height=300, width=220):
    """Grey noise between white collimator margins left and right."""
    pixels = np.random.default_rng(0).integers(40, 150, (height, width), dtype=np.uint8)
    pixels[:, :30] = 255
    pixels[:, -20:] = 255
    return pixels


@pytest.mark.parametrize("size", [64, 97, 160])
def test_a_rectangular_mask_is_mapped_like_its_box(size):
    pixels = radiograph()
    mask = np.zeros(pixels.shape, bool)
    mask[60:141, 90:150] = True
    box = (90 / 220, 60 / 300, 150 / 220, 141 / 300)
    _, placement = preprocess(size).prepare(pixels)
    assert placement.field[0] > 0, "the margins are cropped"
    by_mask = cover_of_mask(mask, placement, size)
    by_box = cover_of_boxes(boxes_in_input([box], pixels.shape, placement, size), size)
    # Both are exact areas; float32 weights of the resize are not.
    np.testing.assert_allclose(by_mask, by_box, atol=1e-4)


def test_a_mask_that_is_enlarged_lies_within_a_pixel_of_its_box():
    pixels = radiograph()
    mask = np.zeros(pixels.shape, bool)
    mask[60:141, 90:150] = True
    box = (90 / 220, 60 / 300, 150 / 220, 141 / 300)
    _, placement = preprocess(512).prepare(pixels)
    by_mask = cover_of_mask(mask, placement, 512)
    (x0, y0, x1, y1) = boxes_in_input([box], pixels.shape, placement, 512)[0]
    rows, columns = np.nonzero(by_mask)
    bounds = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    np.testing.assert_allclose(bounds, np.array([x0, y0, x1, y1]) * 512, atol=1)


def test_the_part_of_a_mask_outside_of_the_field_is_lost():
    pixels = radiograph()
    mask = np.zeros(pixels.shape, bool)
    mask[:, :20] = True
    _, placement = preprocess().prepare(pixels)
    assert not cover_of_mask(mask, placement, SIZE).any()


def test_overlapping_boxes_count_once():
    once = cover_of_boxes([(0.1, 0.1, 0.6, 0.6)], SIZE)
    np.testing.assert_array_equal(
        cover_of_boxes([(0.1, 0.1, 0.6, 0.6), (0.2, 0.2, 0.4, 0.4)], SIZE), once
    )
    # A quarter of the square, in float32.
    assert once.mean() == pytest.approx(0.25, rel=1e-5)


def test_energy_is_1_for_a_map_inside_the_lesion_and_0_for_one_outside():
    cells = to_cells(cover_of_boxes([(0.25, 0.25, 0.5, 0.5)], SIZE), (8, 8))
    inside, outside = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.float32)
    inside[2:4, 2:4] = [[1, 2], [3, 4]]
    outside[5:, 5:] = 7
    assert energy_inside(inside, cells) == pytest.approx(1, abs=1e-6)
    assert energy_inside(outside, cells) == 0
    assert energy_inside(np.zeros((8, 8), np.float32), cells) == 0
    # An even map has the lesion's share of the square: what knowing nothing is worth.
    assert energy_inside(np.ones((8, 8), np.float32), cells) == pytest.approx(1 / 16, rel=1e-5)


def test_a_cell_counts_with_its_covered_part():
    cells = to_cells(cover_of_boxes([(0, 0, 0.25, 0.5)], SIZE), (2, 2))
    saliency = np.zeros((2, 2), np.float32)
    saliency[0, 0] = 3
    assert energy_inside(saliency, cells) == pytest.approx(0.5, abs=1e-6)


PLACED = radiograph().shape, preprocess().prepare(radiograph())[1], SIZE


def study_with(tmp_path, mask):
    cv2.imwrite(str(tmp_path / "a.png"), radiograph())
    (tmp_path / "mask.png").write_bytes(mask)
    return ImageRecord(tmp_path / "a.png", "fracture", "1", mask=tmp_path / "mask.png")


def png(array):
    return cv2.imencode(".png", array)[1].tobytes()


@pytest.mark.parametrize("form", ["8 bits", "16 bits", "half the size"])
def test_masks_of_any_depth_and_size_are_read(tmp_path, form):
    mask = np.zeros((300, 220), np.uint16 if form == "16 bits" else np.uint8)
    mask[60:140, 90:150] = 1
    if form == "half the size":
        mask = mask[::2, ::2]
    record = study_with(tmp_path, png(mask))
    cover = read_cover(record, *PLACED)
    placement = PLACED[1]
    full = np.zeros((300, 220), bool)
    full[60:140, 90:150] = True
    np.testing.assert_array_equal(cover, cover_of_mask(full, placement, SIZE))


def test_no_mask_and_an_empty_one_give_no_cover(tmp_path):
    record = study_with(tmp_path, png(np.zeros((300, 220), np.uint8)))
    assert read_cover(record, *PLACED) is None
    assert read_cover(ImageRecord(record.path, "fracture", "1"), *PLACED) is None


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_a_mask_that_is_no_image_is_named(tmp_path, content):
    with pytest.raises(DataError, match=r"mask\.png: not an image; it is the mask of .*a\.png"):
        read_cover(study_with(tmp_path, content), *PLACED)
