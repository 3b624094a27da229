import re
from html.parser import HTMLParser

import msgspec
import pytest

from orthoedge.benchmarks.report.html import to_html
from orthoedge.benchmarks.schema import Skipped
from tests.helpers.report_example import REFERENCE, example, settings
from tests.helpers.report_example_parts import gallery

pytest.importorskip("matplotlib")

VOID = {"meta", "img", "br"}
LINKS = {"src", "href", "srcset", "action", "data", "poster", "background", "cite"}


class Page(HTMLParser):
    """Tags, attributes and words of a page, and whether each tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.words, self.open = [], [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


@pytest.fixture(scope="module")
def text():
    return to_html(example(), gallery())


def test_the_page_needs_nothing_outside_itself(text):
    page = Page(text)
    assert page.open == []
    assert not {"script", "link", "base", "iframe", "object", "embed"} & set(page.tags)
    targets = [value for name, value in page.attributes if name.rpartition(":")[2] in LINKS]
    assert len(targets) > 20
    assert all(value.startswith(("#", "data:image/png;base64,")) for value in targets)
    assert "//" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    assert "@import" not in text
    assert set(re.findall(r"url\((.)", text)) == {"#"}
    assert "default-src 'none'" in text


def test_what_the_page_refers_to_inside_itself_is_there_once(text):
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids)), "two figures share a name: one is clipped by the other's path"
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(ids)


def test_plots_take_every_colour_from_the_page(text):
    style, _, body = text.partition("</style>")
    assert "prefers-color-scheme: dark" in style
    assert not re.search(r"#[0-9a-fA-F]{6}\b", body)
    names = set(re.findall(r"var\(--(\w+)\)", body))
    assert names <= set(re.findall(r"--(\w+):", style))
    assert "<svg" in body


def test_every_candidate_figure_and_reason_is_on_the_page(text):
    report = example()
    words = " ".join(Page(text).words.split())
    for one in report.candidates:
        assert one.name in words
    for row in report.scaling:
        assert row.explanation in words
    for row in report.skipped:
        assert row.name in words
        assert row.reason in words
    assert report.settings.command in words
    assert report.machine.kernel in words
    assert text.count("<img ") == 24
    assert "wrong: fracture" in words
    assert words.count("predicted, of each true label") == len(report.accuracy)


def test_an_interrupted_run_is_a_page_too():
    nothing = example(
        candidates=(),
        stages=(),
        scenarios=(),
        accuracy=(),
        footprint=(),
        scaling=(),
        reference="",
        complete=False,
        skipped=(Skipped(name="x86", reason="no engine"),),
    )
    words = Page(to_html(nothing)).words
    assert "was interrupted" in words
    assert "no engine" in words
    assert "Scaling" not in words


def test_a_run_of_bare_engines_alone_draws_what_it_has():
    report = example()
    kept = tuple(one for one in report.candidates if one.name == REFERENCE)
    page = to_html(example(candidates=kept, accuracy=(), stages=(), footprint=()))
    assert page.count("<svg") == 2 + len(report.scaling)


def test_words_from_outside_cannot_become_markup():
    report = example(
        labels=("<script>", "a & b", "c", "d"),
        settings=settings(command="orthoedge benchmark 'a <b>'"),
        skipped=(Skipped(name="<img>", reason="x > y & z"),),
    )
    first = msgspec.structs.replace(report.candidates[1], description="<i>a call</i>")
    report = msgspec.structs.replace(report, candidates=(first, *report.candidates[2:]))
    page = Page(to_html(report))
    assert not {"script", "b", "i", "img"} & set(page.tags)
    assert "<i>a call</i>" in page.words
