"""Finding a radiograph again, and two dates next to each other."""

import pytest
from playwright.sync_api import expect

from orthoedge.clinic.history import PatientFacts, StudyFacts
from tests.clinic.page.test_page_viewer import drag, is_coloured
from tests.helpers.clinic.page.canvas import pixels
from tests.helpers.clinic.page.findings import add_like

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


def compare(page, first, second):
    page.goto(f"{page.url.split('#')[0]}#/compare/{first}/{second}")
    page.locator(".tool").nth(8).wait_for()  # of one side


def test_a_radiograph_with_an_id_that_was_given_again_is_of_another_patient(filled_clinic, page):
    born = {"birth_date": "1950-01-01"}, {"birth_date": "2001-01-01"}
    first, second = (
        add_like(filled_clinic.folder, 1, patient=PatientFacts("P7", "Doe", **given))
        for given in born
    )
    compare(page, first, second)
    expect(page.locator(".caution").first).to_contain_text("different patients")
    unborn = add_like(filled_clinic.folder, 1, patient=PatientFacts("P7", "Doe"))
    compare(page, first, unborn)
    expect(page.locator(".caution")).to_have_count(0)


def test_a_comparison_says_what_cannot_be_ruled_out_as_the_list_does(filled_clinic, page):
    patient = PatientFacts("P8", "Roe")
    labels = ["fracture", "tumor-malignant"]
    first, second = (
        add_like(
            filled_clinic.folder, 1, patient=patient, decision="refer", label="fracture",
            label_set=label_set,
        )
        for label_set in (labels, labels[:1])
    )  # fmt: skip
    compare(page, first, second)
    words = "A malignant tumor cannot be ruled out"
    expect(page.locator(".side").first).to_contain_text(words)
    expect(page.locator(".side").last).not_to_contain_text(words)
    course = page.get_by_role("table", name="Findings of this patient by date")
    expect(course.locator("tbody tr").first).to_contain_text(words)
    page.goto(f"{page.url.split('#')[0]}#/radiograph/{second}")
    expect(page.locator(".other")).to_contain_text(words)
    page.goto(f"{page.url.split('#')[0]}#/history?text=roe")
    expect(page.locator(".row").last).to_contain_text(words)
    expect(page.locator(".row").first).not_to_contain_text(words)


def test_each_side_of_a_comparison_has_map_line_and_ruler_of_its_own(page):
    compare(page, 1, 2)
    side, other = page.locator(".side").first, page.locator(".side").last
    expect(side.locator(".map-meaning")).to_contain_text("no outline")
    side.get_by_role("button", name="Line").click()
    side.get_by_role("slider", name="Strength of the map").fill("0")
    assert is_coloured(pixels(page)) == 0
    expect(other.get_by_role("button", name="Map", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    side.get_by_role("button", name="Ruler").click()
    box = side.locator("canvas").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    drag(page, (x - 30, y), (x + 30, y))
    expect(side.locator(".length")).to_contain_text("mm")


def test_a_body_part_is_searched_as_such_and_by_each_of_its_names(filled_clinic, page):
    def add(name, part):
        study = StudyFacts("2026-11-01", body_part=part)
        add_like(filled_clinic.folder, 1, patient=PatientFacts("P6", name), study=study)

    add("Chandra", "WRIST")
    add("Allegra", "SHOULDER")
    for name, part in (("Uno", "TIBIA"), ("Due", "Fibula"), ("Tre", "LOWER LEG")):
        add(name, part)
    add("Quattro", "LSPINE")
    for region, names in (
        ("hand", []),
        ("wrist", ["Chandra"]),
        ("lower_leg", ["Diallo", "Due", "Tre", "Uno"]),
        ("lower_spine", ["Quattro"]),
        ("spine", ["Quattro"]),
    ):
        page.get_by_label("Body part").select_option(region)
        page.wait_for_url(f"**region={region}*")
        count = page.locator(".counts")
        expect(count).to_contain_text(str(len(names)) if names else "No radiograph fits")
        rows = page.locator(".row-who").all_inner_texts()
        assert sorted(row.split("\n")[0].split(",")[0] for row in rows) == names
        if region == "lower_leg":
            assert all("Lower leg" in row for row in rows)
