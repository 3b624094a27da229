"""No line is cut: every view fits its screen in every language."""

import pytest

VIEWS = ("today", "radiograph/1", "history", "compare/1/2", "agreement", "settings")
SIZES = ((1024, 600), (320, 640))

# Elements whose own text is wider than they are, or that reach beyond the screen.
_CUT = """() => [...document.querySelectorAll("body *")].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) return false;
    if (element.closest(".visually-hidden, .skip, svg, .icons, select")) return false;
    if (box.right > innerWidth + 1 || box.left < -1) return true;
    const style = getComputedStyle(element);
    const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!hasText || style.display === "inline" || style.clipPath !== "none") return false;
    return element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0;
}).map(element => `${element.tagName}.${element.className}: ${element.textContent.slice(0, 40)}`)"""


# English sentences, such as the notice of a bundle, whose full stop an Arabic page would put first.
_REORDERED = """() => {
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
    while (texts.nextNode()) {
        const { data, parentElement } = texts.currentNode;
        const isSentence = /^[A-Za-z][^\\u0600-\\u06ff\\u2066-\\u2069]*[.!?)]$/.test(data.trim());
        if (isSentence && getComputedStyle(parentElement).direction === "rtl") found.push(data);
    }
    return found;
}"""


@pytest.mark.slow
def test_an_english_sentence_on_an_arabic_page_ends_where_it_should(
    filled_clinic, closed_clinic, visit
):
    for clinic, views in ((filled_clinic, VIEWS), (closed_clinic, ("",))):
        visitor = visit(clinic, language="ar")
        for view in views:
            visitor.go(view)
            assert visitor.page.evaluate(_REORDERED) == [], view
    visitor.page.evaluate("document.body.prepend('A sentence.')")
    assert visitor.page.evaluate(_REORDERED) == ["A sentence."]


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_the_login_fits_in_every_language(closed_clinic, visit, languages, size):
    visitor = visit(closed_clinic, *size)
    for language in languages:
        visitor.page.evaluate(f"localStorage.setItem('orthoedge.language', '{language}')")
        visitor.go("")
        assert visitor.page.evaluate("document.documentElement.scrollWidth") <= size[0], language
        assert visitor.page.evaluate(_CUT) == [], language


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_every_view_fits_in_every_language(filled_clinic, visit, languages, size):
    visitor = visit(filled_clinic, *size)
    page = visitor.page
    for language in languages:
        page.evaluate(f"localStorage.setItem('orthoedge.language', '{language}')")
        for view in VIEWS:
            visitor.go(view)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size[0], (language, view)
            assert page.evaluate(_CUT) == [], (language, view)


def test_a_view_that_is_too_wide_is_noticed(filled_clinic, visit):
    page = visit(filled_clinic, 320, 640).page
    page.evaluate("document.querySelector('h1').style.whiteSpace = 'nowrap'")
    page.evaluate("document.querySelector('h1').textContent = 'word '.repeat(40)")
    assert page.evaluate(_CUT)
