"""Golden parity sees what it is for: answers, shapes, and decisions that answers decide."""

import numpy as np
import pytest

from orthoedge.runtime.engine import Outputs
from orthoedge.targets import open_engine
from orthoedge.targets.verification import check_engine


class Changed:
    """An engine with one thing about its answers changed."""

    def __init__(self, engine, change):
        self._engine, self._change = engine, change

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, images, timeout_s=None):
        return self._change(self._engine.run(images))


def failed(bundle, change):
    engine = Changed(open_engine(bundle, "portable", "fp32"), change)
    return {
        check.name: check.measured for check in check_engine(bundle, engine) if not check.passed
    }


def test_nothing_fails_on_the_reference(small_bundle):
    assert failed(small_bundle, lambda outputs: outputs) == {}


@pytest.mark.parametrize("label", [0, 1, 2])
def test_decisions_that_change_are_counted(small_bundle, label):
    def sure(outputs):
        logits = np.zeros_like(outputs.logits)
        logits[:, label] = 9
        return Outputs(logits, outputs.saliency_map, outputs.feature_vector)

    changed = failed(small_bundle, sure)["onnxruntime fp32 clear decisions changed"]
    assert 1 <= changed <= len(small_bundle.golden_images())


def test_one_image_that_is_wrong_by_much_is_a_changed_decision(small_bundle):
    def wrong_once(outputs):
        logits = outputs.logits.copy()
        logits[3:4] = np.roll(logits[3:4], 1, axis=1) * 9
        return Outputs(logits, outputs.saliency_map, outputs.feature_vector)

    changed = failed(small_bundle, wrong_once)
    assert changed["onnxruntime fp32 clear decisions changed"] == 1
    assert "onnxruntime fp32 golden logits" in changed


def test_rounding_changes_no_decision(small_bundle):
    def rounded(outputs):
        logits = outputs.logits * np.float32(1 + 1e-6)
        return Outputs(logits, outputs.saliency_map, outputs.feature_vector)

    assert failed(small_bundle, rounded) == {}


def test_a_network_with_another_number_of_labels_fails_and_does_not_crash(small_bundle):
    def cut(outputs):
        return Outputs(outputs.logits[:, :2], outputs.saliency_map, outputs.feature_vector)

    found = failed(small_bundle, cut)
    assert found["onnxruntime fp32 shapes unlike the manifest"] == 1
    assert found["onnxruntime fp32 golden logits"] == float("inf")
    assert found["onnxruntime fp32 clear decisions changed"] == len(small_bundle.golden_images())
