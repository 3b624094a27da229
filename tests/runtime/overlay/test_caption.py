"""The caption is readable on a 7-inch screen, is never cut, and never covers the radiograph."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from orthoedge.runtime.overlay import layout
from orthoedge.runtime.overlay.caption import (
    BACKGROUND,
    Entry,
    caption_height,
    draw_caption,
    min_width,
    round_length,
)
from orthoedge.runtime.overlay.layout import CaptionSize
from orthoedge.runtime.overlay.overlay import overlay, side_by_side

SCREENS = ((1024, 600), (1280, 800))  # pixels of 7-inch screens
REASONS = ("cannot rule out tumor-malignant", "fracture is below the calibrated confidence")


@pytest.fixture
def units(monkeypatch):
    """X-heights in pixels of the captions that were drawn."""
    drawn = []

    def spy(entries, shape, unit, zoom):
        drawn.append(unit)
        return draw_caption(entries, shape, unit, zoom)

    monkeypatch.setattr(layout, "draw_caption", spy)
    return drawn


def millimetres(picture: np.ndarray, unit: float) -> float:
    """Height of a small letter where the picture fills the worse of the screens."""
    rows, columns = picture.shape[:2]
    return min(
        unit * min(width / columns, height / rows) * 7 * 25.4 / math.hypot(width, height)
        for width, height in SCREENS
    )


@pytest.mark.parametrize("picture", [overlay, side_by_side])
@pytest.mark.parametrize("reasons", [(), REASONS])
@pytest.mark.parametrize(
    "shape", [(32, 32), (512, 512), (1250, 1000), (1000, 1250), (2400, 300), (300, 2400)]
)
def test_a_small_letter_is_two_and_a_half_millimetres_high_on_a_7_inch_screen(
    make_finding, units, picture, reasons, shape
):
    given = {"decision": "refer", "reasons": reasons} if reasons else {}
    finding = make_finding(np.full(shape, 90, np.uint8), spacing=(0.1, 0.1), **given)
    drawn = picture(*finding)
    assert millimetres(drawn, units[-1]) >= 2.49  # sizes are whole pixels
    assert units[-1] >= 10  # letters of fewer pixels run together


@pytest.mark.parametrize("unit", [10, 16.5, 32, 110])
def test_letters_are_as_high_as_they_should_be(unit):
    strip = draw_caption([Entry("xxx")], (round(5 * unit), round(20 * unit)), unit)
    rows = np.flatnonzero((strip[..., 0] > 140).any(axis=1))
    # OpenCV sets letters on whole pixels, and version 4 adds the width of its strokes.
    assert rows[-1] + 1 - rows[0] == pytest.approx(unit, rel=0.2, abs=1.5)


@pytest.mark.parametrize("width", [20, 24, 40, 60, 120])
@pytest.mark.parametrize("unit", [10, 32])
@pytest.mark.parametrize(
    "text",
    ["a few words " * 30, "x" * 300, "W" * 90, "", "71 % — decision: refer × ü", "a\nb\r\nc\td"],
)
def test_words_are_wrapped_and_never_run_over_the_edge(width, unit, text):
    entries = [Entry(text, "refer"), Entry(text, "colours"), Entry(text)]
    shape = (math.ceil(caption_height(entries, width) * unit), width * unit)
    strip = draw_caption(entries, shape, unit)
    edge = unit // 2
    for part in (strip[:, :edge], strip[:, -edge:], strip[:edge], strip[-edge:]):
        assert np.all(part == BACKGROUND)


def test_no_letter_is_lost_by_wrapping():
    text = "abcdefgh " * 12
    wide, narrow = (
        draw_caption(
            [Entry(text)], (math.ceil(caption_height([Entry(text)], width) * 20), width * 20), 20
        )
        for width in (130, 24)
    )
    ink = [float((strip.astype(int) - BACKGROUND).clip(0).sum()) for strip in (wide, narrow)]
    assert ink[1] == pytest.approx(ink[0], rel=0.01)


def test_letters_the_font_lacks_become_question_marks():
    size = (40, 400), 10
    assert np.array_equal(draw_caption([Entry("ü\t✓")], *size), draw_caption([Entry("???")], *size))
    assert np.array_equal(
        draw_caption([Entry("‘5’ – 6…")], *size), draw_caption([Entry("'5' - 6.")], *size)
    )


def test_more_words_than_a_screen_holds_make_a_higher_picture_and_are_not_cut(make_finding, units):
    reasons = ("many words " * 120,)
    finding = make_finding(np.full((512, 512), 90, np.uint8), decision="refer", reasons=reasons)
    for picture in (overlay, side_by_side):
        drawn = picture(*finding)
        rows, columns = drawn.shape[:2]
        assert columns <= 60.5 * units[-1]
        assert rows > 36 * units[-1]
        assert np.all(drawn[-round(units[-1] / 2) :] == BACKGROUND)


def test_words_that_leave_too_little_for_the_radiograph_go_beside_it():
    # They fit below with little to spare, and the radiograph would be a sliver.
    texts = ([Entry("words " * count)] for count in range(60, 200))
    entries = next(it for it in texts if caption_height(it, 48) > layout.SCREEN[1])
    assert caption_height(entries, layout.SCREEN[0]) < layout.SCREEN[1]
    assert layout.fit_layout(1000, 1000, CaptionSize.of(entries)).is_right


def test_a_label_is_broken_only_where_it_would_cost_the_radiograph_its_place():
    fits, endless = ([Entry(f"{word} 99.9%", "refer")] for word in ("tumor-malignant", "w" * 200))
    assert layout.fit_layout(500, 1600, CaptionSize.of(fits)).caption_width >= min_width(fits)
    assert (
        layout.fit_layout(500, 1600, CaptionSize.of(endless)).caption_width
        < 40
        < min_width(endless)
    )


@pytest.mark.parametrize(
    ("mark", "least", "most"), [("report", 0.96, 1.01), ("refer", 0.3, 0.5), ("reject", 0.8, 0.93)]
)
def test_decisions_are_a_disc_a_triangle_and_an_octagon_without_colour(mark, least, most):
    shape = draw_caption([Entry("", mark)], (200, 200), 40)
    assert np.ptp(shape, axis=2).max() == 0
    hull = cv2.convexHull(cv2.findNonZero((shape[..., 0] > 128).astype(np.uint8)))
    radius = cv2.minEnclosingCircle(hull)[1]
    assert least < cv2.contourArea(hull) / (np.pi * radius**2) < most


def test_the_scale_is_as_long_as_it_says():
    strip = draw_caption([Entry("", "ruler", 200)], (60, 400), 10, zoom=1.5)
    columns = np.flatnonzero((strip[..., 0] > 128).any(axis=0))
    assert columns[-1] - columns[0] == pytest.approx(300, abs=2)


@pytest.mark.parametrize(("longest", "length"), [(0.7, 0.5), (1, 1), (19.99, 10), (51, 50)])
def test_the_scale_has_a_round_length(longest, length):
    assert round_length(longest) == pytest.approx(length)
