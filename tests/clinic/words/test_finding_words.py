"""A finding is said in whole sentences, whatever it is, in every language and to both readers."""

import itertools
import json
import re
from pathlib import Path

import msgspec
import pytest

from orthoedge.clinic.words import LANGUAGES, ImageFacts, catalogue, finding_words
from orthoedge.clinic.words.facts import region_of
from orthoedge.clinic.words.finding_words import FindingWords
from orthoedge.runtime import decision, image_quality
from orthoedge.runtime.dicom import header
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.radiograph import ReasonId
from tests.clinic.words.test_catalogues import ENDS, every_language
from tests.helpers.clinic.answers import answer, hot_map

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")
REASONS = {
    "too_few_pixels": {"width": 80, "height": 106, "least": 112},
    "strip": {"width": 300, "height": 55, "times": 5.0},
    "collimated": {"share": 0.19},
    "nearly_blank": {"share": 0.93},
    "burnt_out": {"share": 0.42},
    "too_dark": {"mean": 3.2},
    "too_bright": {"mean": 230.0},
    "low_contrast": {"levels": 12},
    "inverted": {},
    "perhaps_inverted": {},
    "for_processing": {},
    "unlike_any_radiograph": {},
    "label_set": {},
    "below_confidence": {"label": "tumor-benign"},
    "unlike_training": {},
    "": {},  # of a program's own reader
}
FACTS = (ImageFacts(), ImageFacts("WRIST", "L", "AP"), ImageFacts("", "B"), ImageFacts("{x}", "?"))


def record(made_decision="refer", label="fracture", others=(), reasons=(), probability=0.8, **more):
    """The JSON of a finding, decoded, with a map that costs no time."""
    return {
        "label": label,
        "decision": made_decision,
        "probabilities": {label: probability},
        "label_set": [label, *others],
        "reasons": ["because"] * len(reasons),
        "reason_ids": [{"id": name, "values": REASONS[name]} for name in reasons],
        "saliency_map": [[1.0]],
        "placement": {"field": [0, 0, 6, 6], "content": [0, 0, 4, 4]},
        "input_size": 4,
    } | more


def check(words):
    texts = msgspec.to_builtins(words)
    assert words.headline
    assert not words.headline.endswith((".", "。", "۔", "।"))
    assert all((words.seen, words.next, words.notice))
    for text in (words.headline, *texts.pop("reasons"), *texts.values()):
        assert not re.search(r"[{}]|\bNone\b|\bnan\b", text), text
    for name, text in texts.items():
        assert name == "headline" or not text or text.endswith(ENDS), text


def combinations():
    """Every label with every set of others, and a label of a bundle that the catalogue lacks."""
    for label in LABELS:
        rest = [other for other in LABELS if other != label]
        for count in range(len(rest) + 1):
            for others in itertools.combinations(rest, count):
                yield label, others
    yield from (("cyst", ()), ("cyst", LABELS), ("fracture", ("cyst",)))


@every_language
@pytest.mark.parametrize("reader", ["operator", "patient"])
def test_every_combination_of_decision_labels_and_reason_has_words(language, reader):
    tried = 0
    for made, reason in itertools.product(("report", "refer", "reject"), REASONS):
        for number, (label, others) in enumerate(combinations()):
            found = record(made, label, others, (reason,), probability=(number + 1) / 36)
            words = finding_words(found, FACTS[number % len(FACTS)], language, reader)
            check(words)
            assert words.reasons[0] == "because" if not reason else words.reasons[0] != "because"
            assert bool(words.cannot_rule_out) == (made != "reject" and bool(others))
            tried += 1
    assert tried == 3 * len(REASONS) * (4 * 2**3 + 3)


@every_language
def test_a_reason_is_a_sentence_with_its_numbers(language):
    words = finding_words(record(reasons=list(REASONS)[:-1]), ImageFacts(), language, "operator")
    texts = catalogue(language)
    assert all(reason.endswith(ENDS) for reason in words.reasons)
    assert "106" in words.reasons[0]
    assert texts.percent(0.19) in words.reasons[2]
    assert texts.text("label.tumor-benign") in words.reasons[13]


def test_the_reasons_are_those_that_the_runtime_gives():
    sources = [Path(module.__file__).read_text() for module in (decision, header, image_quality)]
    given = {name for source in sources for name in re.findall(r'ReasonId\(\s*"(\w+)"', source)}
    assert given == set(REASONS) - {""}
    for reader in ("operator", "patient"):
        prefix = f"reason.{reader}."
        ids = {name.removeprefix(prefix) for name in catalogue("en").ids if prefix in name}
        assert ids == given


def test_the_words_follow_from_the_json_of_a_real_finding():
    finding = answer("refer", reasons=("cannot rule out tumor-benign",)).finding
    assert finding.verdict.reason_ids == ()
    words = finding_words(finding.to_json(), ImageFacts("HAND", "R"), "en", "operator")
    assert words == FindingWords(
        headline="To be read by a physician: fracture possible",
        seen="The program reads this radiograph as a fracture.",
        sure="The program is not sure: probability 62.0%. On radiographs like those it was tested "
        "on, only about 62 of 100 such answers are right.",
        where="The file names the body part and the side: hand, right side. The program looked "
        "most at the middle of the picture. This is where it looked, not the outline of a disease. "
        "The line of the map encloses 13% of the exposed picture; this is no size of a lesion.",
        next="Have a physician read this radiograph before anything is decided.",
        reasons=("cannot rule out tumor-benign",),
        cannot_rule_out="Cannot be ruled out: benign tumor.",
        notice="This is a research and engineering tool, not a cleared medical device. It does "
        "not replace a physician.",
    )


@every_language
def test_a_possible_malignant_tumor_is_urgent_whatever_the_label_is(language):
    texts = catalogue(language)
    for made, (label, others) in itertools.product(
        ("report", "refer"), (("fracture", ("tumor-malignant",)), ("tumor-malignant", ()))
    ):
        words = finding_words(record(made, label, others), ImageFacts(), language, "operator")
        assert words.next == texts.text("next.operator.alert")
        assert words.headline != texts.text(f"headline.{made}.fracture")
        words = finding_words(record(made, label, others), ImageFacts(), language, "patient")
        assert words.headline == texts.text("headline.patient.alert")
    calm = finding_words(record("refer"), ImageFacts(), language, "operator")
    assert calm.next == texts.text("next.operator.refer")


@every_language
def test_a_patient_is_not_told_of_cancer_by_a_program(language):
    texts = catalogue(language)
    for label, others in (("tumor-malignant", ()), ("fracture", ("tumor-malignant",))):
        words = finding_words(record("refer", label, others), ImageFacts(), language, "patient")
        told = " ".join(map(str, msgspec.to_builtins(words).values()))
        assert texts.text("label.tumor-malignant") not in told


def test_another_bundle_has_alert_labels_of_its_own():
    found = record("refer", "cyst", ("fracture",))
    words = finding_words(found, ImageFacts(), "en", "operator", alert_labels=("fracture",))
    assert words.headline == "To be read by a physician soon: fracture cannot be ruled out"


@pytest.mark.parametrize(
    ("reasons", "words"),
    [
        (["too_dark"], "Repeat the exposure only if it is just as bad there"),
        (["unlike_any_radiograph", "burnt_out"], "Repeat the exposure only if"),
        (["too_few_pixels"], "Send the original radiograph"),
        (["inverted"], "Invert the radiograph"),
        (["unlike_any_radiograph"], "Check that the file is a plain radiograph"),
        ([], "Check that the file is a plain radiograph"),
    ],
)
def test_what_is_rejected_gets_the_remedy_of_its_reason(reasons, words):
    found = record("reject", reasons=reasons)
    assert words in finding_words(found, ImageFacts(), "en", "operator").next


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [(0, 0, "upper left"), (3, 3, "middle of"), (6, 6, "lower right"), (3, 6, "right part")],
)
def test_the_place_is_where_the_map_has_its_peak(row, column, place):
    finding = answer("refer", saliency=hot_map(row, column)).finding
    assert place in finding_words(finding.to_json(), ImageFacts(), "en", "operator").where


def test_the_place_is_one_of_the_picture_and_not_of_its_exposed_field():
    found = record(placement={"field": [60, 60, 66, 66], "content": [0, 0, 4, 4]})
    assert "middle" in finding_words(found, ImageFacts(), "en", "operator").where
    whole = ImageFacts(columns=66, rows=66)
    assert "lower right" in finding_words(found, whole, "en", "operator").where


def test_a_map_without_a_peak_and_a_picture_without_a_finding_have_no_place():
    flat = record(saliency_map=[[0.0]])
    assert "No place in the picture stood out." in (
        finding_words(flat, ImageFacts(), "en", "operator").where
    )
    for found in (record("reject"), record(label="non-affected")):
        assert finding_words(found, ImageFacts(), "en", "operator").where == ""


@pytest.mark.parametrize(
    ("plane", "size", "words"),
    [
        ("detector", 23.4, "23 mm across at the detector; in the body it is smaller."),
        ("patient", 9.57, "9.6 mm across, which holds for one depth in the body."),
        (None, 120.4, "120 mm across; the file does not say in which plane"),
    ],
)
def test_a_measured_region_is_said_with_its_plane(plane, size, words):
    small = {"area_px": 4.0, "diameter_mm": 5.0, "plane": plane, "probability": 0.9}
    large = small | {"area_px": 90.0, "diameter_mm": size}
    found = record(lesions=[small, large])
    assert words in finding_words(found, ImageFacts(), "en", "operator").where
    for language in LANGUAGES:
        check(finding_words(found, ImageFacts(), language, "operator"))
    assert "mm" not in finding_words(found, ImageFacts(), "en", "patient").where
    unmeasured = record(lesions=[small | {"diameter_mm": None}])
    assert "mm" not in finding_words(unmeasured, ImageFacts(), "en", "operator").where


def test_a_finding_older_than_the_identifiers_keeps_its_english_reasons():
    found = record(reasons=("too_dark",))
    del found["reason_ids"]
    words = finding_words(json.dumps(found).encode(), ImageFacts(), "fr", "operator")
    assert words.reasons == ("because",)


@pytest.mark.parametrize("broken", [b"", b"[]", b"{}", b'{"label": 1}'])
def test_what_is_no_finding_is_an_input_error(broken):
    with pytest.raises(InputError, match="not the JSON of a finding"):
        finding_words(broken, ImageFacts(), "en", "patient")


def test_body_parts_are_read_as_units_write_them():
    assert [region_of(part) for part in ("HAND", "hand ", "Lower Leg", "LOWER_LEG", "X-1", "")] == [
        *("hand", "hand", "lower_leg", "lower_leg", "", "")
    ]
    from orthoedge.clinic.words import facts

    assert {f"region.{name}" for name in facts._REGIONS.values()} == {
        name for name in catalogue("en").ids if name.startswith("region.")
    }


def test_a_reason_id_is_what_the_json_holds():
    assert msgspec.convert({"id": "strip", "values": {"times": 5.0}}, ReasonId) == ReasonId(
        "strip", {"times": 5.0}
    )


def test_all_languages_are_tried():
    assert set(every_language.args[1]) == set(LANGUAGES)
