"""Do two engines decide alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from orthoedge.runtime.decision import Distance, Verdict, decide, margins
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.manifest import Calibration

_NEAR = 0.02  # a number this close to its threshold may fall on either side of it


def flips(
    reference: Outputs,
    other: Outputs,
    looks: npt.NDArray[np.float32],
    labels: tuple[str, ...],
    alert_labels: tuple[str, ...],
    calibration: Calibration,
) -> int:
    """Count images that are decided otherwise though the reference's numbers left no doubt.

    Label, set of labels or decision differ, and a number that decides has crossed its threshold
    from more than 0.02 away: in probability, or relative for the distance from the training images.
    `looks` are those of the images, float32 (N, L).
    """
    count = 0
    distance = Distance(calibration.out_of_distribution)
    for i in range(len(reference.logits)):
        before, after = (
            decide(
                part.logits[i],
                distance(part.feature_vector[i], looks[i]),
                (),
                labels,
                alert_labels,
                calibration,
            )
            for part in (reference, other)
        )
        if _said(before) != _said(after):
            was, now = (margins(said, calibration) for said in (before, after))
            count += any(
                abs(margin) > _NEAR and (margin >= 0) != (now[name] >= 0)
                for name, margin in was.items()
            )
    return count


def _said(verdict: Verdict) -> tuple[str, frozenset[str], str]:
    # The order within the set is that of the probabilities, and no threshold decides it.
    return verdict.label, frozenset(verdict.label_set), verdict.decision
