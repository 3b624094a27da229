"""Making an object again gives the same object."""

from datetime import datetime, timedelta, timezone

import pytest

from orthoedge.clinic.destination import RESULT_KINDS
from orthoedge.clinic.results import Answer, encode_result, make_result
from tests.helpers.clinic.answers import RECEIVED, answer
from tests.helpers.clinic.images import source


@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_a_repeat_gives_the_same_bytes(kind):
    first, second = (encode_result(make_result(kind, source(), answer())) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_without_the_time_of_arrival_a_repeat_gives_the_same_bytes_too(kind):
    given = Answer(answer().finding, answer().radiograph)
    first, second = (encode_result(make_result(kind, source(), given)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    "changed",
    [
        {"image": {0x00080018: ("UI", "1.2.826.0.1.1.1.2")}},
        {"bundle": {"bundle_sha256": "cd" * 32}},
    ],
    ids=["image", "bundle"],
)
@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_another_image_or_bundle_gives_another_object(kind, changed):
    first = make_result(kind, source(), answer())
    second = make_result(kind, source(changed.get("image")), answer(**changed.get("bundle", {})))
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


def test_the_kinds_have_different_uids():
    results = [make_result(kind, source(), answer()) for kind in RESULT_KINDS]
    assert len({result.SOPInstanceUID for result in results}) == len(RESULT_KINDS)


def test_the_content_time_is_that_of_arrival_in_the_time_zone_of_the_image():
    result = make_result("report", source({0x00080201: ("SH", "-0730")}), answer())
    stated = datetime.strptime(result.ContentDate + result.ContentTime, "%Y%m%d%H%M%S.%f")
    zone = timezone(-timedelta(hours=7, minutes=30))
    assert stated.replace(tzinfo=zone) == RECEIVED
    assert result.TimezoneOffsetFromUTC == "-0730"
