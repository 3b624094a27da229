"""Each outlined region is a group of the report, in pixels of the image and in millimetres."""

import dataclasses
import io

import highdicom as hd
import numpy as np
import pytest

from orthoedge.clinic.results import encode_result, make_result
from tests.helpers.clinic.answers import answer, outlined, ramp
from tests.helpers.clinic.images import COLUMNS, INSTANCE, ROWS, source
from tests.helpers.clinic.programs import errors_of, run

SMALL = outlined(contour=((5.0, 6.0),))
IN_PIXELS = outlined(None, diameter_mm=None, area_mm2=None)


def encoded(given):
    return encode_result(make_result("report", source(), given))


def regions(given):
    report = hd.sr.srread(io.BytesIO(encoded(given)))
    return report.content.get_planar_roi_measurement_groups()


def sizes(group):
    """Value and unit of each measurement."""
    return {each.name.meaning: (each.value, each.unit.value) for each in group.get_measurements()}


def test_a_region_has_its_sizes_in_millimetres_and_its_probability():
    (group,) = regions(answer(lesions=(outlined(),)))
    assert (group.finding_type.value, group.finding_type.scheme_designator) == ("52988006", "SCT")
    assert sizes(group) == {
        "Probability": (87.5, "%"),
        "Long axis": (4.68, "mm"),
        "Area": (9.24, "mm2"),
    }


def test_without_a_spacing_it_has_them_in_pixels_and_no_plane():
    (group,) = regions(answer(lesions=(IN_PIXELS,)))
    assert sizes(group)["Long axis"] == (23.4, "{pixels}")
    assert sizes(group)["Area"] == (231.0, "{pixels}")
    assert "plane-" not in group[0].to_json()


@pytest.mark.parametrize(
    ("plane", "code", "said"),
    [
        ("detector", "plane-detector", "the lesion itself is smaller"),
        ("patient", "plane-patient", "true at one depth of the body only"),
        (None, "plane-unknown", "does not state in which plane"),
    ],
)
def test_it_says_in_which_plane_the_millimetres_are_true(plane, code, said):
    (group,) = regions(answer(lesions=(outlined(plane),)))
    evaluations = {
        each.name.value: each.value.value for each in group.get_qualitative_evaluations()
    }
    assert evaluations["plane"] == code
    assert said in group[0].to_json()


def test_the_contour_is_closed_and_in_pixels_of_the_source_image():
    (group,) = regions(answer(lesions=(outlined(),)))
    assert group.roi.graphic_type.value == "POLYLINE"
    # 0 is the outer edge of the first pixel (PS3.3 C.18.6.1.2).
    corners = [(10.5, 20.5), (30.5, 20.5), (30.5, 30.5), (10.5, 30.5), (10.5, 20.5)]
    assert np.allclose(group.roi.value, corners)
    assert INSTANCE in group[0].to_json()


def test_a_contour_on_pixels_that_were_made_square_is_put_back():
    tall = answer(lesions=(outlined(),), pixels=ramp(2 * ROWS))
    (group,) = regions(tall)
    assert np.allclose(group.roi.value[0], (10.5, 20.5 / 2))
    assert tall.radiograph.pixels.shape[1] == COLUMNS


def test_regions_keep_their_order_and_are_told_apart():
    second = outlined(probability=0.5, diameter_mm=1.0, area_mm2=0.5)
    groups = regions(answer(lesions=(outlined(), second)))
    assert [sizes(group)["Area"][0] for group in groups] == [9.24, 0.5]
    assert len({group.tracking_uid for group in groups}) == 2
    assert encoded(answer(lesions=(outlined(),))) == encoded(answer(lesions=(outlined(),)))


@pytest.mark.parametrize("lesions", [None, ()])
def test_a_finding_without_a_region_has_no_such_group(lesions):
    assert regions(answer(lesions=lesions)) == []


def test_a_rejection_has_none_even_if_regions_were_measured():
    given = answer("reject", lesions=(outlined(),))
    assert regions(given) == []
    assert "Long axis" not in encoded(given).decode("latin-1")


@pytest.mark.parametrize(
    "lesions",
    [
        (outlined(),),
        (outlined("patient"), outlined(None)),
        (IN_PIXELS,),
        (SMALL,),
        tuple(
            dataclasses.replace(outlined(), area_px=float(number)) for number in range(40, 0, -1)
        ),
    ],
    ids=["detector", "two", "in pixels", "one point", "forty"],
)
def test_dciodvfy_finds_no_error_in_it_and_dsrdump_reads_it(tmp_path, lesions):
    file = tmp_path / "report.dcm"
    file.write_bytes(encoded(answer(lesions=lesions)))
    assert errors_of(file) == []
    status, output = run("dsrdump", file)
    assert status == 0, output
    assert output.count("Long axis") == len(lesions)
    assert not any(line.startswith("E:") for line in output.splitlines()), output
