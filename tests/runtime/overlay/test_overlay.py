"""Content and position of everything in the pictures of a finding."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.overlay import layout
from orthoedge.runtime.overlay.caption import Entry, draw_caption
from orthoedge.runtime.overlay.overlay import draw_heat_map, overlay, side_by_side, to_png
from orthoedge.runtime.preprocess import LetterboxTransform

COLD = np.zeros((7, 7), np.float32)
BOTH = pytest.mark.parametrize("picture", [overlay, side_by_side])


@pytest.fixture
def entries(monkeypatch):
    """The entries of the last caption."""
    drawn = []

    def spy(given, *rest):
        drawn[:] = given
        return draw_caption(given, *rest)

    monkeypatch.setattr(layout, "draw_caption", spy)
    return drawn


def radiograph(height: int = 512, width: int = 512) -> np.ndarray:
    return np.random.default_rng(0).integers(40, 170, (height, width), dtype=np.uint8)


def colour(picture: np.ndarray) -> np.ndarray:
    """Spread of the channels of each pixel: 0 where grey."""
    return picture.max(axis=2).astype(int) - picture.min(axis=2)


def is_line(picture: np.ndarray) -> np.ndarray:
    return (picture[..., 0] > 180) & (picture[..., 2] < 110)


def panels(picture: np.ndarray, grey: int) -> tuple[np.ndarray, np.ndarray]:
    """The two panels of a side-by-side whose plain one has this grey in its corner."""
    same = np.all(picture == grey, axis=2)
    height, width = (np.argmin([*edge, False]) for edge in (same[:, 0], same[0]))
    across = np.any(picture[0, width + 16 : width + 17] != 24)  # else words, or the panel's end
    start = np.s_[:height, width + 16 :] if across else np.s_[height + 16 :, :width]
    return picture[:height, :width], picture[start][:height, :width]


@pytest.mark.parametrize("shape", [(512, 512), (1250, 1000), (400, 3200), (3200, 400)])
def test_every_pixel_of_the_radiograph_keeps_its_place_and_a_cold_one_its_value(
    make_finding, shape
):
    pixels = radiograph(*shape)
    picture = overlay(*make_finding(pixels, COLD))
    assert picture.dtype == np.uint8
    kept = picture[: shape[0], : shape[1]]
    assert np.array_equal(kept, np.repeat(pixels[..., None], 3, axis=2))


@pytest.mark.parametrize(("shape", "factor"), [((32, 32), 12), ((200, 150), 2)])
def test_one_too_small_for_letters_is_enlarged_by_a_whole_factor(make_finding, shape, factor):
    pixels = radiograph(*shape)
    picture = overlay(*make_finding(pixels, COLD))
    large = np.kron(pixels, np.ones((factor, factor), np.uint8))
    assert np.array_equal(picture[: len(large), : large.shape[1], 1], large)


@pytest.mark.parametrize("shape", [(512, 512), (700, 300), (300, 700), (4000, 500), (500, 4000)])
def test_side_by_side_fits_a_screen_and_shows_the_plain_radiograph_first(make_finding, shape):
    pixels = np.full(shape, 100, np.uint8)
    picture = side_by_side(*make_finding(pixels, np.ones((7, 7), np.float32)))
    assert picture.shape[0] <= 1153
    assert picture.shape[1] <= 1920
    plain, marked = panels(picture, 100)
    assert plain.shape == marked.shape
    assert plain.shape[1] / plain.shape[0] == pytest.approx(shape[1] / shape[0], rel=0.02)
    assert not colour(plain).any()
    assert np.median(colour(marked)) > 40


@BOTH
def test_the_hottest_place_is_drawn_where_the_placement_puts_it(make_finding, picture):
    # A wide field inside a larger radiograph: the model input has padding above and below.
    placement = LetterboxTransform(field=(200, 100, 600, 300), content=(0, 56, 224, 168))
    pixels = np.full((400, 800), 100, np.uint8)
    saliency = np.zeros((8, 8), np.float32)
    saliency[4, 6] = 1  # centre at (182, 126) of the model input: three quarters into the content
    drawn = picture(*make_finding(pixels, saliency, placement))
    drawn = drawn[:400, :800] if picture is overlay else panels(drawn, 100)[1]
    scale = len(drawn) / 400
    weight = colour(drawn).astype(float) * (drawn[..., 0] < drawn[..., 2])  # without the line
    rows, columns = np.mgrid[: len(drawn), : drawn.shape[1]] / scale
    y, x = (float((axis * weight).sum() / weight.sum()) for axis in (rows, columns))
    assert x == pytest.approx(200 + 400 * 182 / 224, abs=8)
    assert y == pytest.approx(100 + 200 * (126 - 56) / 112, abs=8)


def test_nothing_is_coloured_outside_the_field_and_that_part_is_dimmed(make_finding, entries):
    placement = LetterboxTransform(field=(128, 0, 384, 512), content=(56, 0, 168, 224))
    pixels = radiograph()
    drawn = overlay(*make_finding(pixels, np.ones((7, 7), np.float32), placement))
    for part in (np.s_[:, :126], np.s_[:, 386:512]):
        assert not colour(drawn[:512][part]).any()
        assert drawn[:512][part].mean() < 0.5 * pixels[part].mean()
    assert np.median(colour(drawn[:512, 132:380])) > 40
    assert "dark margin: not looked at" in entries[1].text


def test_a_map_that_is_hot_in_the_padding_alone_leaves_the_field_cold_and_says_so(
    make_finding, entries
):
    saliency = np.zeros((8, 8), np.float32)
    saliency[:, 0] = 1
    saliency[:, 3] = 0.01
    drawn = overlay(*make_finding(radiograph(512, 256), saliency))
    assert np.percentile(colour(drawn[:512, :256]), 90) < 5
    assert not is_line(drawn[:512, :256]).any()
    assert "the peak lies outside the radiograph" in entries[1].text


def test_an_empty_map_is_called_empty_and_has_no_scale(make_finding, entries):
    drawn = overlay(*make_finding(radiograph(), COLD))
    assert not colour(drawn).any()
    assert "The map is empty" in entries[1].text


def test_the_caption_says_where_the_network_looked_and_not_where_a_disease_is(
    make_finding, entries
):
    overlay(*make_finding(radiograph()))
    assert "where the network looked, not where the disease is" in entries[1].text
    assert "line: half of the peak" in entries[1].text


def test_the_radiograph_stays_readable_under_the_hottest_part(make_finding):
    pixels = radiograph()
    drawn = overlay(*make_finding(pixels, np.ones((7, 7), np.float32)))
    inner = np.s_[20:-20, 20:-20]
    hot = cv2.cvtColor(drawn[:512, :512], cv2.COLOR_BGR2GRAY)
    # A plain blend of 70 % colour would leave 0.3 of the contrast, and the order stays whole.
    assert hot[inner].std() > 0.4 * pixels[inner].std()
    assert np.corrcoef(hot[inner].ravel(), pixels[inner].ravel())[0, 1] > 0.99


@pytest.mark.parametrize("side", [400, 2000])
def test_half_of_the_maximum_is_outlined(make_finding, side):
    saliency = np.tile(np.linspace(0, 1, 7, dtype=np.float32), (7, 1))  # one half at the middle
    drawn = overlay(*make_finding(np.full((side, side), 100, np.uint8), saliency))[:side, :side]
    inner = is_line(drawn)[side // 4 : -side // 4, side // 10 : -side // 10]
    rows, columns = np.nonzero(inner)
    assert len(np.unique(rows)) == len(inner)
    assert columns.mean() + side // 10 == pytest.approx(side / 2, abs=side / 200)
    assert np.ptp(columns) < side / 50


@BOTH
def test_a_rejected_radiograph_shows_no_colour_no_label_and_is_crossed_out(
    make_finding, entries, picture
):
    pixels = np.full((512, 512), 100, np.uint8)
    saliency = np.full((7, 7), np.nan, np.float32)  # not looked at
    reasons = ("too dark to be read",)
    drawn = picture(*make_finding(pixels, saliency, decision="reject", reasons=reasons))
    assert not colour(drawn).any()
    texts = [entry.text for entry in entries]
    assert texts[:2] == ["REJECT: no answer is given", "too dark to be read"]
    assert not any("%" in text for text in texts)
    panel = drawn[:512, :512] if picture is overlay else panels(drawn, 100)[1]
    side = len(panel)
    for place in (side // 4, side * 3 // 4):
        assert panel[place, place, 0] == panel[place, side - 1 - place, 0] == 255
    assert panel[side // 2, side // 4, 0] == 50


@pytest.mark.parametrize(
    ("decision", "words"),
    [("report", "REPORT: an answer is given"), ("refer", "REFER: a human must read this")],
)
def test_label_probability_decision_and_reasons_are_in_the_caption(
    make_finding, entries, decision, words
):
    probabilities = {"fracture": 0.6214, "non-affected": 0.3786}
    finding = make_finding(
        radiograph(),
        decision=decision,
        label="fracture",
        probabilities=probabilities,
        reasons=("cannot rule out non-affected",) * (decision == "refer"),
    )
    overlay(*finding)
    assert entries[0] == Entry(f"fracture 62.1%\n{words}", decision)
    assert (entries[1].text == "cannot rule out non-affected") == (decision == "refer")
    assert entries[-1].text == finding[1].notice


@BOTH
@pytest.mark.parametrize(
    ("plane", "words"),
    [
        ("detector", "20 mm at the detector"),  # 400 columns of 0.2 mm, a quarter of them
        ("patient", "20 mm at the patient"),
        (None, "20 mm, plane not stated"),
    ],
)
def test_a_ruler_names_the_plane_of_its_spacing(make_finding, entries, picture, plane, words):
    picture(*make_finding(radiograph(512, 400), spacing=(0.3, 0.2), plane=plane))
    ruler = next(entry for entry in entries if entry.mark == "ruler")
    assert ruler.text == words
    assert ruler.length == pytest.approx(100)


def test_no_ruler_is_drawn_where_the_file_states_no_spacing(make_finding, entries):
    overlay(*make_finding(radiograph(512, 400)))
    assert all(entry.mark != "ruler" for entry in entries)


def test_equal_input_gives_equal_png_bytes_that_decode_to_the_picture(make_finding):
    finding = make_finding(radiograph())
    first, second = (overlay(*finding) for _ in range(2))
    assert to_png(first) == to_png(second)
    decoded = cv2.imdecode(np.frombuffer(to_png(first), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(decoded, first)


@BOTH
@pytest.mark.parametrize(
    ("pixels", "saliency"),
    [
        (np.zeros((40, 40, 3), np.uint8), COLD),
        (np.zeros((40, 40), np.float32), COLD),
        (np.zeros((40, 40), np.uint8), COLD[None]),
        (np.zeros((40, 40), np.uint8), np.full((7, 7), np.nan, np.float32)),
        (np.zeros((40, 40), np.uint8), np.full((7, 7), -1, np.float32)),
    ],
)
def test_wrong_arrays_are_refused(make_finding, picture, pixels, saliency):
    right, finding = make_finding(radiograph(), saliency)
    with pytest.raises(InputError):
        picture(replace(right, pixels=pixels), finding)


def test_a_model_input_is_coloured_as_the_overlay_colours_a_radiograph_of_that_size(make_finding):
    model_input = radiograph()
    saliency = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    place = LetterboxTransform(field=(0, 0, 512, 512), content=(0, 0, 512, 512))
    right, finding = make_finding(model_input, saliency, place)
    drawn = overlay(right, replace(finding, input_size=512))
    np.testing.assert_array_equal(draw_heat_map(model_input, saliency), drawn[:512, :512])
