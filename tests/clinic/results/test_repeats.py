"""Making an object again gives the same object."""

import dataclasses
import importlib.metadata
from datetime import datetime, timedelta, timezone

import pytest

from orthoedge.clinic.destination import KINDS_WITH_WORDS, RESULT_KINDS
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
        {"made": {"bundle_sha256": "cd" * 32}},
        {"made": {"engine": "onnxruntime"}},
        {"made": {"engine_version": "2026.2"}},
        {"made": {"precision": "fp32"}},
        {"made": {"isa": "avx512"}},
        {"made": {"threads": 3}},
        {"made": {"fallback": "int8 cannot be opened"}},
    ],
    ids=["image", "bundle", "engine", "its version", "precision", "isa", "threads", "fallback"],
)
@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_another_image_bundle_or_engine_gives_another_object(kind, changed):
    check_another(
        make_result(kind, source(), answer()),
        make_result(kind, source(changed.get("image")), answer(**changed.get("made", {}))),
    )


def check_another(first, second):
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID != second.SeriesInstanceUID


@pytest.mark.parametrize(
    ("changed", "shown"), [({"language": "fr"}, KINDS_WITH_WORDS), ({"paper": "letter"}, {"pdf"})]
)
@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_another_language_or_paper_gives_another_object_where_it_shows(kind, changed, shown):
    first = make_result(kind, source(), answer())
    second = make_result(kind, source(), dataclasses.replace(answer(), **changed))
    if kind in shown:
        check_another(first, second)
    else:
        assert encode_result(first) == encode_result(second)


@pytest.mark.parametrize("kind", RESULT_KINDS)
def test_another_version_of_the_program_gives_another_object(kind, monkeypatch):
    first = make_result(kind, source(), answer())
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0")
    check_another(first, make_result(kind, source(), answer()))


def test_the_kinds_have_different_uids():
    results = [make_result(kind, source(), answer()) for kind in RESULT_KINDS]
    assert len({result.SOPInstanceUID for result in results}) == len(RESULT_KINDS)


def test_the_content_time_is_that_of_arrival_in_the_time_zone_of_the_image():
    result = make_result("report", source({0x00080201: ("SH", "-0730")}), answer())
    stated = datetime.strptime(result.ContentDate + result.ContentTime, "%Y%m%d%H%M%S.%f")
    zone = timezone(-timedelta(hours=7, minutes=30))
    assert stated.replace(tzinfo=zone) == RECEIVED
    assert result.TimezoneOffsetFromUTC == "-0730"
