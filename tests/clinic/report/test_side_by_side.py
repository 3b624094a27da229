"""The words next to a radiograph are in any language, whole, and inside their margin."""

import dataclasses
import math
import sys

import numpy as np
import pytest

from orthoedge.clinic.report import fonts
from orthoedge.clinic.report.caption import Caption, CaptionEntry
from orthoedge.clinic.report.side_by_side import caption_entries, draw_with_words
from orthoedge.clinic.words import LANGUAGES, catalogue
from orthoedge.runtime.errors import ConfigError, InputError, MissingDependency
from orthoedge.runtime.image_io.radiograph import ReasonId
from orthoedge.runtime.overlay.caption import BACKGROUND
from orthoedge.runtime.overlay.panel import checked_heat
from tests.clinic.words.test_finding_words import REASONS
from tests.helpers.clinic.answers import PROBABILITIES, answer, outlined
from tests.helpers.clinic.report_fonts import require_fonts

pytest.importorskip("typst")

UNIT = 17
every_language = pytest.mark.parametrize("language", LANGUAGES)


def full(decision="refer", reasons=tuple(REASONS), **changes):
    """Radiograph and finding with every reason, a ruler, an outline and a label of one word."""
    probabilities = PROBABILITIES | {"W" * 90: 0.9}
    given = answer(decision, probabilities, lesions=(outlined(),), **changes)
    verdict = dataclasses.replace(
        given.finding.verdict,
        reasons=("in English",) * len(reasons),
        reason_ids=tuple(ReasonId(name, REASONS[name]) for name in reasons),
    )
    finding = dataclasses.replace(given.finding, verdict=verdict, notice="notice " * 20)
    spaced = dataclasses.replace(given.radiograph, spacing_mm=(0.2, 0.2), spacing_plane="detector")
    return spaced, finding


def entries(radiograph, finding, language):
    heat = checked_heat(radiograph, finding)
    return caption_entries(radiograph, finding, heat, catalogue(language), 20)


def text_of(shown):
    return " ".join(f"{entry.name} {entry.text}" for entry in shown)


def margin(strip):
    """The outer half of a caption's margin; an accent on a capital may reach into the inner."""
    half = UNIT // 2
    sides = (strip[:half], strip[-half:], strip[:, :half], strip[:, -half:])
    return np.concatenate([side.ravel() for side in sides])


@every_language
@pytest.mark.parametrize("width", [20, 112])
def test_no_text_is_cut_off(language, width):
    require_fonts(language)
    caption = Caption(entries(*full(), language), catalogue(language))
    strip = caption.draw(width * UNIT, UNIT, 5.0)
    assert strip.shape[1] == width * UNIT
    assert set(margin(strip)) == {BACKGROUND}
    assert (strip != BACKGROUND).any()
    # As high as it was measured, so that the layout leaves room for all of it.
    assert len(strip) == pytest.approx(caption.size([width]).height(width) * UNIT, abs=1)


def test_a_text_that_is_too_wide_would_be_noticed():
    ruler = CaptionEntry(kind="ruler", text="9 mm", length=100)
    strip = Caption([ruler], catalogue("en")).draw(20 * UNIT, UNIT, 5.0)
    assert set(margin(strip)) != {BACKGROUND}


@every_language
def test_the_words_of_each_language_are_drawn(language):
    require_fonts(language)
    strips = {
        code: Caption(entries(*full(), code), catalogue(code)).draw(30 * UNIT, UNIT, 5.0)
        for code in {"en", language}
    }
    high = min(map(len, strips.values()))
    unlike = (strips["en"][:high] != strips[language][:high]).mean()
    assert (unlike > 0.02) == (language != "en")


@pytest.mark.parametrize("language", ["ar", "ur"])
def test_arabic_and_urdu_begin_at_the_right(language):
    require_fonts(language)
    entry = CaptionEntry(kind="decision", text=catalogue(language).text("decision.reject"))
    strip = Caption([entry], catalogue(language)).draw(40 * UNIT, UNIT, 1.0)
    assert np.flatnonzero((strip > 60).any(axis=(0, 2))).min() > strip.shape[1] / 3


@every_language
def test_a_rejection_has_neither_label_nor_probability_nor_colour(language):
    require_fonts(language)
    texts = catalogue(language)
    radiograph, finding = full("reject", ("nearly_blank",))
    shown = entries(radiograph, finding, language)
    assert {entry.kind for entry in shown} == {"decision", "text", "small"}
    labels = [texts.text(name) for name in texts.ids if name.startswith("label.")]
    assert not [label for label in [*labels, "W" * 90] if label in text_of(shown)]
    picture = draw_with_words(radiograph, finding, language).astype(int)
    assert (picture.max(axis=-1) == picture.min(axis=-1)).all()


@pytest.mark.parametrize(
    ("shape", "is_right"), [((900, 600), True), ((400, 1600), False), ((3000, 150), True)]
)
def test_the_picture_fits_a_screen_and_keeps_the_radiograph_first(shape, is_right):
    pixels = np.full(shape, 90, np.uint8)
    radiograph, finding = full(reasons=(), pixels=pixels)
    picture = draw_with_words(radiograph, finding, "en")
    assert picture.shape[0] <= 1154
    assert picture.shape[1] <= 1925
    assert (picture[0, 0] == 90).all()
    corner = picture[-8:, -8:] if is_right else picture[-8:, :8]
    assert (corner == BACKGROUND).all()
    if is_right:  # the tenth above the words stays free for what a viewer writes there
        assert (picture[: picture.shape[0] // 10, -200:] == BACKGROUND).all()


def test_a_ruler_is_never_longer_than_its_caption():
    pixels = np.full((500, 2600), 90, np.uint8)
    radiograph, finding = full(reasons=(), pixels=pixels)
    for spacing in (0.19, 0.5):
        radiograph = dataclasses.replace(radiograph, spacing_mm=(spacing, spacing))
        picture = draw_with_words(radiograph, finding, "en")
        assert (picture[:, -UNIT:] == BACKGROUND).all() or (picture[-UNIT:] == BACKGROUND).all()


def test_numbers_keep_their_order_in_arabic():
    shown = {entry.kind: entry.text for entry in entries(*full(), "ar")}
    assert shown["ruler"] == "\N{LEFT-TO-RIGHT ISOLATE}2 mm\N{POP DIRECTIONAL ISOLATE}"


def test_a_translation_that_no_clinician_has_read_says_so():
    for language in LANGUAGES:
        texts = catalogue(language)
        note = texts.text("page.not_reviewed")
        assert (note in text_of(entries(*full(), language))) != texts.is_reviewed


def test_the_notices_of_program_and_bundle_are_always_there():
    for decision in ("report", "refer", "reject"):
        shown = text_of(entries(*full(decision), "en"))
        assert catalogue("en").text("notice.operator") in shown
        assert "Its makers say: notice notice" in shown


def test_a_missing_font_or_program_is_an_error(monkeypatch):
    given = full()
    monkeypatch.setattr(fonts, "FONT_FOLDERS", ())
    fonts.open_fonts.cache_clear()
    try:
        assert draw_with_words(*given, "en").any()  # typst brings a font for Latin letters
        with pytest.raises(ConfigError, match="no font for Arabic letters"):
            draw_with_words(*given, "ar")
    finally:
        fonts.open_fonts.cache_clear()
    with pytest.raises(ConfigError, match="unknown language 'de'"):
        draw_with_words(*given, "de")
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(MissingDependency, match="typst"):
        draw_with_words(*given, "en")


def test_a_map_that_is_none_is_an_error():
    radiograph, finding = full()
    for worst in (math.nan, -1.0):
        bad = dataclasses.replace(finding, saliency_map=np.full((7, 7), worst, np.float32))
        with pytest.raises(InputError, match="saliency map"):
            draw_with_words(radiograph, bad, "en")


def test_a_letter_of_any_font_for_latin_is_as_high_as_it_should_be(monkeypatch):
    entry = CaptionEntry(kind="text", text="xxx")
    for places in (fonts.FONT_FOLDERS, ()):
        monkeypatch.setattr(fonts, "FONT_FOLDERS", places)
        fonts.open_fonts.cache_clear()
        strip = Caption([entry], catalogue("en")).draw(1000, 50, 1.0)
        rows = np.flatnonzero((strip[..., 0] > 130).any(axis=1))
        assert rows[-1] + 1 - rows[0] == pytest.approx(50, abs=3)
    fonts.open_fonts.cache_clear()
