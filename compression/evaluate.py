"""A network as the engine runs it: its outputs on a split, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics import (
    Box,
    confusion,
    expected_calibration_error,
    macro_f1,
    points_at,
    recalls,
    softmax,
)
from orthoedge.runtime.engine import Engine, Outputs
from orthoedge.runtime.manifest import Metrics

_BATCH = 16


def run_all(engine: Engine, images: npt.NDArray[np.uint8]) -> Outputs:
    """Outputs of an engine on uint8 (N, 1, S, S), in batches."""
    parts = [engine.run(images[start : start + _BATCH]) for start in range(0, len(images), _BATCH)]
    return Outputs(
        np.concatenate([part.logits for part in parts]),
        np.concatenate([part.saliency_map for part in parts]),
        np.concatenate([part.feature_vector for part in parts]),
    )


def measure(
    outputs: Outputs,
    teacher: Outputs,
    truth: npt.NDArray[np.int64],
    boxes: Sequence[Sequence[Box]],
    labels: tuple[str, ...],
    temperature: float,
) -> Metrics:
    """Metrics of N images.

    Args:
        outputs: the network's.
        teacher: the float32 ensemble's, on the same images.
        truth: int64 (N,).
        boxes: lesion boxes per image as fractions of the network's square; may be empty.
        labels: C names.
        temperature: of this network and precision.
    """
    table = confusion(truth, outputs.logits.argmax(axis=1), len(labels))
    pointed = [
        points_at(outputs.saliency_map[i, truth[i]], boxes[i])
        for i in range(len(truth))
        if boxes[i]
    ]
    agreement = outputs.logits.argmax(axis=1) == teacher.logits.argmax(axis=1)
    return Metrics(
        images=len(truth),
        accuracy=float(np.trace(table) / table.sum()),
        macro_f1=macro_f1(table),
        recall=dict(zip(labels, map(float, recalls(table)), strict=True)),
        expected_calibration_error=expected_calibration_error(
            softmax(outputs.logits, temperature), truth
        ),
        pointing_game=float(np.mean(pointed)) if pointed else None,
        teacher_agreement=float(agreement.mean()),
    )
