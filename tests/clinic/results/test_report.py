"""The structured report says what the finding says, to a reader that knows the template."""

import io

import highdicom as hd
import pytest

from orthoedge.clinic.results import encode_result, make_result
from tests.helpers.clinic.answers import PROBABILITIES, REASON, REJECTION, SHA256, answer
from tests.helpers.clinic.images import INSTANCE, source


def read(given):
    return hd.sr.srread(io.BytesIO(encode_result(make_result("report", source(), given))))


def groups_of(report):
    return report.content.get_image_measurement_groups()


def meanings(group):
    return {
        evaluation.name.meaning: (evaluation.value.value, evaluation.value.scheme_designator)
        for evaluation in group.get_qualitative_evaluations()
        if evaluation.name.meaning != "Algorithm Family"  # highdicom takes it for one
    }


def comments(group):
    return [
        item.TextValue
        for item in group[0].ContentSequence
        if item.ValueType == "TEXT" and item.ConceptNameCodeSequence[0].CodeMeaning == "Comment"
    ]


def test_each_label_has_its_code_and_its_probability():
    _, *labels = groups_of(read(answer()))
    found = {
        (
            group.finding_type.value,
            group.finding_type.scheme_designator,
            meanings(group).get("Behaviour of neoplasm", ("",))[0],
        ): group.get_measurements()[0].value
        for group in labels
    }
    assert found == {
        ("RID4650", "RADLEX", ""): 62.0,
        ("111286", "DCM", ""): 5.0,
        ("RID3957", "RADLEX", "30807003"): 30.0,
        ("RID3957", "RADLEX", "21594007"): 3.0,
    }


def test_the_first_group_is_the_decision_with_its_reasons():
    decision, *_ = groups_of(read(answer()))
    assert meanings(decision) == {"Decision of the algorithm": ("refer", "99ORTHOEDGE")}
    assert comments(decision)[0] == REASON


def test_the_kind_of_the_map_stands_with_the_label_that_it_explains_alone():
    kinds = [meanings(group).get("Visual explanation") for group in groups_of(read(answer()))]
    assert kinds == [None, ("130403", "DCM"), None, None, None]


def test_the_labels_say_which_of_them_cannot_be_ruled_out():
    _, *labels = groups_of(read(answer()))
    places = [meanings(group)["Place among the findings"][0] for group in labels]
    assert places == ["most-probable", "in-label-set", "ruled-out", "ruled-out"]


def test_every_group_is_about_the_image():
    for group in groups_of(read(answer())):
        (image,) = group.source_images
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == INSTANCE


def test_the_algorithm_is_identified_down_to_the_hash_of_the_bundle():
    dumped = read(answer()).to_json()
    assert f"bundle sha256 = {SHA256}" in dumped
    for fact in ("engine = openvino 2026.1", "precision = int8", "instruction set = avx2"):
        assert fact in dumped


def test_a_fallback_is_part_of_the_report():
    assert "fallback = no GPU" in read(answer(fallback="no GPU")).to_json()
    assert "fallback" not in read(answer()).to_json()


@pytest.mark.parametrize("label", ["dislocation", "ايشعة", "x" * 100, "with\\backslash"])
def test_a_label_that_has_no_code_gets_a_private_one_with_its_text(label):
    _, first, *_ = groups_of(read(answer(probabilities={label: 0.9, "fracture": 0.1})))
    finding = first.finding_type
    assert finding.scheme_designator == "99ORTHOEDGE"
    assert finding.meaning == label.replace("\\", " ")[:64]
    assert len(finding.value) <= 16


def test_labels_without_codes_are_told_apart():
    given = answer(probabilities={"dislocation": 0.6, "arthrosis": 0.4})
    values = {group.finding_type.value for group in groups_of(read(given))[1:]}
    assert len(values) == 2


def test_the_report_is_preliminary_and_unverified():
    report = read(answer())
    assert report.PreliminaryFlag == "PRELIMINARY"
    assert report.VerificationFlag == "UNVERIFIED"


def test_the_image_library_tells_size_spacing_and_orientation():
    dumped = make_result("report", source(), answer()).to_json()
    for concept in ("Pixel Data Rows", "Horizontal Pixel Spacing", "Patient Orientation Row"):
        assert concept in dumped


def test_a_rejection_has_its_reasons_and_nothing_that_reads_as_a_result():
    given = answer("reject")
    report = read(given)
    (decision,) = groups_of(report)
    assert meanings(decision) == {"Decision of the algorithm": ("reject", "99ORTHOEDGE")}
    assert comments(decision)[0] == REJECTION
    dumped = report.to_json()
    for secret in (*PROBABILITIES, "RID4650", "RID3957", "111286", "130403", "Probability"):
        assert secret not in dumped, secret
