"""Languages, and logging in and out."""

import re

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow  # a browser takes seconds for each


def test_the_language_changes_at_once_and_stays(clinic, visit, languages):
    visitor = visit(clinic)
    visitor.go("settings")
    page = visitor.page
    heading = page.locator("main h1")
    seen = {heading.inner_text()}
    for language in languages[1:]:
        page.locator("main select").first.select_option(language)
        expect(page.locator(f"html[lang='{language}']")).to_have_count(1)
        seen.add(heading.inner_text())
    assert len(seen) > len(languages) // 2  # a heading may be the same word in two languages
    page.locator("main select").first.select_option("ur")
    expect(page.locator("html[dir='rtl']")).to_have_count(1)
    visitor.go("today")
    expect(page.locator("html[lang='ur']")).to_have_count(1)


def test_a_theme_that_is_chosen_stays(clinic, visit):
    visitor = visit(clinic)
    visitor.go("settings")
    visitor.page.get_by_text("Dark", exact=True).click()
    dark = visitor.page.evaluate("getComputedStyle(document.body).backgroundColor")
    visitor.go("today")
    assert visitor.page.evaluate("getComputedStyle(document.body).backgroundColor") == dark


def test_the_theme_of_the_device_is_followed_until_another_is_chosen(clinic, visit):
    page = visit(clinic, theme="system", color_scheme="dark").page
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(root).to_have_attribute("data-theme", "light")
    page.evaluate("import('/core/preferences.js').then(it => it.setPreference('theme', 'dark'))")
    expect(root).to_have_attribute("data-theme", "dark")
    page.emulate_media(color_scheme="dark")
    page.emulate_media(color_scheme="light")
    expect(root).to_have_attribute("data-theme", "dark")


def log_in(page, name, password):
    page.get_by_label("Name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def test_nothing_is_shown_before_a_login_and_after_the_logout(closed_clinic, visit):
    page = visit(closed_clinic).page
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    log_in(page, "physician", "wrong")
    expect(page.get_by_role("alert").filter(has_text="wrong")).to_be_visible()
    log_in(page, "physician", "physician" * 2)
    expect(page.get_by_role("heading", level=1)).to_contain_text("radiographs")
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("History")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_an_operator_can_add_but_not_judge(closed_clinic, visit):
    from tests.helpers.clinic.page.radiographs import dicom

    visitor = visit(closed_clinic)
    page = visitor.page
    log_in(page, "operator", "operator" * 2)
    expect(page.get_by_role("heading", level=1)).to_contain_text("radiographs")
    visitor.drop({"one.dcm": dicom("0-forearm")})
    expect(page.get_by_text("Only a physician can enter an opinion.")).to_be_attached()
    assert page.get_by_text("No, I disagree").count() == 0


def test_a_page_that_nobody_uses_is_locked_and_one_that_somebody_uses_is_not(closed_clinic, visit):
    page = visit(closed_clinic).page
    page.clock.install()
    page.reload()
    log_in(page, "physician", "physician" * 2)
    heading = page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("radiographs")
    with page.expect_request("**/findings?limit=1"):  # the session ends no sooner than the page
        page.keyboard.press("Shift")
        page.clock.run_for("05:00")
    page.clock.run_for("09:00")
    page.keyboard.press("Shift")
    page.clock.run_for("14:00")
    expect(heading).to_contain_text("radiographs")
    page.clock.run_for("02:00")
    expect(page.locator(".toast-bad")).to_contain_text("nobody used it")
    expect(heading).to_have_text("Sign in")


def test_what_is_no_device_is_said_in_the_language_of_the_page(clinic, closed_clinic, visit):
    for place, view in ((closed_clinic, ""), (clinic, "settings")):
        visitor = visit(place, language="ar")
        visitor.go(view)
        notice = visitor.page.locator(".notice")
        expect(notice).to_contain_text("طبي")
        assert not re.search("[a-z]", notice.inner_text())
    makers = visitor.page.locator(".facts [lang='en'] bdi")
    expect(makers).to_contain_text("Research only")


def test_a_session_that_ended_leads_to_the_login(closed_clinic, visit):
    visitor = visit(closed_clinic)
    page = visitor.page
    log_in(page, "operator", "operator" * 2)
    expect(page.get_by_role("heading", level=1)).to_contain_text("radiographs")
    page.context.clear_cookies()
    page.get_by_role("link", name="History").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
