from __future__ import annotations

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.preprocess import STANDARD, Placement
from orthoedge.runtime.render import heated, overlay, to_png

WHOLE = Placement(field=(0, 0, 400, 400), content=(0, 0, 224, 224))
GAP = 8


def radiograph(height: int = 400, width: int = 400) -> np.ndarray:
    return np.random.default_rng(0).integers(40, 170, (height, width), dtype=np.uint8)


def colour(picture: np.ndarray) -> np.ndarray:
    """Spread of the channels of each pixel: 0 where grey."""
    return picture.max(axis=2).astype(int) - picture.min(axis=2)


def panels(picture: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The plain and the heated panel of a picture wide enough not to be centred."""
    plain = picture[GAP : GAP + height, GAP : GAP + width]
    return plain, picture[GAP : GAP + height, 2 * GAP + width : 2 * GAP + 2 * width]


@pytest.mark.parametrize(
    ("shape", "panel"),
    [
        ((400, 400), (512, 512)),
        ((700, 600), (700, 600)),
        ((3000, 2000), (1024, 683)),
        ((100, 400), (128, 512)),
    ],
)
def test_the_radiograph_is_shown_at_512_to_1024_pixels(shape, panel):
    pixels = radiograph(*shape)
    _, placement = STANDARD.prepare(pixels)
    picture = overlay(pixels, np.zeros((7, 7), np.float32), placement, 224, ["one line"])
    assert picture.dtype == np.uint8
    assert picture.shape[1] == 2 * panel[1] + 3 * GAP
    plain, heated = panels(picture, *panel)
    assert not colour(plain).any()
    assert np.array_equal(plain, heated)  # a map of zeros leaves no mark


def test_the_hottest_place_is_drawn_where_the_placement_puts_it():
    # A wide field inside a larger radiograph: the square has padding above and below.
    placement = Placement(field=(200, 100, 600, 300), content=(0, 56, 224, 168))
    pixels = np.full((400, 800), 100, np.uint8)
    saliency = np.zeros((8, 8), np.float32)
    saliency[4, 6] = 1  # centre at (182, 126) of the square: three quarters into the content
    picture = overlay(pixels, saliency, placement, 224, [])
    plain, heated = panels(picture, 400, 800)
    assert not colour(plain).any()
    weight = colour(heated).astype(float) * (heated[..., 0] < heated[..., 2])  # without the outline
    rows, columns = np.mgrid[:400, :800]
    y, x = (float((axis * weight).sum() / weight.sum()) for axis in (rows, columns))
    assert x == pytest.approx(200 + 400 * 182 / 224, abs=8)
    assert y == pytest.approx(100 + 200 * (126 - 56) / 112, abs=8)


def test_nothing_is_coloured_outside_the_field_and_that_part_is_dimmed():
    placement = Placement(field=(100, 0, 300, 400), content=(56, 0, 168, 224))
    pixels = radiograph()
    picture = overlay(pixels, np.ones((7, 7), np.float32), placement, 224, [])
    plain, heated = panels(picture, 512, 512)
    for part in (np.s_[:, :126], np.s_[:, 386:]):
        assert not colour(heated[part]).any()
        assert heated[part].mean() < 0.5 * plain[part].mean()
    assert np.median(colour(heated[:, 130:380])) > 40


def test_a_map_that_is_hot_in_the_padding_alone_leaves_the_field_cold():
    placement = Placement(field=(0, 0, 200, 400), content=(56, 0, 168, 224))
    saliency = np.zeros((8, 8), np.float32)
    saliency[:, 0] = 1
    saliency[:, 3] = 0.01
    picture = overlay(radiograph(400, 200), saliency, placement, 224, [])
    assert colour(picture[:512]).max() == 0


def test_the_radiograph_stays_readable_under_the_hottest_part():
    pixels = radiograph()
    cv2.line(pixels, (100, 200), (300, 200), 20, 5)
    picture = overlay(pixels, np.ones((7, 7), np.float32), WHOLE, 224, [])
    plain, heated = panels(picture, 512, 512)
    spread = [cv2.cvtColor(p[20:-20, 20:-20], cv2.COLOR_BGR2GRAY).std() for p in (plain, heated)]
    # A plain blend of 70 % colour would leave 0.3 of the contrast.
    assert spread[1] > 0.6 * spread[0]


def test_half_of_the_maximum_is_outlined():
    saliency = np.zeros((7, 7), np.float32)
    saliency[3, 3] = 1
    picture = overlay(np.full((400, 400), 100, np.uint8), saliency, WHOLE, 224, [])
    _, heated = panels(picture, 512, 512)
    cyan = np.argwhere((heated[..., 0] > 200) & (heated[..., 2] < 100))
    radius = np.hypot(*(cyan - 256).T)
    # A cubic peak falls to one half about half a cell (512/7 = 73 px) from its centre.
    assert len(cyan) > 100
    assert 30 < radius.min() <= radius.max() < 55


@pytest.mark.parametrize("width", [40, 400, 1500])
@pytest.mark.parametrize(
    "line",
    ["a few words " * 60, "x" * 900, "", "tumor-malignant 71 % — decision: refer × ü", "a\nb\r\nc"],
)
def test_the_caption_never_runs_over_the_edge(width, line):
    pixels = np.full((500, width), 90, np.uint8)
    placement = Placement(field=(0, 0, width, 500), content=(0, 0, 224, 224))
    with_text = overlay(pixels, np.zeros((7, 7), np.float32), placement, 224, [line, line])
    background = with_text[0, 0]
    for edge in (with_text[:, :GAP], with_text[:, -GAP:], with_text[-1:]):
        assert np.all(edge == background)


def test_a_longer_caption_makes_a_higher_picture_of_the_same_width():
    saliency = np.zeros((7, 7), np.float32)
    short = overlay(radiograph(), saliency, WHOLE, 224, ["one"])
    long = overlay(radiograph(), saliency, WHOLE, 224, ["many words " * 100])
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0]


def test_equal_input_gives_equal_png_bytes_that_decode_to_the_picture():
    saliency = np.random.default_rng(1).random((7, 7), dtype=np.float32)
    first, second = (overlay(radiograph(), saliency, WHOLE, 224, ["text"]) for _ in range(2))
    assert to_png(first) == to_png(second)
    decoded = cv2.imdecode(np.frombuffer(to_png(first), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(decoded, first)


@pytest.mark.parametrize(
    ("pixels", "saliency"),
    [
        (np.zeros((40, 40, 3), np.uint8), np.zeros((7, 7), np.float32)),
        (np.zeros((40, 40), np.float32), np.zeros((7, 7), np.float32)),
        (np.zeros((40, 40), np.uint8), np.zeros((4, 7, 7), np.float32)),
        (np.zeros((40, 40), np.uint8), np.full((7, 7), np.nan, np.float32)),
        (np.zeros((40, 40), np.uint8), np.full((7, 7), -1, np.float32)),
    ],
)
def test_wrong_arrays_are_refused(pixels, saliency):
    with pytest.raises(InputError):
        overlay(pixels, saliency, WHOLE, 224, [])


def test_a_square_is_coloured_as_the_overlay_colours_a_radiograph_of_that_size():
    side = 512  # at this size `overlay` does not rescale
    square = radiograph(side, side)
    saliency = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    whole = Placement(field=(0, 0, side, side), content=(0, 0, side, side))
    _, right = panels(overlay(square, saliency, whole, side, ["words"]), side, side)
    np.testing.assert_array_equal(heated(square, saliency), right)
