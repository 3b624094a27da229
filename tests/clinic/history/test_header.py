"""What a header says becomes short plain text, whatever is in it."""

import pytest

from orthoedge.clinic.history import PatientFacts, StudyFacts
from orthoedge.clinic.history.header import facts_of, plain_text, read_facts

pydicom = pytest.importorskip("pydicom")


def dataset(**values):
    made = pydicom.Dataset()
    with pydicom.config.disable_value_validation():
        for keyword, value in values.items():
            setattr(made, keyword, value)
    return made


def test_the_facts_are_those_of_the_header():
    patient, study = facts_of(
        dataset(
            PatientName="Doe^Jane^Mary",
            PatientID="P1",
            PatientBirthDate="19700102",
            PatientSex="f",
            StudyDate="20261130",
            StudyTime="103015.123",
            AccessionNumber="A1",
            StudyDescription="Wrist",
            BodyPartExamined="WRIST",
            ImageLaterality="L",
            ViewPosition="AP",
            InstitutionName="Clinic",
        )
    )
    assert patient == PatientFacts("P1", "Doe, Jane Mary", "1970-01-02", "F")
    assert study == StudyFacts("2026-11-30", "10:30", "A1", "Wrist", "WRIST", "L", "AP", "Clinic")


def test_a_header_without_anything_is_empty():
    assert facts_of(dataset()) == (PatientFacts(), StudyFacts())


def test_a_name_in_two_scripts_shows_both():
    patient, _ = facts_of(dataset(PatientName="Yamada^Tarou=山田^太郎=やまだ^たろう"))
    assert patient.name == "Yamada, Tarou (山田, 太郎)"


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("StudyDate", "00000000"),
        ("StudyDate", "2026-11-30"),
        ("PatientBirthDate", "yesterday"),
        ("StudyTime", "25:61"),
        ("PatientSex", "<b>"),
        ("ImageLaterality", "left"),
    ],
)
def test_a_value_that_means_nothing_is_left_out(keyword, value):
    assert facts_of(dataset(**{keyword: value})) == (PatientFacts(), StudyFacts())


def test_markup_stays_what_it_was_and_control_characters_go():
    patient, study = facts_of(
        dataset(
            PatientName="<script>alert(1)</script>^x",
            PatientID="a\x00b\x1b[31mc",
            StudyDescription="first\r\nsecond\u202edrawkcab",
        )
    )
    assert patient.name == "<script>alert(1)</script>, x"
    assert patient.id == "ab[31mc"
    assert study.description == "first seconddrawkcab"


def test_a_long_value_is_cut():
    assert len(plain_text("x" * 10_000)) == 200


def test_joiners_that_a_script_needs_stay():
    assert plain_text("क्\u200dष") == "क्\u200dष"


@pytest.mark.parametrize("content", [b"", b"no DICOM", bytes(500), b"\x08\x00\x05\x00CS\xff\xff"])
def test_a_file_that_cannot_be_parsed_has_no_facts(tmp_path, content):
    file = tmp_path / "file"
    file.write_bytes(content)
    assert read_facts(file) == (PatientFacts(), StudyFacts())
