"""Questions that a collection can answer about a classifier, asked within each collection.

A network that has learnt which collection an image comes from scores well on all of them together.
Within one collection that knowledge is worth nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from orthoedge.benchmarks.metrics.classification import Floats, Ints, softmax
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.loader import HEALTHY

_BENIGN, _MALIGNANT = "tumor-benign", "tumor-malignant"


@dataclass(frozen=True)
class Question:
    """Labels told from other labels."""

    name: str
    positive: tuple[str, ...]
    negative: tuple[str, ...]

    def scores(
        self, labels: Sequence[str], logits: Floats, truth: Ints
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Answer the question for the images that it is about.

        Args:
            labels: of the logits, in order.
            logits: (N, C).
            truth: int (N,).

        Returns:
            Indices of those images (n,), probability of the positive labels among both (n,), and
            whether each is positive (n,).
        """
        positive, negative = ([labels.index(x) for x in side] for side in self._sides())
        chosen = np.flatnonzero(np.isin(truth, [*positive, *negative]))
        both = softmax(logits[chosen][:, [*positive, *negative]])
        return chosen, both[:, : len(positive)].sum(1), np.isin(truth[chosen], positive)

    def _sides(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return self.positive, self.negative


def questions(labels: Sequence[str]) -> tuple[Question, ...]:
    """Questions about the labels: each finding against healthy bone, malignant against benign."""
    tumours = tuple(label for label in (_BENIGN, _MALIGNANT) if label in labels)
    asked = []
    if HEALTHY in labels:
        others = [label for label in labels if label != HEALTHY and label not in tumours]
        asked = [Question(label, (label,), (HEALTHY,)) for label in others]
        if tumours:
            asked.append(Question("tumour", tumours, (HEALTHY,)))
    if len(tumours) == 2:
        asked.append(Question("malignancy", (_MALIGNANT,), (_BENIGN,)))
    return tuple(asked)


def source_auc(logits: Floats, data: RadiographDataset) -> float:
    """Mean AUC of every question within every source that has images of both sides.

    Args:
        logits: (N, C), of the images of `data`.
        data: the images.

    Returns:
        0.5 where no source can answer any.
    """
    labels = data.label_names
    sources = np.array([record.source for record in data.records])
    values = []
    for source in np.unique(sources):
        own = np.flatnonzero(sources == source)
        for question in questions(labels):
            _, scores, positive = question.scores(labels, logits[own], data.labels[own])
            if positive.any() and not positive.all():
                values.append(float(roc_auc_score(positive, scores)))
    return float(np.mean(values)) if values else 0.5
