"""Every object is valid for programs that share no code with us, whatever the header."""

import warnings

import pydicom
import pytest

from orthoedge.clinic.destination import RESULT_KINDS
from orthoedge.clinic.results import encode_result, make_result
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.headers import ARABIC, HEADERS, JAPANESE, SYNTAXES
from tests.helpers.clinic.images import INSTANCE, SERIES, STUDY, source
from tests.helpers.clinic.programs import errors_of, run

EVERY_KIND = ("no attribute of type 2", "Japanese", "both sides in one image", "chest")


def test_there_are_headers_enough():
    assert len(HEADERS) >= 24


def write(tmp_path, kind, image, given=None):
    file = tmp_path / f"{kind}.dcm"
    file.write_bytes(encode_result(make_result(kind, image, given or answer())))
    return file


@pytest.mark.parametrize("header", HEADERS)
def test_dciodvfy_finds_no_error_in_the_report_and_dsrdump_reads_it(tmp_path, header):
    report = write(tmp_path, "report", source(HEADERS[header]))
    assert errors_of(report) == []
    status, output = run("dsrdump", report)
    assert status == 0, output
    assert "Imaging Measurement Report" in output
    assert not any(line.startswith("E:") for line in output.splitlines()), output


@pytest.mark.parametrize("kind", ["picture", "contour", "segmentation"])
@pytest.mark.parametrize(
    "header",
    [
        pytest.param(header, marks=[] if header in EVERY_KIND else [pytest.mark.slow])
        for header in HEADERS
    ],
)
def test_dciodvfy_finds_no_error_in_the_other_kinds(tmp_path, header, kind):
    assert errors_of(write(tmp_path, kind, source(HEADERS[header]))) == []


@pytest.mark.parametrize("kind", ["report", "contour"])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_dciodvfy_finds_no_error_for_any_encoding_of_the_image(tmp_path, syntax, kind):
    image = source(HEADERS["Arabic"], SYNTAXES[syntax])
    assert errors_of(write(tmp_path, kind, image)) == []


@pytest.mark.parametrize("kind", ["picture", "report"])
@pytest.mark.parametrize("decision", ["report", "reject"])
def test_dciodvfy_finds_no_error_for_any_decision(tmp_path, decision, kind):
    assert errors_of(write(tmp_path, kind, source(), answer(decision))) == []


@pytest.mark.parametrize(("header", "name"), [("Japanese", JAPANESE), ("Arabic", ARABIC)])
def test_dsrdump_shows_the_name_as_it_is_written(tmp_path, header, name):
    _, output = run("dsrdump", write(tmp_path, "report", source(HEADERS[header])))
    assert name.split("=")[-1] in output


@pytest.mark.parametrize(
    "header", ["complete", "no spacing", "MONOCHROME1"]
)  # it needs a name in ASCII
def test_dcmpschk_passes_the_contour_of_a_patient_with_a_name_in_ascii(tmp_path, header):
    status, output = run("dcmpschk", write(tmp_path, "contour", source(HEADERS[header])))
    assert status == 0, output
    assert "Test passed" in output


@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_an_object_stands_in_the_study_and_is_marked_as_research(tmp_path, kind):
    result = pydicom.dcmread(write(tmp_path, kind, source()))
    assert result.StudyInstanceUID == STUDY
    assert result.SeriesInstanceUID != SERIES
    assert result.ContentQualification == "RESEARCH"
    assert "RESEARCH" in result.SeriesDescription
    assert result.SpecificCharacterSet == "ISO_IR 192"
    assert INSTANCE in result.to_json()


@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_every_object_names_the_bundle_the_engine_and_the_precision(kind):
    result = make_result(kind, source(), answer())
    assert result.DeviceSerialNumber == answer().finding.provenance.bundle_sha256
    assert list(result.SoftwareVersions)[1:] == ["bundle 1.2.3", "openvino 2026.1 int8"]
    algorithm = result.ContributingEquipmentSequence[-1]
    assert algorithm.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Algorithm"
    assert algorithm.ManufacturerModelName == "bones"


def test_each_object_has_a_series_of_its_own():
    results = [make_result(kind, source(), answer()) for kind in RESULT_KINDS]
    assert len({result.SeriesInstanceUID for result in results}) == len(RESULT_KINDS)


@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_an_image_whose_uid_has_leading_zeros_is_referred_to_as_it_is(tmp_path, kind):
    uid = "1.2.826.0.01.5"
    result = write(tmp_path, kind, source({0x00080018: ("UI", uid)}))
    assert uid in pydicom.dcmread(result).to_json()


@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_nothing_of_the_patient_is_logged(caplog, kind):
    secrets = {
        0x00100010: ("PN", b"Xanthippe"),
        0x00100020: ("LO", b"ID4711"),
        0x00100040: ("CS", b"X "),
    }
    image = source(secrets)
    with warnings.catch_warnings(record=True) as warned:
        encode_result(make_result(kind, image, answer()))
    told = caplog.text + "".join(str(warning.message) for warning in warned)
    assert "Xanthippe" not in told
    assert "ID4711" not in told
