"""The lesion mask in a manifest: absent where there is none, and never half stated."""

import dataclasses
import json

import msgspec
import pytest

from orthoedge.runtime.bundles.manifest import Tolerance, decode_manifest, encode_manifest
from orthoedge.runtime.errors import BundleError


def masked(manifest, height=8, width=8, tolerance=0.1):
    limits = {
        precision: msgspec.structs.replace(limit, lesion_mask=tolerance)
        for precision, limit in manifest.golden.tolerance.items()
    }
    return msgspec.structs.replace(
        manifest,
        graph=msgspec.structs.replace(manifest.graph, mask_height=height, mask_width=width),
        golden=msgspec.structs.replace(manifest.golden, tolerance=limits),
    )


def test_a_manifest_without_a_mask_says_nothing_of_it(small_bundle):
    """So that a version from before masks reads it."""
    tree = json.loads(encode_manifest(small_bundle.manifest))
    assert not {"mask_height", "mask_width"} & set(tree["graph"])
    assert "lesion_mask" not in tree["golden"]["tolerance"]["int8"]
    assert "dice" not in tree["metrics"]["int8"]
    assert not small_bundle.manifest.graph.has_mask
    assert "lesion_mask" not in small_bundle.manifest.graph.shapes(1)


def test_a_manifest_with_a_mask_comes_back(small_bundle):
    manifest = masked(small_bundle.manifest)
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert manifest.graph.shapes(3)["lesion_mask"] == (3, 1, 8, 8)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"height": 0}, "one is 0"),
        ({"width": 0}, "one is 0"),
        ({"height": 33}, "expected 0 to 32"),
        ({"width": -1}, "expected 0 to 32"),
        ({"tolerance": None}, "lesion_mask does not fit"),
        ({"height": 0, "width": 0}, "lesion_mask does not fit"),
    ],
)
def test_a_mask_that_is_half_stated_is_refused(small_bundle, given, reason):
    with pytest.raises(BundleError, match=reason):
        masked(small_bundle.manifest, **given).check()


def test_golden_outputs_without_the_stated_mask_are_refused(small_bundle):
    bundle = dataclasses.replace(small_bundle, manifest=masked(small_bundle.manifest))
    with pytest.raises(BundleError, match="does not hold the golden outputs"):
        bundle.golden_outputs("fp32")


def test_no_tolerance_is_one_for_no_mask():
    assert Tolerance(logits=1, saliency_map=1, feature_vector=1).lesion_mask is None
