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
