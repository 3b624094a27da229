"""Keyboard alone, screen readers, contrast: axe-core, and what it cannot see."""

import pytest
from playwright.sync_api import expect

from tests.helpers.clinic.page.views import FAILED, MISSING, OPENED, VIEWS

EXPLAINED = {
    # axe cannot compute a contrast over a picture. That text has a dark edge of its own; text in a
    # chart has the colour of other quiet text on the same ground, which axe does compute.
    "color-contrast": (".stage-state", ".length", "text["),
}


def problems(page, axe):
    """Violations, and what axe could not decide and is not explained: rule and element."""
    page.evaluate(axe)
    result = page.evaluate("axe.run(document, { resultTypes: ['violations', 'incomplete'] })")
    found = [
        (rule["id"], node["target"][0]) for rule in result["violations"] for node in rule["nodes"]
    ]
    for rule in result["incomplete"]:
        for node in rule["nodes"]:
            if not any(part in node["target"][0] for part in EXPLAINED.get(rule["id"], ())):
                found.append((rule["id"], node["target"][0]))
    return found


@pytest.mark.parametrize(
    ("language", "theme"),
    [
        ("en", "light"),
        *(
            pytest.param(language, theme, marks=pytest.mark.slow)
            for language, theme in (("en", "dark"), ("ar", "light"), ("ar", "dark"))
        ),
    ],
)
def test_no_view_has_a_violation(filled_clinic, visit, axe, language, theme):
    visitor = visit(filled_clinic, language=language, theme=theme)
    for view in VIEWS:
        visitor.go(view)
        assert problems(visitor.page, axe) == [], view


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "ar"])
def test_nothing_that_opens_has_one(filled_clinic, closed_clinic, visit, axe, language, theme):
    login = visit(closed_clinic, language=language, theme=theme)
    assert problems(login.page, axe) == []
    visitor = visit(filled_clinic, language=language, theme=theme)
    for view in (FAILED, MISSING):
        visitor.go(view)
        assert problems(visitor.page, axe) == [], view
    for view, show in OPENED:
        visitor.go(view)
        show(visitor.page)
        assert problems(visitor.page, axe) == [], show.__name__


@pytest.mark.slow
def test_the_narrow_page_has_none(filled_clinic, closed_clinic, visit, axe):
    for clinic, view in (*((filled_clinic, view) for view in VIEWS), (closed_clinic, "")):
        visitor = visit(clinic, 320, 640)
        visitor.go(view)
        assert problems(visitor.page, axe) == [], view


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        ("document.querySelector('h1').style.color = '#ccd'", "color-contrast"),
        (
            "document.querySelector('.drop').insertAdjacentHTML('beforeend', '<button></button>')",
            "button-name",
        ),
        ("document.documentElement.removeAttribute('lang')", "html-has-lang"),
        ("document.querySelector('.drop').insertAdjacentHTML('beforeend', '<input>')", "label"),
    ],
)
def test_a_bad_page_is_noticed(filled_clinic, visit, axe, damage, rule):
    page = visit(filled_clinic).page
    page.evaluate(damage)
    assert rule in {name for name, _ in problems(page, axe)}


def tab_to(page, selector):
    """Press Tab until an element has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
    raise AssertionError(f"no Tab leads to {selector}")


@pytest.mark.slow
def test_a_radiograph_is_opened_and_judged_by_keyboard_alone(filled_clinic, visit):
    page = visit(filled_clinic).page
    keyboard = page.keyboard
    keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    keyboard.press("Enter")
    tab_to(page, ".row-link[href='#/radiograph/2']")
    keyboard.press("Enter")
    page.wait_for_url("**/#/radiograph/2")
    page.locator(".tool").last.wait_for()
    expect(page.locator("#main")).to_be_focused()
    tab_to(page, ".tool[aria-pressed]:has(.icon-invert)")
    keyboard.press("Space")
    expect(page.get_by_role("button", name="Invert")).to_have_attribute("aria-pressed", "true")
    tab_to(page, "canvas")
    before = page.locator(".stage-state").inner_text()
    keyboard.press("+")
    expect(page.locator(".stage-state")).not_to_have_text(before)
    tab_to(page, "input[type=range]")
    keyboard.press("Home")
    expect(page.get_by_role("slider")).to_have_value("0")
    tab_to(page, "input[name=opinion-agrees]")
    keyboard.press("ArrowDown")  # to disagree
    tab_to(page, "input[name=opinion-label]")
    keyboard.press("Space")
    tab_to(page, ".opinion textarea")
    keyboard.type("seen twice")
    tab_to(page, ".opinion [type=submit]")
    keyboard.press("Enter")
    given = page.locator(".given")
    expect(given).to_contain_text("Disagreed")
    expect(given).to_contain_text("It was: ")
    expect(given).to_contain_text("seen twice")


@pytest.mark.slow
def test_a_new_view_is_a_new_title_and_one_heading(filled_clinic, visit):
    visitor = visit(filled_clinic)
    titles = set()
    for view in VIEWS:
        visitor.go(view)
        titles.add(visitor.page.title())
        assert visitor.page.get_by_role("heading", level=1).count() == 1
        for landmark in ("main", "navigation"):
            assert visitor.page.get_by_role(landmark).count() >= 1
    assert len(titles) == len(VIEWS)
    visitor.go(MISSING)
    expect(visitor.page.get_by_role("alert").first).to_be_visible()
    assert visitor.page.get_by_role("heading", level=1).count() == 1


def test_a_suspected_malignant_tumor_is_announced_by_shape_and_word(filled_clinic, visit):
    """No sample is called malignant, so the page is given such a finding."""
    visitor = visit(filled_clinic)
    page = visitor.page

    def changed(route):
        reply = route.fetch()
        details = reply.json()
        details["label"] = details["finding"]["label"] = "tumor-malignant"
        details["alert"] = True
        route.fulfill(response=reply, json=details)

    page.route("**/api/v1/findings/1?*", changed)
    visitor.go("radiograph/1")
    alarm = page.locator(".verdict-alarm")
    expect(alarm).to_contain_text("Malignant tumor suspected")
    expect(alarm.locator("use")).to_have_attribute("href", "#icon-malignant")
