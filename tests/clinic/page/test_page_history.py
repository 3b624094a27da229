"""Finding a radiograph again, and two dates next to each other."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.slow  # a browser takes seconds for each


@pytest.fixture
def page(filled_clinic, visit):
    visitor = visit(filled_clinic)
    visitor.go("history")
    return visitor.page


def search(page, text):
    page.get_by_label("Name, number or file").fill(text)
    page.get_by_role("button", name="Search").click()


def test_a_search_by_name_finds_only_that_patient(page):
    search(page, "okoro")
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("Okoro")
    page.go_back()
    expect(page.locator(".row")).to_have_count(5)


def test_a_search_that_finds_nothing_says_so(page):
    search(page, "nobody of this name")
    expect(page.locator(".counts")).to_have_text("No radiograph fits this search.")


def test_dates_narrow_the_search(page):
    page.get_by_label("When").select_option("dates")
    page.get_by_label("From").fill("2026-10-01")
    page.get_by_label("To").fill("2026-10-20")
    page.get_by_role("button", name="Search").click()
    expect(page.locator(".row")).to_have_count(1)
    expect(page.locator(".row")).to_contain_text("Diallo")


def test_two_ticked_radiographs_are_compared_with_their_course(page):
    search(page, "diallo forearm")
    boxes = page.get_by_role("checkbox")
    expect(boxes).to_have_count(2)
    boxes.nth(0).check()
    boxes.nth(1).check()
    page.get_by_role("button", name="Compare these two").click()
    expect(page.locator("main h1")).to_have_text("Comparison")
    expect(page.locator("canvas")).to_have_count(2)
    expect(page.locator(".counts")).to_have_text("49 days lie between them.")
    course = page.get_by_role("table", name="Findings of this patient by date")
    expect(course.get_by_role("row")).to_have_count(
        3
    )  # its head, and both; the leg is no part of it
    expect(page.get_by_role("img", name="Probabilities over time.")).to_be_visible()


def test_the_course_says_how_label_probability_and_extent_changed(page):
    page.goto(page.url.split("#")[0] + "#/compare/1/2")
    words = page.locator(".change")
    expect(words).to_contain_text("Probability of the answer: first")
    expect(words).to_contain_text("Extent: first")
    expect(words).to_contain_text("is no size of a lesion")
    course = page.get_by_role("table", name="Findings of this patient by date")
    expect(course.get_by_role("columnheader", name="Extent")).to_be_visible()
    expect(course.locator("tbody tr").first).to_contain_text("(map)")
    expect(page.get_by_role("img", name="Extent over time.")).to_be_visible()


def test_the_earlier_radiograph_is_the_first_one(page):
    page.goto(page.url.split("#")[0] + "#/compare/2/1")
    expect(page.locator(".side select").first).to_contain_text("Sep")
    chosen = page.locator(".side select").first.evaluate("list => list.selectedOptions[0].text")
    assert "Sep" in chosen


def test_radiographs_of_two_patients_are_compared_with_a_warning(page):
    page.goto(page.url.split("#")[0] + "#/compare/1/4")
    expect(page.locator(".caution").first).to_contain_text("different patients")
