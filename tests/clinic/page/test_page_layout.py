"""No line is cut: every view fits its screen in every language."""

import pytest

from tests.helpers.clinic.page.views import FAILED, OPENED, VIEWS

pytestmark = pytest.mark.slow  # a browser takes seconds for each

SIZES = ((1024, 600), (320, 640))

# Elements whose own text is wider than they are, that hide or scroll away a part of what they hold,
# or that reach beyond the screen. A name of a file may end with an ellipsis; the panel next to a
# radiograph and a dialog scroll on purpose.
_CUT = """() => [...document.querySelectorAll("body *")].filter(element => {
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) return false;
    if (element.closest(".visually-hidden, .skip, svg, .icons, .upload-name, option")) return false;
    if (box.right > innerWidth + 1 || box.left < -1) return true;
    const style = getComputedStyle(element);
    if (style.clipPath !== "none") return false; // a name that only a screen reader says
    if (element.tagName === "SELECT") {
        const context = document.createElement("canvas").getContext("2d");
        context.font = style.font;
        const text = element.selectedOptions[0]?.text ?? "";
        const edges = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight) + 16; // arrow
        return context.measureText(text).width > element.clientWidth - edges;
    }
    const isWider = element.scrollWidth > element.clientWidth + 1;
    const isHigher = element.scrollHeight > element.clientHeight + 1;
    if (style.overflowY !== "visible" && !element.matches(".panel, dialog, textarea, body")) {
        if (isWider || isHigher) return true;
    }
    const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
    if (!hasText || style.display === "inline") return false;
    return isWider && element.clientWidth > 0;
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


def check(page, width, *where):
    assert page.evaluate("document.documentElement.scrollWidth") <= width, where
    assert page.evaluate(_CUT) == [], where


@pytest.mark.parametrize("size", SIZES)
def test_every_view_fits_in_every_language(filled_clinic, closed_clinic, visit, languages, size):
    visitor = visit(filled_clinic, *size)
    page = visitor.page
    for language in languages:
        page.evaluate(f"localStorage.setItem('orthoedge.language', '{language}')")
        for view in (*VIEWS, FAILED):
            visitor.go(view)
            if view.startswith(("radiograph/1", "compare")):
                page.locator(".tool").last.wait_for()
            check(page, size[0], language, view)
    login = visit(closed_clinic, *size)
    for language in languages:
        login.page.evaluate(f"localStorage.setItem('orthoedge.language', '{language}')")
        login.go("")
        check(login.page, size[0], language, "login")


@pytest.mark.parametrize("size", SIZES)
def test_all_that_opens_fits_in_every_language(filled_clinic, visit, languages, size):
    visitor = visit(filled_clinic, *size)
    page = visitor.page
    for language in languages:
        page.evaluate(f"localStorage.setItem('orthoedge.language', '{language}')")
        for view, show in OPENED:
            visitor.go(view)
            show(page)
            check(page, size[0], language, show.__name__)


@pytest.mark.parametrize(
    "damage",
    [
        "const h1 = document.querySelector('h1'); h1.style.whiteSpace = 'nowrap';"
        "h1.textContent = 'word '.repeat(40)",
        "document.querySelector('.drop').style.cssText = 'block-size: 20px; overflow: auto'",
        "const list = document.createElement('select'); list.add(new Option('a long word here'));"
        "list.style.inlineSize = '60px'; document.querySelector('.drop').append(list)",
    ],
)
def test_a_view_that_is_cut_is_noticed(filled_clinic, visit, damage):
    page = visit(filled_clinic, 320, 640).page
    assert page.evaluate(_CUT) == []
    page.evaluate(f"() => {{ {damage} }}")
    assert page.evaluate(_CUT)
