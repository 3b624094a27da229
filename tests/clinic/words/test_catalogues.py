"""Every language has every text, with the same placeholders and all its plural forms."""

import re
from pathlib import Path

import pytest

from orthoedge.clinic import words
from orthoedge.clinic.words import LANGUAGES, Catalogue, catalogue
from orthoedge.clinic.words.languages import language_of
from orthoedge.clinic.words.po_file import read_po

TEXTS = Path(words.__file__).parent / "texts"
ENDS = (".", "!", "?", "…", ":", "。", "！", "？", "：", "؟", "۔", "।")
every_language = pytest.mark.parametrize("language", LANGUAGES)


def messages(language):
    read = dict(read_po((TEXTS / f"{language}.po").read_text("utf-8")))
    del read[""]
    return read


def placeholders(text):
    return sorted(set(re.findall(r"{(\w*)}", text)))


ENGLISH = messages("en")


def test_there_is_a_file_for_each_language_and_no_other():
    assert {path.stem for path in TEXTS.iterdir()} == set(LANGUAGES)


@every_language
def test_every_message_is_in_every_language(language):
    assert set(messages(language)) == set(ENGLISH)
    assert len(ENGLISH) > 400


@every_language
def test_every_form_has_the_placeholders_of_the_english_one(language):
    for name, forms in messages(language).items():
        expected = placeholders(ENGLISH[name][-1])
        for form in forms:
            assert placeholders(form) == expected, name
            form.format_map(dict.fromkeys(expected, "x"))  # no brace is left over


@every_language
def test_a_message_with_plural_forms_has_all_of_them(language):
    names = language_of(language).plurals
    for name, forms in messages(language).items():
        assert len(forms) == (len(names) if len(ENGLISH[name]) > 1 else 1), name


@every_language
def test_no_text_is_empty_or_has_markup_or_spaces_around_it(language):
    for name, forms in messages(language).items():
        for form in forms:
            assert form
            assert form == form.strip(), name
            assert not re.search(r"[<>&]|\n", form), name


@every_language
def test_a_sentence_is_one_in_every_language(language):
    for name, forms in messages(language).items():
        is_sentence = ENGLISH[name][-1].endswith((".", "?"))
        for form in forms:
            if is_sentence:
                assert form.endswith(ENDS), name
            elif not form.endswith("}"):
                assert not form.endswith((".", "。", "۔", "।")), name


@every_language
def test_a_translator_sees_the_english_text_as_it_is(language):
    """A translation whose English text has changed since is found by this."""
    if language == "en":
        return
    block = re.compile(r'((?:#\. .*\n)*)msgid "([^"]+)"\n')
    seen = {
        name: tuple(re.findall(r"^#\. en: (.*)$", comments, re.MULTILINE))
        for comments, name in block.findall((TEXTS / f"{language}.po").read_text("utf-8"))
    }
    assert seen == ENGLISH


@every_language
def test_babel_reads_the_same_and_finds_no_fault(language):
    pofile = pytest.importorskip("babel.messages.pofile")
    with (TEXTS / f"{language}.po").open("rb") as file:
        read = pofile.read_po(file)
    ours = messages(language)
    assert str(read.locale) == language
    assert read.num_plurals == len(language_of(language).plurals)
    for message in read:
        if not message.id:
            continue
        name = message.id if isinstance(message.id, str) else message.id[0]
        forms = (message.string,) if isinstance(message.string, str) else tuple(message.string)
        assert ours.pop(name) == forms
        assert not message.fuzzy
    assert ours == {}


@every_language
def test_a_translation_says_whether_a_clinician_has_read_it(language):
    text = (TEXTS / f"{language}.po").read_text("utf-8")
    (reviewer,) = re.findall(r'^"X-Reviewed-By: *(.*)\\n"$', text, re.MULTILINE)
    assert catalogue(language).is_reviewed == bool(reviewer)


@every_language
@pytest.mark.parametrize("reviewer", ["", "Dr. Ada Doe"])
def test_a_clinician_enters_the_name_in_the_header(language, reviewer):
    text = (TEXTS / f"{language}.po").read_text("utf-8")
    text = re.sub(r'^"X-Reviewed-By:.*$', rf'"X-Reviewed-By: {reviewer}\\n"', text, flags=re.M)
    read = Catalogue(language_of(language), read_po(text))
    assert read.is_reviewed == bool(reviewer)
