"""Masks follow their radiographs, whatever their size and the view."""

import cv2
import numpy as np
import pytest

from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.data.index import ImageRecord, read_index
from orthoedge.training.data.loader import batches
from orthoedge.training.segmentation.data import OutlinedDataset, outlined
from orthoedge.training.segmentation.fit import stage_recipe

PLAIN = Preprocess(
    size=64, collimated_field="crop", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
)
LABELS = ("non-affected", "spot")


@pytest.fixture
def one(tmp_path):
    """One image of a radiograph and its mask, at sizes of their own."""

    def build(pixels, mask, label="spot", preprocess=PLAIN):
        cv2.imwrite(str(tmp_path / "image.png"), pixels)
        cv2.imwrite(str(tmp_path / "mask.png"), mask)
        record = ImageRecord(tmp_path / "image.png", label, "p", mask=tmp_path / "mask.png")
        return OutlinedDataset([record], LABELS, preprocess, False)

    return build


@pytest.mark.parametrize("scale", [1, 3, 0.5])
def test_a_mask_lies_on_what_it_marks_at_any_size_of_its_own(one, scale):
    pixels = np.full((200, 160), 30, np.uint8)
    pixels[:, :30] = 255  # a margin that is cropped
    pixels[60:120, 70:110] = 200
    mask = (pixels == 200).astype(np.uint8) * 255
    shape = round(160 * scale), round(200 * scale)
    mask = cv2.resize(mask, shape, interpolation=cv2.INTER_NEAREST)
    data = one(pixels, mask)
    bright = data.images[0] > 115
    # Interpolation and rounding move an edge by up to a pixel.
    assert (bright ^ data.mask(0)).sum() <= 2 * (20 + 13)
    assert (bright & data.mask(0)).sum() > 200


def test_a_lesion_thinner_than_a_pixel_is_not_lost(one):
    pixels = np.full((900, 900), 90, np.uint8)
    pixels[300:500, 400:402] = 200
    mask = np.zeros((900, 900), np.uint8)
    mask[300:500, 400:402] = 255
    assert one(pixels, mask).mask(0).any()


def test_an_image_without_a_mask_has_an_empty_one(spots):
    records = read_index(spots)
    data = OutlinedDataset(records, LABELS, PLAIN, False)
    has = [bool(data.mask(index).any()) for index in range(len(data))]
    assert has == [record.mask is not None for record in records]
    assert not data.draw_lesion(0, (), np.eye(2, 3), 64).any()


@pytest.mark.parametrize("read_size", [0, 96])
def test_the_mask_of_a_view_marks_what_the_view_shows(spots, small, read_size):
    """Spots are brighter than all else, and stay so under geometry alone."""
    grey = ("augment.brightness=0", "augment.contrast=0", "augment.noise=0", "augment.zoom=0.5")
    recipe = stage_recipe(small(*grey, f"augment.read_size={read_size}"))
    data = OutlinedDataset(read_index(spots), LABELS, recipe.preprocess, False)
    batch = next(batches(data.stored(recipe.augment.read_size), recipe, 1))
    images, lesions = batch.images[:, 0].numpy(), batch.lesion.numpy()
    assert lesions.shape == (8, 64, 64)
    assert 0 < lesions.any((1, 2)).sum() < 8
    bright = images > 150
    for one, other in zip(bright, lesions > 0, strict=True):
        ring = cv2.dilate(other.astype(np.uint8), np.ones((3, 3))) > 0
        inside = cv2.erode(other.astype(np.uint8), np.ones((5, 5))) > 0
        assert not (one & ~ring).any()
        assert (one | ~inside).all()


def test_images_with_a_lesion_but_no_mask_are_left_out(spots):
    records = read_index(spots)
    unknown = ImageRecord(records[0].path, "spot", "p")
    assert outlined((*records, unknown)) == tuple(records)


def test_another_mask_is_another_list(one):
    pixels = np.arange(6400, dtype=np.uint16).reshape(80, 80).astype(np.uint8)
    first, second = (np.zeros((80, 80), np.uint8) for _ in range(2))
    first[10:20, 10:20] = second[40:60, 40:60] = 255
    assert one(pixels, first).list_sha256 != one(pixels, second).list_sha256
    assert one(pixels, first).list_sha256 == one(pixels, first).list_sha256
