"""Fixtures of the runtime's tests."""

import dataclasses

import numpy as np
import pytest

from orthoedge.runtime.decision import Verdict
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.pipeline import Finding
from orthoedge.runtime.preprocess import STANDARD


@pytest.fixture
def make_finding():
    """A function that makes a radiograph and its finding, ready to be drawn."""

    def make(pixels, saliency=None, placement=None, spacing=None, plane=None, **verdict):
        if saliency is None:
            saliency = np.random.default_rng(0).random((7, 7), dtype=np.float32)
        given = {
            "label": "fracture",
            "probabilities": {"fracture": 0.9, "non-affected": 0.1},
            "decision": "report",
            "reasons": (),
        }
        finding = _record(
            Finding,
            verdict=_record(Verdict, **{**given, **verdict}),
            saliency_map=saliency,
            placement=placement or STANDARD.prepare(pixels)[1],
            input_size=STANDARD.size,
            notice="Phantom demonstration: trained on rendered phantoms only, "
            "so it says nothing about a patient.",
        )
        return Radiograph(pixels, 8, spacing, (), plane), finding

    return make


def _record(kind, **values):
    """A record that holds `values`, and nothing in the fields that no picture shows."""
    return kind(**{field.name: values.get(field.name) for field in dataclasses.fields(kind)})
