"""Radiographs of insufficient quality are detected before inference, with a reason."""

import cv2
import numpy as np
import pytest

from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_quality import check_image_quality
from orthoedge.runtime.preprocess import STANDARD, LetterboxTransform
from orthoedge.targets import open_pipeline

SIZE = STANDARD.size


@pytest.fixture(scope="module")
def radiograph():
    """A shaft with a marrow cavity in soft tissue, air around it."""
    x = np.linspace(-1, 1, 300)[None]
    tissue = 70 * np.sqrt(np.maximum(1 - (x / 0.8) ** 2, 0))
    bone = 130 * (np.abs(x) < 0.3) - 40 * (np.abs(x) < 0.15)
    noise = np.random.default_rng(0).normal(12, 3, (400, 300))
    return np.clip(tissue + bone + noise, 0, 255).astype(np.uint8)


def issues_of(pixels):
    return check_image_quality(pixels, STANDARD.prepare(pixels)[1], SIZE)


def _diagonal(pixels):
    """Distance from a diagonal: a slit that no upright collimation can be."""
    rows, columns = np.indices(pixels.shape)
    return np.abs(columns - rows * pixels.shape[1] / pixels.shape[0])


def only(pixels):
    (issue,) = issues_of(pixels)
    return issue


def test_a_radiograph_has_no_issue(radiograph):
    assert issues_of(radiograph) == ()


@pytest.mark.parametrize(
    ("change", "reason", "identifier"),
    [
        (lambda p: cv2.resize(p, (80, 106)), "too few pixels: 80×106", "too_few_pixels"),
        (lambda p: p[:55], "a strip of 300×55 pixels", "strip"),
        (lambda p: (p * 0.02 + 2).astype(np.uint8), "too dark: mean grey level 3", "too_dark"),
        (lambda p: (p * 0.15 + 215).astype(np.uint8), "too bright", "too_bright"),
        (lambda p: (p * 0.1 + 90).astype(np.uint8), "too little contrast", "low_contrast"),
        (lambda p: np.where(p > 60, 255, p).astype(np.uint8), "burnt out", "burnt_out"),
        (lambda p: np.where(_diagonal(p) < 20, p, 0).astype(np.uint8), "nearly b", "nearly_blank"),
    ],
)
def test_each_issue_is_rejected_with_its_reason(radiograph, change, reason, identifier):
    issues = [issue for issue in issues_of(change(radiograph)) if reason in issue.reason]
    assert [(issue.decision, issue.id.id) for issue in issues] == [("reject", identifier)]


def test_the_values_of_an_issue_are_the_numbers_of_its_sentence(radiograph):
    (issue,) = issues_of(radiograph[:55])
    assert issue.id.values == {"width": 300, "height": 55, "times": 5.0}
    issue = issues_of((radiograph * 0.1 + 90).astype(np.uint8))[0]
    assert issue.reason.startswith(f"too little contrast: {issue.id.values['levels']} of 255")


def test_the_limit_of_the_resolution_is_half_the_network_s_side(radiograph):
    for side, count in ((112, 0), (111, 1)):
        pixels = cv2.resize(radiograph, (84, side), interpolation=cv2.INTER_AREA)
        assert len(issues_of(pixels)) == count


def test_a_negative_is_rejected_or_referred(radiograph):
    for bright, decision, identifier in (
        (0.6, "reject", "inverted"),
        (0.5, "refer", "perhaps_inverted"),
    ):
        issue = only(((255 - radiograph) * bright + 20).astype(np.uint8))
        assert (issue.decision, issue.id.id) == (decision, identifier)
        assert "invert it so that bone is bright" in issue.reason


def test_a_field_that_is_a_small_part_of_the_picture_is_referred(radiograph):
    wide = LetterboxTransform(field=(0, 0, 130, 175), content=(0, 0, SIZE, SIZE))
    shown = np.ascontiguousarray(radiograph[100:275, 85:215])
    framed = np.zeros((400, 300), np.uint8)
    framed[:175, :130] = shown
    (issue,) = check_image_quality(framed, wide, SIZE)
    assert issue.decision == "refer"
    assert issue.id.id == "collimated"
    assert issue.id.values["share"] == 130 * 175 / (400 * 300)
    assert "collimated to 19% of the picture" in issue.reason


def test_a_picture_of_one_pixel_has_issues_and_does_not_crash():
    placement = LetterboxTransform(field=(0, 0, 1, 1), content=(0, 0, SIZE, SIZE))
    issues = check_image_quality(np.full((1, 1), 80, np.uint8), placement, SIZE)
    assert ["too few pixels" in issues[0].reason, "contrast" in issues[1].reason] == [True, True]


def test_samples_of_the_package_have_no_issue():
    from orthoedge.runtime import PHANTOM_SAMPLES, SAMPLES, find_images

    for folder, count in ((SAMPLES, 4), (PHANTOM_SAMPLES, 8)):
        images = find_images(folder)
        assert len(images) == count
        for path in images:
            assert issues_of(read_image(path).pixels) == ()


def test_a_rejected_radiograph_still_has_a_finding(radiograph):
    pipeline = open_pipeline("phantom", precision="int8")
    finding = pipeline((radiograph * 0.02 + 2).astype(np.uint8))
    assert finding.decision == "reject"
    assert any(reason.startswith("too dark") for reason in finding.verdict.reasons)
    assert finding.saliency_map.shape == (7, 7)
    assert sum(finding.probabilities.values()) == pytest.approx(1)
