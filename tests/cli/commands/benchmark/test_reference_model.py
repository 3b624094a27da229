"""The ensemble beside which a bundle is timed and judged."""

import pytest

from orthoedge.benchmarks.schema import Skipped
from orthoedge.cli.commands.benchmark.inputs import open_reference, random_ensemble
from orthoedge.runtime.errors import DataError


def test_a_bundle_that_names_no_known_network_has_a_reason_in_place_of_it(small_bundle):
    found = random_ensemble(small_bundle)
    assert isinstance(found, Skipped)
    assert "none" in found.reason


def test_an_onnx_file_is_taken_as_it_is(small_bundle, tmp_path):
    file = tmp_path / "reference.onnx"
    file.write_bytes(small_bundle.model("fp32"))
    found = open_reference(file, small_bundle)
    assert found.trained
    assert found.model == small_bundle.model("fp32")


@pytest.mark.slow
def test_a_run_of_other_labels_or_another_preprocessing_is_refused(tiny_run, small_bundle):
    with pytest.raises(DataError, match="are not the bundle's"):
        open_reference(tiny_run, small_bundle)


@pytest.mark.slow
def test_the_run_that_a_bundle_came_from_is_its_reference(tiny_run, tiny_bundle):
    from orthoedge.runtime.bundles.bundle import read_bundle
    from orthoedge.targets import EngineOptions, open_model

    bundle = read_bundle(tiny_bundle)
    size = bundle.manifest.graph.size
    for found in (open_reference(tiny_run, bundle), random_ensemble(bundle)):
        engine = open_model(found.model, size, "portable", "fp32", options=EngineOptions(threads=1))
        logits = engine.run(bundle.golden_images()[:1]).logits
        assert logits.shape == (1, bundle.manifest.graph.classes)
