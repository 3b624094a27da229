from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
from orthoedge.runtime.errors import ConfigError, InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import STANDARD, Preprocess, find_collimated_field


def tissue(height: int, width: int) -> np.ndarray:
    """Grey noise in the range of soft tissue and bone: no white margin, no black shutter."""
    return np.random.default_rng(0).integers(40, 170, (height, width), dtype=np.uint8)


def with_margins(value: int, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    image = np.full((600, 400), value, np.uint8)
    inner = tissue(600 - top - bottom, 400 - left - right)
    image[top : 600 - bottom, left : 400 - right] = inner
    return image


@pytest.mark.parametrize(
    ("shape", "content"),
    [
        ((500, 500), (0, 0, 224, 224)),
        ((1000, 500), (56, 0, 168, 224)),
        ((500, 1000), (0, 56, 224, 168)),
        ((50, 100), (0, 56, 224, 168)),
        ((2000, 3), (111, 0, 112, 224)),
    ],
)
def test_letterbox_keeps_the_aspect_ratio_and_says_where_the_content_lies(shape, content):
    keep = Preprocess(
        size=224, collimated_field="keep", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )
    pixels = np.full(shape, 200, np.uint8)
    model_input, placement = keep.prepare(pixels)
    assert (model_input.shape, model_input.dtype) == ((224, 224), np.uint8)
    assert placement.field == (0, 0, shape[1], shape[0])
    assert placement.content == content
    x0, y0, x1, y1 = content
    assert np.all(model_input[y0:y1, x0:x1] == 200)
    model_input[y0:y1, x0:x1] = 0
    assert not model_input.any()


def test_a_point_of_the_radiograph_lands_where_the_placement_says():
    image = with_margins(255, 60, 0, 40, 80)
    image[295:305, 145:155] = 255
    plain = Preprocess(
        size=224, collimated_field="crop", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )
    model_input, placement = plain.prepare(image)
    x0, y0, x1, y1 = placement.field
    cx0, cy0, cx1, cy1 = placement.content
    expected = (
        cy0 + (300 - y0) * (cy1 - cy0) / (y1 - y0),
        cx0 + (150 - x0) * (cx1 - cx0) / (x1 - x0),
    )
    center = np.argwhere(model_input > 230).mean(axis=0) + 0.5
    assert center == pytest.approx(expected, abs=1.0)  # one pixel of the model input


@pytest.mark.parametrize(
    "view",
    [
        pytest.param(np.asfortranarray, id="column-major"),
        pytest.param(lambda a: np.repeat(a, 2, axis=1)[:, ::2], id="strided"),
        pytest.param(lambda a: a[::-1, ::-1].copy()[::-1, ::-1], id="negative strides"),
    ],
)
def test_the_bytes_do_not_depend_on_the_memory_layout(view):
    image = with_margins(255, 0, 0, 40, 80)
    other = view(image)
    assert np.array_equal(other, image)
    for stage in ("after", "before", "none"):
        preprocess = Preprocess(
            size=96, collimated_field="crop", clahe_stage=stage, clahe_clip=2.0, clahe_tiles=8
        )
        assert preprocess(other).tobytes() == preprocess(image).tobytes()


@pytest.mark.parametrize("factor", [2, 3, 7, 13])
def test_a_finer_detector_gives_the_same_square(factor):
    """Every pixel of a smooth image repeated: what a finer detector would see of the same limb."""
    limb = cv2.GaussianBlur(tissue(224, 180), (0, 0), 3)
    plain = Preprocess(
        size=224, collimated_field="keep", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )
    fine = cv2.resize(limb, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST)
    difference = np.abs(plain(fine).astype(int) - plain(limb))
    # Linear reads between two of the copies where the last factor is no whole number.
    assert difference.mean() < 0.5
    assert difference.max() <= 3


@pytest.mark.parametrize("value", [0, 255], ids=["black shutter", "white film"])
@pytest.mark.parametrize(
    "margins",
    [(60, 60, 40, 40), (0, 0, 90, 0), (120, 0, 0, 0), (0, 75, 0, 55)],
    ids=["all round", "left only", "top only", "bottom and right"],
)
def test_margins_along_whole_sides_are_cut_and_nothing_of_the_field_is(value, margins):
    top, bottom, left, right = margins
    x0, y0, x1, y1 = find_collimated_field(with_margins(value, *margins))
    # A coarse line is 4 of 600 pixels, halved twice. The cut is within one of the edge; next to
    # white film up to three more lines go with the rim.
    line = 4
    inwards = line * (4 if value == 255 else 1)
    for cut, edge in ((x0, left), (y0, top)):
        assert edge - line <= cut <= edge + inwards if edge else cut == 0
    for cut, edge, side in ((x1, right, 400), (y1, bottom, 600)):
        assert side - edge - inwards <= cut <= side - edge + line if edge else cut == side


@pytest.mark.parametrize("value", [0, 100, 255])
def test_an_image_of_one_value_is_kept_whole(value):
    assert find_collimated_field(np.full((300, 200), value, np.uint8)) == (0, 0, 200, 300)


def test_an_image_without_margins_is_kept_whole():
    assert find_collimated_field(tissue(300, 200)) == (0, 0, 200, 300)


def test_a_field_under_a_quarter_of_a_side_is_a_misreading_and_not_cut():
    assert find_collimated_field(with_margins(255, 0, 0, 180, 180)) == (0, 0, 400, 600)


@pytest.mark.parametrize(
    "shape", [(20, 1280), (40, 300), (40, 640), (3, 500), (1, 700), (1, 1), (2, 2)]
)
@pytest.mark.parametrize("white", [slice(None, None, 2), slice(0, 1), slice(-1, None)])
def test_a_sliver_that_is_half_margin_has_a_field_too(shape, white):
    image = tissue(*shape)
    thirds = np.array_split(np.arange(shape[0]), 3)[white]
    image[np.concatenate(thirds)] = 255
    x0, y0, x1, y1 = find_collimated_field(image)
    assert 0 <= x0 < x1 <= shape[1]
    assert 0 <= y0 < y1 <= shape[0]
    assert STANDARD(image).shape == (224, 224)


def test_a_limb_across_a_white_margin_does_not_widen_the_cut():
    image = with_margins(255, 0, 0, 100, 0)
    image[250:350, 100:] = 160
    x0, _, x1, _ = find_collimated_field(image)
    assert 95 <= x0 <= 125
    assert x1 == 400


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((10, 10), np.float32),
        np.zeros((10, 10, 3), np.uint8),
        np.zeros((0, 10), np.uint8),
        np.zeros(10, np.uint8),
    ],
)
def test_anything_but_a_uint8_plane_is_refused_with_what_it_was(pixels):
    with pytest.raises(InputError, match=str(pixels.dtype)):
        STANDARD.prepare(pixels)


@pytest.mark.parametrize(
    ("field", "value"),
    [("size", 31), ("size", 2048), ("clahe_clip", 0.0), ("clahe_tiles", 0), ("clahe_tiles", 64)],
)
def test_a_setting_out_of_range_is_named(field, value):
    settings = {"size": 224, "clahe_clip": 2.0, "clahe_tiles": 8, field: value}
    with pytest.raises(ConfigError, match=field):
        Preprocess(collimated_field="crop", clahe_stage="after", **settings)


def test_the_result_does_not_depend_on_the_number_of_threads():
    image = with_margins(255, 0, 0, 40, 80)
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(1)
        single = STANDARD(image).tobytes()
        cv2.setNumThreads(4)
        assert STANDARD(image).tobytes() == single
    finally:
        cv2.setNumThreads(before)


def test_the_samples_come_out_with_the_bytes_that_were_promised():
    """On every machine and OpenCV: a network is only as good as the bytes it was trained on."""
    golden = Path(__file__).parents[1] / "golden" / "preprocess.json"
    for name, digest in json.loads(golden.read_text()).items():
        model_input = STANDARD(read_image(PHANTOM_SAMPLES / name).pixels)
        assert hashlib.sha256(model_input.tobytes()).hexdigest() == digest, name
