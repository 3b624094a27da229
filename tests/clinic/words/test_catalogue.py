"""A message is filled as its language asks, and a fault in a catalogue is found."""

import pytest

from orthoedge.clinic.words.catalogue import Catalogue, catalogue
from orthoedge.clinic.words.languages import language_of
from orthoedge.clinic.words.po_file import read_po
from orthoedge.runtime.errors import DataError


def of(language, **messages):
    return Catalogue(language_of(language), messages)


def test_the_form_is_chosen_by_the_number():
    files = {"files": ("{n} file", "{n} files")}
    assert [of("en", **files).text("files", n=n) for n in (0, 1, 2)] == [
        "0 files",
        "1 file",
        "2 files",
    ]
    assert of("fr", **files).text("files", n=0) == "0 file"
    assert of("en", **files).text("files", n=12_345) == "12,345 files"


def test_arabic_has_six_forms():
    forms = ("zero", "one", "two", "few", "many", "other")
    texts = of("ar", m=forms)
    numbers = {"zero": 0, "one": 1, "two": 2, "few": 3, "many": 11, "other": 100}
    assert {texts.text("m", n=n) for n in (3, 10, 103)} == {"few"}
    assert {name: texts.text("m", n=n) for name, n in numbers.items()} == {f: f for f in forms}


def test_a_value_is_never_read_as_a_template():
    assert of("en", m=("of {name}",)).text("m", name="{n} {0.__class__}") == "of {n} {0.__class__}"


def test_a_name_does_not_turn_a_text_that_runs_from_right_to_left():
    assert of("ar", m=("[{name}]",)).text("m", name="A-17") == "[\u2068A-17\u2069]"
    assert of("en", m=("[{name}]",)).text("m", name="A-17") == "[A-17]"


def test_a_missing_message_or_value_is_an_error():
    texts = of("en", m=("of {name}",))
    with pytest.raises(KeyError):
        texts.text("other")
    with pytest.raises(KeyError):
        texts.text("m")


def test_sentences_stand_apart_but_in_chinese():
    assert catalogue("en").sentences(["One.", "", "Two."]) == "One. Two."
    assert catalogue("zh").sentences(["一。", "二。"]) == "一。二。"


def test_the_page_gets_plural_forms_by_the_names_of_the_browser():
    texts = catalogue("fr").page_texts()
    assert set(texts["page.list.count"]) == {"one", "other"}
    assert set(catalogue("ar").page_texts()["page.list.count"]) >= {"zero", "two", "few", "many"}
    assert texts["label.fracture"] == "fracture"
    assert not any(name.startswith(("reason.", "headline.")) for name in texts)
    of_report = {name for name in texts if name.startswith("report.")}
    assert of_report == {"report.earlier", "report.earlier_more"}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('msgid "a"\nmsgstr "b', "line 2"),
        ('msgid "a"\nmsgctxt "b"\nmsgstr "c"', "line 2"),
        ('msgid "a"\nmsgstr "\\q"', "line 2"),
        ('"a"', "line 1"),
    ],
)
def test_a_line_that_is_no_message_is_named(text, line):
    with pytest.raises(DataError, match=line):
        read_po(text)


def test_texts_over_several_lines_and_escapes_are_joined():
    text = 'msgid ""\nmsgstr ""\n"X: y\\n"\n\n# c\nmsgid "a"\nmsgstr ""\n"b \\"c\\" "\n"d"\n'
    assert read_po(text) == {"": ("X: y\n",), "a": ('b "c" d',)}
