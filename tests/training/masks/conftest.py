"""Fixtures of the tests of lesion masks."""

import pytest

from orthoedge.cli.main import main
from tests.training.segmentation.conftest import spots

__all__ = ["spots"]

SETTINGS = (
    "labels=non-affected,spot", "compress.alert_labels=spot", "source_labels={}",
    "compress.gate.fp32.max_recall_drop={}", "compress.gate.int8.max_recall_drop={}",
    "backbones=test_efficientnet", "compress.students=test_efficientnet", "epochs=2", "batch=16",
    "preprocess.size=64", "preprocess.clahe_stage=none", "augment.read_size=0", "augment.zoom=0.2",
    "augment.appearance=0", "threads=1", "precision=32-true", "frozen_stages=0", "ema=0",
)  # fmt: skip
"""Settings of `real-bones` for a small classifier of the spots."""
MASK = ("mask.stride=4", "mask.channels=16", "mask.epochs=6", "mask.lr=1e-2")


def as_options(settings):
    return [text for setting in settings for text in ("--set", setting)]


@pytest.fixture(scope="session")
def classifier(spots, tmp_path_factory):
    """Run folder of a small classifier."""
    out = tmp_path_factory.mktemp("mask-runs") / "classifier"
    given = ["train", "real-bones", "--data", str(spots), "--out", str(out)]
    assert main([*given, *as_options(SETTINGS)]) == 0
    return out


@pytest.fixture(scope="session")
def masked(classifier, spots):
    """Run folder of the same classifier with a decoder."""
    out = classifier.with_name("masked")
    given = ["train", str(classifier), "--data", str(spots), "--out", str(out)]
    assert main([*given, *as_options(MASK)]) == 0
    return out
