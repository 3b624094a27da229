"""The picture tells apart where the network looked and what it outlines, also without colours."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from orthoedge.runtime.lesions.measure import measure_lesions
from orthoedge.runtime.overlay import layout
from orthoedge.runtime.overlay.caption import draw_caption
from orthoedge.runtime.overlay.overlay import overlay, side_by_side

BOTH = pytest.mark.parametrize("picture", [overlay, side_by_side])
COLD = np.zeros((7, 7), np.float32)


@pytest.fixture
def words(monkeypatch):
    """The text of the last caption."""
    drawn = []

    def spy(given, *rest):
        drawn[:] = given
        return draw_caption(given, *rest)

    monkeypatch.setattr(layout, "draw_caption", spy)
    return lambda: "\n".join(entry.text for entry in drawn)


@pytest.fixture
def outlined(make_finding):
    """A radiograph with a round outline at (200, 150), or with what is given."""

    def make(shape=(400, 500), saliency=COLD, cells=None, spacing=None, plane=None, **verdict):
        pixels = np.full(shape, 90, np.uint8)
        radiograph, finding = make_finding(pixels, saliency, None, spacing, plane, **verdict)
        if cells is None:
            disc = np.zeros(shape, np.uint8)
            cv2.circle(disc, (200, 150), 60, 1, -1)
            x0, y0, x1, y1 = finding.placement.content
            whole = np.zeros((224, 224), np.float32)
            whole[y0:y1, x0:x1] = cv2.resize(disc.astype(np.float32), (x1 - x0, y1 - y0))
            cells = cv2.resize(whole, (28, 28), interpolation=cv2.INTER_AREA)
        lesions = measure_lesions(cells, finding.placement, 224, spacing, plane)
        return radiograph, dataclasses.replace(finding, lesions=lesions)

    return make


def white(picture):
    return picture.min(axis=2) > 230


@BOTH
def test_dashes_run_along_the_outline_and_have_gaps(outlined, picture):
    drawn = picture(*outlined(saliency=COLD))
    plain = picture(*_without(outlined(saliency=COLD)))
    if picture is overlay:
        drawn, plain = drawn[:400, :500], plain[:400, :500]
        rows, columns = np.nonzero(white(drawn) & ~white(plain))
        distance = np.hypot(columns - 200, rows - 150)
        assert np.all(np.abs(distance - 60) < 12)
        angles = np.unique(np.degrees(np.arctan2(rows - 150, columns - 200)).astype(int))
        assert 120 < len(angles) < 330  # neither a closed line nor a few dots
    else:
        assert white(drawn).sum() > 0


def _without(pair):
    radiograph, finding = pair
    return radiograph, dataclasses.replace(finding, lesions=None)


@BOTH
def test_words_name_both_and_the_size(outlined, words, picture):
    saliency = np.random.default_rng(0).random((7, 7), dtype=np.float32)
    picture(*outlined(saliency=saliency, spacing=(0.2, 0.2), plane="detector"))
    assert "where the network looked, not where the disease is" in words()
    assert "dashes: 1 region outlined" in words()
    assert "mm across, at the detector" in words()


@BOTH
def test_an_empty_mask_is_said_and_no_mask_is_not(outlined, words, picture):
    picture(*outlined(cells=np.zeros((28, 28), np.float32)))
    assert "Nothing is outlined." in words()
    picture(*_without(outlined()))
    assert "outline" not in words().lower()


@BOTH
def test_a_rejected_radiograph_has_no_outline(outlined, words, picture):
    drawn = picture(*outlined(decision="reject", reasons=("too dark",)))
    assert "outline" not in words().lower()
    assert not white(drawn[:300, 100:300]).all()


@pytest.mark.parametrize("shape", [(400, 500), (1250, 1000), (2400, 600)])
def test_dashes_are_as_wide_as_the_letters_strokes(outlined, shape):
    """On a 7-inch screen that is a third of a millimetre and more, with a rim of the same."""
    picture = overlay(*outlined(shape=shape))[: shape[0], : shape[1]]
    runs = white(picture).sum(axis=1)
    assert runs.max() >= max(2, shape[0] // 400)
