"""What the page says of a radiograph, and what a physician says of it."""

import re

import pytest
from playwright.sync_api import expect

from tests.helpers.clinic.page.radiographs import dicom

pytestmark = pytest.mark.slow  # a browser takes seconds for each


@pytest.fixture
def visitor(filled_clinic, visit):
    visitor = visit(filled_clinic)
    visitor.go("radiograph/2")
    return visitor


def test_words_probabilities_decision_and_notice_are_there(visitor):
    page = visitor.page
    panel = page.locator(".panel")
    for text in ("To be read by a physician", "What to do next", "How sure", "Probabilities"):
        expect(panel).to_contain_text(text)
    expect(panel.locator(".notice")).to_be_attached()
    values = panel.locator(".bar-value").all_inner_texts()
    assert len(values) == 4
    assert sum(float(value.strip("%")) for value in values) == pytest.approx(100, abs=0.3)


def test_the_two_readers_get_different_words(visitor):
    words = visitor.page.locator(".words")
    staff = words.inner_text()
    visitor.page.get_by_text("Patient", exact=True).click()
    expect(words).not_to_have_text(staff)
    visitor.go("radiograph/1")
    assert visitor.page.get_by_label("Patient", exact=True).is_checked()


def test_a_decision_to_refer_is_a_triangle_and_words(visitor):
    mark = visitor.page.locator(".verdict .mark-refer")
    expect(mark.locator("use")).to_have_attribute("href", "#icon-refer")
    expect(mark).to_contain_text("To be read by a physician")


def test_an_opinion_is_entered_and_counted(visitor):
    page = visitor.page
    page.get_by_text("No, I disagree").click()
    page.get_by_role("button", name="Save the opinion").click()
    expect(page.get_by_text("Choose what it was.")).to_be_visible()
    page.get_by_text("Benign tumor", exact=True).last.click()
    page.get_by_label("Note").fill("<b>seen</b> on the lateral view")
    page.get_by_role("button", name="Save the opinion").click()
    given = page.locator(".given")
    expect(given).to_contain_text("It was: Benign tumor")
    expect(given).to_contain_text("<b>seen</b>")  # as text, never as markup
    assert given.locator("b").count() == 0
    visitor.go("agreement")
    expect(page.locator(".figure")).to_have_text("33%")  # two physicians had one before
    expect(page.locator("body")).to_contain_text("3 radiographs with an opinion")


def test_a_translation_that_no_clinician_has_read_says_so_at_the_finding(filled_clinic, visit):
    visitor = visit(filled_clinic, language="fr")
    visitor.go("radiograph/1")
    expect(visitor.page.locator(".panel")).to_contain_text("pas été vérifiée par un clinicien")


def test_a_radiograph_is_deleted_after_a_question(filled_clinic, visit):
    number = filled_clinic.send("findings?name=wrong.dcm", dicom("2-leg"))["number"]
    visitor = visit(filled_clinic)
    page = visitor.page
    visitor.go(f"radiograph/{number}")
    page.locator("summary", has_text="Details").click()
    asked = []

    def press(answer):
        page.once("dialog", lambda dialog: (asked.append(dialog.message), answer(dialog)))
        page.get_by_role("button", name="Delete").click()

    press(lambda dialog: dialog.dismiss())
    expect(page.get_by_role("button", name="Delete")).to_be_visible()
    press(lambda dialog: dialog.accept())
    expect(page.locator(".toast")).to_contain_text("deleted")
    assert len(asked) == 2
    assert page.url.endswith("#/today")
    assert page.locator(f".row[data-number='{number}']").count() == 0
    page.goto(f"{filled_clinic.address}#/radiograph/{number}")
    expect(page.locator(".problem")).to_be_visible()


def test_the_weeks_have_what_shows_a_drift_also_without_an_opinion(filled_clinic, visit):
    visitor = visit(filled_clinic)
    page = visitor.page

    def without_opinions(route):
        answer = route.fetch().json()
        answer["agreement"] |= {"of": 0, "share": None}
        route.fulfill(json=answer)

    for _ in range(2):
        visitor.go("agreement")
        weeks = page.get_by_role("table", name="By week")
        heads = weeks.get_by_role("columnheader").all_inner_texts()
        assert heads[3:5] == ["Not usable", "Difference from training"]
        cells = weeks.locator("tbody tr").first.get_by_role("cell").locator("div").all_inner_texts()
        assert cells[2].endswith("%")
        assert re.fullmatch(r"-?\d+(\.\d+)?", cells[3])
        page.route("**/api/v1/agreement", without_opinions)
    expect(page.locator("main")).to_contain_text("No opinion has been entered yet.")


def test_markup_in_a_name_stays_text(filled_clinic, visit):
    name = "<b>Bold</b>^<script>alert(2)</script>"
    visitor = visit(filled_clinic)
    visitor.drop({"<i>x</i>.dcm": dicom("0-forearm", patient=("P9", name), part="<u>ARM</u>")})
    heading = visitor.page.get_by_role("heading", level=1)
    expect(heading).to_contain_text("<script>alert(2)</script>")
    assert visitor.page.locator("main b, main script, main u, main i").count() == 0
