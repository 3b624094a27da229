"""Keyboard alone, screen readers, contrast: axe-core, and what it cannot see."""

import pytest
from playwright.sync_api import expect

VIEWS = ("today", "radiograph/1", "history", "compare/1/2", "agreement", "settings")

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
def test_the_narrow_page_and_the_login_have_none(filled_clinic, closed_clinic, visit, axe):
    for clinic, view in (
        (filled_clinic, "today"),
        (filled_clinic, "radiograph/1"),
        (closed_clinic, ""),
    ):
        visitor = visit(clinic, 320, 640)
        visitor.go(view)
        assert problems(visitor.page, axe) == [], view


@pytest.mark.slow
def test_the_print_dialog_has_none(filled_clinic, visit, axe):
    visitor = visit(filled_clinic)
    visitor.go("radiograph/1")
    visitor.page.get_by_role("button", name="Print").click()
    assert problems(visitor.page, axe) == []


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


@pytest.mark.slow
def test_a_radiograph_is_opened_and_judged_by_keyboard_alone(filled_clinic, visit):
    page = visit(filled_clinic).page
    keyboard = page.keyboard
    keyboard.press("Tab")
    expect(page.locator("#skip")).to_be_focused()
    keyboard.press("Enter")
    for _ in range(8):
        keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.row-link')"):
            break
    keyboard.press("Enter")
    page.wait_for_url("**/#/radiograph/*")
    page.locator(".tool").first.wait_for()
    expect(page.locator("#main")).to_be_focused()
    reached = set()
    for _ in range(60):
        keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "document.activeElement.textContent.trim() || document.activeElement.tagName"
            )
        )
    assert {"CANVAS", "Brightness", "Ruler", "Invert", "Map", "Line", "Print"} <= reached


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
