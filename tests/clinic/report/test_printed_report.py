"""The report is one page, the same each time, and shows every text as it is."""

import dataclasses
import json
import re
import subprocess
from datetime import datetime, timezone

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.clinic.history.records import PatientFacts, StudyFacts
from orthoedge.clinic.report import EarlierFinding, ReportContent, make_report
from orthoedge.clinic.report.make import compile_report
from orthoedge.clinic.report.pictures import draw_pictures
from orthoedge.clinic.words import LANGUAGES, catalogue
from orthoedge.clinic.words.facts import Extent
from orthoedge.clinic.words.record import FindingRecord
from orthoedge.runtime.errors import ConfigError, InputError
from orthoedge.runtime.image_io.radiograph import ReasonId
from orthoedge.runtime.lesions.measure import Lesion
from tests.clinic.words.test_finding_words import REASONS
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.programs import require
from tests.helpers.clinic.report_fonts import require_fonts

pytest.importorskip("typst")

EXTENTS = (Extent("map", 0.062, None, ""), Extent("outline", 0.2, 120.5, "detector"))
PARTS = (("KNEE", "R"), ("LOWERLEG", ""), ("Great toe, 2nd phalanx", "L"))
MADE = datetime(2026, 12, 1, 14, 5, tzinfo=timezone.utc)
every_language = pytest.mark.parametrize("language", LANGUAGES)


def finding(decision="refer", **changes):
    made = answer(decision).finding
    verdict = dataclasses.replace(made.verdict, **changes)
    return dataclasses.replace(made, verdict=verdict).to_json()


def content(**changes):
    given = {"finding": finding(), "pixels": answer().radiograph.pixels, "made": MADE}
    return ReportContent(**(given | changes))


def full():
    """As much as a page may have to hold."""
    names = [name for name in REASONS if name][:8]
    return content(
        finding=finding(
            label_set=("fracture", "tumor-benign", "tumor-malignant", "non-affected"),
            reasons=("a reason that is long enough to need two lines of the page " * 3,) * 8,
            reason_ids=tuple(ReasonId(name, REASONS[name]) for name in names),
        ),
        pixels=np.tile(np.arange(200, dtype=np.uint8), (1000, 1)),
        patient=PatientFacts("1" * 200, "Wolfe­schlegel­steinhausen " * 9, "1980-02-03", "F"),
        study=StudyFacts(
            date="2026-12-01",
            time="13:50",
            accession="W" * 200,
            description="W" * 200,
            body_part="LOWERLEG",
            laterality="L",
            view="W" * 200,
            institution="Institution " * 30,
        ),
        file_name=f"{'a' * 240}.dcm",
        earlier=tuple(
            EarlierFinding(
                f"2026-01-{day:02}",
                "tumor-malignant",
                0.9,
                "refer",
                EXTENTS[day % 2],
                *PARTS[day % 3],
            )
            for day in range(1, 32)
        ),
    )


def pages(made, language="en", paper="a4"):
    return int(re.search(rb"/Type/Pages/Count (\d+)", make_report(made, language, paper))[1])


def text_of(pdf, tmp_path):
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf)
    command = [require("pdftotext"), "-layout", "-enc", "UTF-8", file, "-"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()


@every_language
def test_a_report_is_one_page_and_the_same_each_time(language):
    require_fonts(language)
    first = make_report(content(), language)
    assert first[:5] == b"%PDF-"
    assert make_report(content(), language) == first
    assert make_report(content(made=MADE.replace(year=2025)), language) != first


@every_language
@pytest.mark.parametrize("paper", ["a4", "letter"])
def test_a_report_is_one_page_however_much_is_to_be_said(language, paper):
    require_fonts(language)
    assert pages(full(), language, paper) == 1


@pytest.mark.parametrize("decision", ["report", "refer", "reject"])
def test_the_words_stand_on_the_page(decision, tmp_path):
    made = content(finding=finding(decision), study=StudyFacts(body_part="HAND", laterality="R"))
    text = " ".join(text_of(make_report(made), tmp_path).split())
    texts = catalogue("en")
    assert "ab" * 32 in text
    assert texts.text("notice.operator") in text
    assert "Made on 1 December 2026 at 14:05." in text
    assert "Words of the physician" in text
    if decision == "reject":
        assert "No answer: the radiograph is not usable" in text
        assert "62.0%" not in text
        assert texts.text("report.no_map") in text
    else:
        assert "reads this radiograph as a fracture." in text
        assert all(shown in text for shown in ("62.0%", "30.0%", "hand, right side", "fracture"))


def test_a_patient_is_named_only_if_that_is_wanted(tmp_path):
    patient = PatientFacts("P-17", "Doe, Jane", "1980-02-03", "F")
    study = StudyFacts(date="2026-11-30", institution="Saint Elsewhere", accession="A-99")
    names = ("P-17", "Doe, Jane", "3 February 1980", "female", "30 November 2026", "A-99")
    names += ("Saint Elsewhere", "scan.dcm")
    for given, shown in ((patient, True), (None, False)):
        made = content(patient=given, study=study, file_name="scan.dcm")
        text = text_of(make_report(made), tmp_path)
        assert [name for name in names if name in text] == (list(names) if shown else [])


def test_earlier_radiographs_are_listed_and_the_rest_is_counted(tmp_path):
    text = " ".join(text_of(make_report(full()), tmp_path).split())
    assert "31 January 2026 lower leg malignant tumor 90.0% To be read by a physician" in text
    assert "30 January 2026 knee, right side malignant tumor" in text
    assert "Great toe" in text
    assert "Extent" in text
    assert "To be read by a physician 120 mm" in text
    assert "To be read by a physician 6.2% (map)" in text
    assert "is no size of a lesion" in text
    assert "21 January" not in text
    assert "21 earlier radiographs are not listed." in text


def test_a_line_of_an_earlier_radiograph_is_made_from_its_finding():
    study = StudyFacts(date="2026-01-02", body_part="WRIST", laterality="L")
    line = EarlierFinding.from_finding(finding("report"), study)
    assert line.extent.kind == "map"
    assert line == EarlierFinding(
        "2026-01-02", "fracture", 0.62, "report", line.extent, "WRIST", "L"
    )
    region = {"area_px": 9.0, "diameter_mm": 12.5, "plane": None}
    outlined = json.loads(finding()) | {"lesions": [region]}
    line = EarlierFinding.from_finding(json.dumps(outlined).encode(), StudyFacts())
    assert line.extent.diameter_mm == 12.5


@pytest.mark.parametrize(
    "hostile",
    [
        '#panic("x") #read("/etc/passwd")',
        "*bold* _it_ $x$ `raw` = head <b> @ref // no",
        "#set page(height: 1cm)",
        'a", "b": {"c": \\u0000',
        "{name} {0.__class__}",
    ],
)
def test_a_header_is_text_and_never_markup(hostile, tmp_path):
    patient = PatientFacts(name=hostile)
    text = text_of(make_report(content(patient=patient, file_name=hostile)), tmp_path)
    assert text.replace("\u200b", "").count(hostile) == 2  # where a long word may be broken


def test_control_characters_and_pictures_are_left_out(tmp_path):
    patient = PatientFacts(name="A\x00B\x1b[31m\u202eC\U0001f480")
    text = text_of(make_report(content(patient=patient)), tmp_path)
    assert "AB[31mC?" in text


BANNER = 0.13  # of the page's height
ALARM = (0x8F, 0x12, 0x26)
GROUNDS = {"report": (0x1F, 0x5A, 0x99), "refer": (0xA3, 0x4B, 0x00), "reject": (40, 40, 40)}


def shape_of(made, colour):
    """Where the shape of a colour is in the banner, bool (H, W) of its bounds; None if absent."""
    page = cv2.imdecode(np.frombuffer(compile_report(made, "en", "a4", (), "png"), np.uint8), 1)
    banner = page[: round(BANNER * page.shape[0]), :, ::-1].astype(int)
    is_shape = np.abs(banner - colour).max(axis=2) < 8
    # The text is black, and no letter is as high as a shape.
    _, marks, bounds, _ = cv2.connectedComponentsWithStats(is_shape.astype(np.uint8))
    number = 1 + int(bounds[1:, cv2.CC_STAT_AREA].argmax()) if len(bounds) > 1 else 0
    x, y, width, height, area = bounds[number]
    return (marks == number)[y : y + height, x : x + width] if number and area > 60 else None


def rows_filled(shape, share):
    """Share of the bounds that a shape spans at a height, 0 for the top and 1 for the bottom."""
    row = np.flatnonzero(shape[round(share * (shape.shape[0] - 1))])
    return (row.max() - row.min() + 1) / shape.shape[1] if len(row) else 0.0


@pytest.mark.parametrize(
    ("decision", "spans"),  # at the top, in the middle, at the bottom
    [("refer", (0.1, 0.5, 1.0)), ("reject", (0.45, 1.0, 0.45)), ("report", (0.3, 1.0, 0.3))],
)
def test_each_decision_has_the_shape_that_the_page_gives_it(decision, spans):
    shape = shape_of(content(finding=finding(decision)), GROUNDS[decision])
    for share, span in zip((0, 0.5, 1), spans, strict=True):
        assert rows_filled(shape, share) == pytest.approx(span, abs=0.16)


@pytest.mark.parametrize(
    ("label", "label_set", "alerts", "is_filled"),
    [
        ("tumor-malignant", ("tumor-malignant", "fracture"), ("tumor-malignant",), True),
        ("fracture", ("fracture", "tumor-malignant"), ("tumor-malignant",), False),
        ("fracture", ("fracture",), ("tumor-malignant",), None),
        ("fracture", ("fracture",), ("fracture",), True),
        ("tumor-malignant", ("tumor-malignant",), (), None),
    ],
)
def test_an_alert_is_a_diamond_filled_where_it_is_the_answer(label, label_set, alerts, is_filled):
    given = content(finding=finding(label=label, label_set=label_set), alert_labels=alerts)
    shape = shape_of(given, ALARM)
    if is_filled is None:
        assert shape is None
        return
    spans = [rows_filled(shape, share) for share in (0, 0.25, 0.5, 0.75, 1)]
    assert spans == pytest.approx([0.1, 0.5, 1.0, 0.5, 0.1], abs=0.16)
    assert (shape.mean() > 0.35) == is_filled  # without its sign a filled one is half of its bounds


def test_a_rejected_radiograph_has_no_alert():
    given = content(finding=finding("reject", label="tumor-malignant"))
    assert shape_of(given, ALARM) is None


@pytest.mark.parametrize("language", ["ar", "ur"])
def test_arabic_and_urdu_run_from_right_to_left(language):
    require_fonts(language)
    page = compile_report(content(), language, "a4", (), "png")
    grey = cv2.imdecode(np.frombuffer(page, np.uint8), cv2.IMREAD_GRAYSCALE)
    title = grey[: grey.shape[0] // 20] < 60  # black letters of the title
    columns = np.flatnonzero(title.any(axis=0))
    assert columns.min() > grey.shape[1] / 2
    assert columns.max() > 0.9 * grey.shape[1]


def test_a_name_in_another_script_needs_its_font():
    with pytest.raises(ConfigError, match="no font for Khitan letters"):
        make_report(content(patient=PatientFacts(name="\U00018b00")))


def test_without_a_font_the_script_and_the_package_are_named(monkeypatch, tmp_path):
    from orthoedge.clinic.report import fonts

    monkeypatch.setattr(fonts, "FONT_FOLDERS", ())
    fonts.open_fonts.cache_clear()
    try:
        assert pages(content()) == 1  # typst brings a font for Latin letters
        message = r"no font for Arabic letters: install Noto Sans Arabic \(apt-get install"
        with pytest.raises(ConfigError, match=f"{message} fonts-noto-core"):
            make_report(content(), "ar")
        with pytest.raises(ConfigError, match=r"no font for Chinese letters.*fonts-noto-cjk"):
            make_report(content(), "zh")
        with pytest.raises(ConfigError, match=r"fonts: .*absent is not a folder"):
            make_report(content(), "en", fonts=(tmp_path / "absent",))
    finally:
        fonts.open_fonts.cache_clear()


def test_what_no_report_can_be_made_of_is_an_error_of_one_line():
    with pytest.raises(ConfigError, match="unknown language 'de'"):
        make_report(content(), "de")
    with pytest.raises(ConfigError, match="unknown paper 'a5': expected a4 or letter"):
        make_report(content(), "en", "a5")
    with pytest.raises(InputError, match="not the JSON of a finding"):
        make_report(content(finding=b"{}"))
    with pytest.raises(InputError, match=r"uint8 \(H, W\)"):
        make_report(content(pixels=np.zeros((4, 4), np.float32)))


def test_a_report_holds_no_path():
    assert not re.search(rb"/(work|home|tmp|usr)/", make_report(content()))


def test_outlined_regions_are_drawn_on_the_map_alone():
    made = answer().finding
    region = Lesion(
        contour=((5.0, 5.0), (40.0, 5.0), (40.0, 40.0)),
        probability=0.9,
        diameter_px=50.0,
        diameter_ends=((5.0, 5.0), (40.0, 40.0)),
        area_px=600.0,
        diameter_mm=None,
        area_mm2=None,
        plane=None,
    )
    outlined = dataclasses.replace(made, lesions=(region,))
    pixels = answer().radiograph.pixels
    plain, without = draw_pictures(pixels, msgspec.json.decode(made.to_json(), type=FindingRecord))
    same, drawn = draw_pictures(pixels, msgspec.json.decode(outlined.to_json(), type=FindingRecord))
    assert same == plain
    assert drawn != without
