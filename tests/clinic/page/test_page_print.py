"""The printed page, and the way to the PDF."""

import re

import pytest
from playwright.sync_api import expect

from orthoedge.clinic.history import PatientFacts, StudyFacts
from tests.helpers.clinic.page.findings import add_like

pytestmark = pytest.mark.slow  # a browser takes seconds for each


@pytest.fixture
def visitor(filled_clinic, visit):
    visitor = visit(filled_clinic)
    visitor.go("radiograph/1")
    visitor.page.locator(".tool").first.wait_for()
    return visitor


def pages_of(content):
    assert content.startswith(b"%PDF")
    return len(re.findall(rb"/Type\s*/Page\b", content))


def test_a_print_is_one_page_with_both_pictures(visitor):
    page = visitor.page
    page.evaluate(
        """() => window.addEventListener("beforeprint", () => {
            const sheet = document.getElementById("sheet");
            const pictures = sheet.querySelectorAll("canvas").length;
            window.sheet = { text: sheet.textContent, pictures };
        })"""
    )
    assert pages_of(page.pdf(prefer_css_page_size=True)) == 1
    sheet = page.evaluate("window.sheet")
    assert sheet["pictures"] == 2
    for text in ("Diallo", "P1", "Words of the physician"):
        assert text in sheet["text"]
    assert page.locator("#sheet > *").count() == 0  # gone after the print
    wait_for_entry(visitor, 1)


def wait_for_entry(visitor, number):
    """Until the audit trail ends with the print of a finding."""
    read = """() => fetch("/api/v1/audit?limit=1").then(reply => reply.json())"""
    last = {}
    for _ in range(100):
        (last,) = visitor.page.evaluate(read)["entries"]
        if (last["action"], last["finding"]) == ("printed", number):
            return
        visitor.page.wait_for_timeout(100)
    raise AssertionError(last)


def open_sheet(page, *, untick=(), tick=()):
    """Print from the dialog; the text of the sheet."""
    read = "document.getElementById('sheet').textContent"
    page.evaluate(f"() => {{ window.print = () => (window.text = {read}); }}")
    page.get_by_role("button", name="Print").click()
    for name in untick:
        page.get_by_label(name).uncheck()
    for name in tick:
        page.get_by_label(name).check()
    page.get_by_role("button", name="Print this page").click()
    expect(page.locator("dialog")).to_have_count(0)
    return page.evaluate("window.text")


def test_a_print_lists_earlier_radiographs_with_their_part_and_stays_one_page(filled_clinic, visit):
    patient = PatientFacts("P5", "Roe")
    parts = ("WRIST", "KNEE", "", "HAND", "LEG", "FOOT")
    *_, last = (
        add_like(
            filled_clinic.folder, 1, patient=patient, decision="refer", label="tumor-malignant",
            label_set=["tumor-malignant"],
            study=StudyFacts(f"2026-01-{10 + index}", body_part=part, laterality="R"),
        )
        for index, part in enumerate(parts)
    )  # fmt: skip
    visitor = visit(filled_clinic)
    visitor.go(f"radiograph/{last}")
    page = visitor.page
    page.locator(".tool").first.wait_for()
    assert pages_of(page.pdf(prefer_css_page_size=True)) == 1
    text = open_sheet(page, tick=["Add the words for the patient"])
    assert "Earlier radiographs of this patient" in text
    assert "Jan 14, 2026" in text or "14 Jan 2026" in text
    assert "Lower leg · right side · Malignant tumor" in text
    assert "1 earlier radiograph is not listed." in text


def test_a_print_can_leave_the_patient_out(visitor):
    page = visitor.page
    assert "Diallo" in open_sheet(page)
    text = open_sheet(page, untick=["Name the patient"])
    for word in ("Diallo", "P1", "2026-09-01", "Earlier"):
        assert word not in text
    assert "Forearm" in text
    wait_for_entry(visitor, 1)


@pytest.mark.parametrize(
    "language",
    ["ar", "fr", "hi", "zh"],
)
def test_a_print_in_another_language_leaves_the_page_in_its_own(visitor, language):
    page = visitor.page
    page.evaluate(
        """() => { window.print = () => {
            const sheet = document.getElementById("sheet");
            window.sheet = { text: sheet.textContent, lang: sheet.lang, dir: sheet.dir };
        } }"""
    )
    page.get_by_role("button", name="Print").click()
    page.get_by_label("Language of the page").select_option(language)
    page.get_by_role("button", name="Print this page").click()
    expect(page.locator("dialog")).to_have_count(0)
    sheet = page.evaluate("window.sheet")
    assert sheet["lang"] == language
    assert sheet["dir"] == ("rtl" if language == "ar" else "ltr")
    assert "Words of the physician" not in sheet["text"]
    assert pages_of(page.pdf(prefer_css_page_size=True)) == 1
    expect(page.get_by_role("button", name="Print")).to_be_visible()


def test_the_link_to_the_pdf_asks_for_language_and_paper(visitor):
    pytest.importorskip("typst")
    page = visitor.page
    page.get_by_role("button", name="Print").click()
    page.get_by_label("Language of the page").select_option("sw")
    page.get_by_label("Paper").select_option("letter")
    link = page.get_by_role("link", name="Open as PDF")
    address = "/api/v1/findings/1/report.pdf?language=sw&paper=letter&patient="
    expect(link).to_have_attribute("href", f"{address}true")
    page.get_by_label("Name the patient").uncheck()
    expect(link).to_have_attribute("href", f"{address}false")
    reply = page.request.get(visitor.clinic.address + link.get_attribute("href")[1:])
    assert reply.ok
    assert reply.body().startswith(b"%PDF")


def test_where_no_report_can_be_made_the_page_says_so_and_prints(visitor):
    page = visitor.page

    def without_report(route):
        session = route.fetch().json()
        route.fulfill(json=session | {"can_report": False})

    page.route("**/api/v1/session", without_report)
    visitor.go("radiograph/1")
    page.locator(".tool").first.wait_for()
    page.get_by_role("button", name="Print").click()
    expect(page.get_by_role("link", name="Open as PDF")).to_have_count(0)
    expect(page.locator("dialog")).to_contain_text("The report cannot be made here")
    expect(page.get_by_role("button", name="Print this page")).to_be_enabled()
