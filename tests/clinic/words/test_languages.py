"""Numbers, dates and plural forms are those of the Unicode CLDR, with digits from 0 to 9."""

from datetime import date

import pytest

from orthoedge.clinic.words import LANGUAGES, catalogue
from orthoedge.clinic.words.languages import language_of
from orthoedge.runtime.errors import ConfigError

babel = pytest.importorskip("babel")
every_language = pytest.mark.parametrize("language", LANGUAGES)


def locale(language):
    return babel.Locale.parse("en_001" if language == "en" else language)


def test_the_ten_languages_are_there():
    assert " ".join(LANGUAGES) == "en fr es pt sw hi ar ur bn zh"


@every_language
def test_direction_and_name_are_the_cldr_s(language):
    ours, theirs = language_of(language), locale(language)
    assert ours.direction == theirs.text_direction
    assert ours.name == babel.Locale.parse(language).get_display_name()


@every_language
def test_plural_forms_are_the_cldr_s(language):
    """But for millions, which Romance languages write with a form of their own."""
    ours, theirs = language_of(language), locale(language)
    for n in (*range(1000), 99_999):
        assert ours.plurals[ours.plural(n)] == theirs.plural_form(n), n


@every_language
def test_numbers_and_percentages_are_the_cldr_s(language):
    from babel.numbers import format_decimal, format_percent

    texts = catalogue(language)
    for value in (0, 7, 12.5, 999, 12_345, 1_234_567.25):
        theirs = format_decimal(
            value, format=None, locale=locale(language), numbering_system="latn"
        )
        assert texts.number(value, 2) == theirs
    theirs = format_percent(0.64, locale=locale(language), numbering_system="latn")
    sign = locale(language).number_symbols["latn"]["percentSign"]  # Babel writes % in every script
    assert texts.percent(0.64) == theirs.replace("%", sign)


@every_language
def test_dates_are_the_cldr_s_long_ones(language):
    from babel.dates import format_date

    texts = catalogue(language)
    for month in range(1, 13):
        day = date(2026, month, 3)
        theirs = format_date(day, "long", locale=locale(language))
        digits = str.maketrans("০১২৩৪৫৬৭৮৯", "0123456789")
        assert texts.date(day) == theirs.translate(digits)


def test_a_probability_never_looks_certain():
    texts = catalogue("en")
    assert texts.probability(0.786) == "78.6%"
    assert texts.probability(0.99999) == "over 99.9%"
    assert texts.probability(0.00001) == "under 0.1%"
    assert catalogue("fr").probability(1) == "plus de 99,9\u00a0%"


def test_numbers_that_are_none_are_a_dash():
    texts = catalogue("en")
    assert [texts.number(value) for value in (float("nan"), float("inf"), 1e300)] == ["–"] * 3
    assert (texts.number(-0.001), texts.number(-2.5, 1)) == ("0", "-2.5")


def test_an_unknown_language_is_an_error_that_names_the_known_ones():
    with pytest.raises(ConfigError, match="unknown language 'de': expected one of en, fr, es"):
        catalogue("de")
