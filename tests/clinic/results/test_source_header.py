"""What a header becomes before anything refers to it."""

import pytest

from orthoedge.clinic.results import make_result
from orthoedge.clinic.results.source import usable_header
from orthoedge.runtime.errors import InputError
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.headers import ARABIC, HEADERS, JAPANESE, KOREAN
from tests.helpers.clinic.images import INSTANCE, STUDY, source

FILLED = {  # case: keyword, value
    "complete": ("PatientBirthDate", "19800101"),
    "no attribute of type 2": ("PatientID", ""),
    "every attribute of type 2 empty": ("StudyDate", ""),
    "birth date with dashes": ("PatientBirthDate", "19800131"),
    "birth date of zeros": ("PatientBirthDate", ""),
    "study date in month 13": ("StudyDate", ""),
    "study date as words": ("StudyDate", ""),
    "study time 25:61": ("StudyTime", ""),
    "study time with colons": ("StudyTime", "123456"),
    "study time with a leap second": ("StudyTime", "235959"),
    "sex X": ("PatientSex", ""),
    "sex in lower case": ("PatientSex", "F"),
    "sex of unknown VR": ("PatientSex", "F"),
    "name without ^": ("PatientName", "Doe Jane"),
    "name of 100 letters": ("PatientName", "D" * 60 + "^JJJ"),
    "name of eight components": ("PatientName", "a^b^c^d^e f g h"),
    "name of four groups": ("PatientName", "Doe^Jane=a^b=c^d"),
    "name with control characters": ("PatientName", "Doe^Ja ne"),
    "two names": ("PatientName", "Doe^Jane"),
    "Japanese": ("PatientName", JAPANESE),
    "Arabic": ("PatientName", ARABIC),
    "Korean": ("PatientName", KOREAN),
    "Cyrillic": ("PatientName", "Люкceмбypг"),
    "Greek": ("PatientName", "Διονυσιος"),
    "Chinese": ("PatientName", "王^小东"),
    "UTF-8": ("PatientName", "Äneas^Rüdiger"),
    "texts that are too long": ("AccessionNumber", "A" * 16),
    "patient ID with a backslash": ("PatientID", "12 34"),
    "MONOCHROME1": ("PresentationLUTShape", "INVERSE"),
    "DX for presentation, inverse": ("PresentationLUTShape", "INVERSE"),
    "no spacing": ("ImagerPixelSpacing", None),
    "spacing of words": ("ImagerPixelSpacing", None),
    "spacing of zero": ("ImagerPixelSpacing", None),
    "one direction": ("PatientOrientation", None),
    "directions that are none": ("PatientOrientation", None),
    "two sides": ("Laterality", ""),
    "both sides in one image": ("Laterality", ""),
    "chest": ("Laterality", None),
    "no window": ("WindowWidth", None),
    "window without a width": ("WindowCenter", None),
    "window that is no number": ("WindowCenter", None),
    "two windows": ("WindowWidth", 4096),
    "rescale without an intercept": ("RescaleSlope", None),
    "time zone that is none": ("TimezoneOffsetFromUTC", None),
    "time zone": ("TimezoneOffsetFromUTC", "-0730"),
}


@pytest.mark.parametrize(("case", "expected"), FILLED.items(), ids=FILLED)
def test_a_value_is_kept_rewritten_or_left_out(case, expected):
    keyword, value = expected
    assert usable_header(source(HEADERS[case])).get(keyword) == value


def test_the_source_is_not_changed():
    image = source(HEADERS["Japanese"])
    before = image.to_json()
    usable_header(image)
    assert image.to_json() == before


def test_an_image_without_a_study_gets_one_that_does_not_change():
    changes = HEADERS["no study and no series"]
    first, second = (usable_header(source(changes)).StudyInstanceUID for _ in range(2))
    assert first == second != STUDY


@pytest.mark.parametrize("uid", ["1.2.03.4", "1.2.3.0004"])
def test_a_uid_with_leading_zeros_stays_as_the_archive_has_it(uid):
    assert usable_header(source({0x0020000D: ("UI", uid)})).StudyInstanceUID == uid


def test_the_instance_is_taken_from_the_file_meta_information_where_the_data_set_has_none():
    image = source({0x00080018: None})
    image.file_meta.MediaStorageSOPInstanceUID = INSTANCE
    assert usable_header(image).SOPInstanceUID == INSTANCE


@pytest.mark.parametrize("tag", [0x00280010, 0x00280011])
def test_an_image_without_a_size_is_refused(tag):
    with pytest.raises(InputError, match="without a valid"):
        usable_header(source({tag: None}))


def test_an_image_without_an_instance_uid_is_refused():
    image = source({0x00080018: ("UI", b"not a UID ")})
    del image.file_meta.MediaStorageSOPInstanceUID
    with pytest.raises(InputError, match="SOPInstanceUID"):
        usable_header(image)


@pytest.mark.parametrize("kind", ["report", "contour"])
@pytest.mark.parametrize("ending", ["1", "1.1", "1.1.1", "1.2", "1.3.1", "7"])
def test_an_image_of_any_radiographic_class_can_be_referred_to(ending, kind):
    changes = {0x00080016: ("UI", f"1.2.840.10008.5.1.4.1.1.{ending}")}
    assert make_result(kind, source(changes), answer()) is not None


@pytest.mark.parametrize("uid", ["1.2.840.10008.5.1.4.1.1.12.2", "1.2.3.4"])
def test_an_object_of_another_class_is_refused(uid):
    with pytest.raises(InputError, match="no radiograph"):
        usable_header(source({0x00080016: ("UI", uid)}))
