"""Questions that a collection can answer about a classifier, asked within each collection.

A network that has learnt which collection an image comes from scores well on all of them together.
Within one collection that knowledge is worth nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import Array, interval, mean_intervals, resamples
from orthoedge.benchmarks.metrics.bootstrap_scores import area
from orthoedge.benchmarks.metrics.classification import Floats, Ints, calibration_errors, softmax
from orthoedge.benchmarks.schema import Interval
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord, years
from orthoedge.training.data.loader import HEALTHY
from orthoedge.training.evaluation.schema import Answer, Pointing, SourceScores

_FEWEST = 10  # images of either side of a question about a subgroup
_POINT = 0.9  # specificity, or sensitivity, at which the other one is given
_ROUNDING = 1e-9  # so that 9 of 10 are 90 %
_BENIGN, _MALIGNANT = "tumor-benign", "tumor-malignant"


def _age_band(record: ImageRecord) -> str:
    """Children, adults and old people, whose bones and whose tumours differ."""
    age = years(record.age)
    if age is None:
        return ""
    return "under 18" if age < 18 else "18 to 59" if age < 60 else "60 and over"


_SUBGROUPS: dict[str, Callable[[ImageRecord], str]] = {
    "site": lambda record: record.site,
    "body part": lambda record: record.body_part,
    "age": _age_band,
    "sex": lambda record: record.sex,
}


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
        positive, negative = (
            [labels.index(label) for label in side] for side in (self.positive, self.negative)
        )
        chosen = np.flatnonzero(np.isin(truth, [*positive, *negative]))
        both = softmax(logits[chosen][:, [*positive, *negative]])
        return chosen, both[:, : len(positive)].sum(1), np.isin(truth[chosen], positive)


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
    asked = ask_sources(logits, data)
    return float(mean_area(asked, np.ones((1, len(data.records))))[0]) if asked else 0.5


def source_auc_interval(logits: Floats, data: RadiographDataset, seed: int) -> Interval | None:
    """`source_auc` with its 95 % interval by bootstrap over groups; None: no source can answer."""
    if not (asked := ask_sources(logits, data)):
        return None
    groups = [record.patient_id for record in data.records]
    drawn = [mean_area(asked, weights) for weights in resamples(groups, data.labels, seed)]
    value = float(mean_area(asked, np.ones((1, len(data.records))))[0])
    return interval(value, np.concatenate(drawn))


def mean_area(asked: Sequence[Asked], weights: Array) -> Array:
    """Mean AUC (R,) over questions, for weightings (R, N) of all images."""
    areas = [area(one.scores, one.positive, weights[:, one.images]) for one in asked]
    mean: Array = np.mean(areas, axis=0)
    return mean


def score_sources(
    logits: Floats,
    pointed: Array,
    data: RadiographDataset,
    seed: int,
    mask_pointed: Array | None = None,
) -> tuple[tuple[SourceScores, ...], tuple[Answer, ...]]:
    """Score a network within every source, and within its subgroups.

    Args:
        logits: (N, C), of the images of `data`.
        pointed: (N,) 1 where the map peaks in a lesion's box, 0 where not, NaN without a box.
        data: the images.
        seed: of the bootstrap over groups.
        mask_pointed: as `pointed`, of the lesion mask; None of a network without one.

    Returns:
        Calibration and maps of each source; and the answers to the questions, those of whole
        sources first. Subgroups are sites, body parts, ages and sexes; one with fewer than ten
        images of either side is left out.
    """
    sources, answers = [], []
    records = data.records
    for source in _sources(data):
        own = np.array([record.source == source for record in records])
        pair = pointed, np.full(len(pointed), np.nan) if mask_pointed is None else mask_pointed
        sources.append(_score_source(source, logits, pair, data, own, seed))
        parts = {"": np.ones(len(records), bool)}
        for kind, value_of in _SUBGROUPS.items():
            values = [value_of(record) for record in records]
            for value in sorted({v for v, mine in zip(values, own, strict=True) if mine and v}):
                parts[f"{kind} {value}"] = np.array([v == value for v in values])
        for part, chosen in parts.items():
            for asked in _ask(logits, data, source, chosen):
                sides = int(asked.positive.sum()), int((~asked.positive).sum())
                if not part or min(sides) >= _FEWEST:
                    answers.append(_answer(part, asked, data, seed))
    return tuple(sources), tuple(sorted(answers, key=lambda answer: bool(answer.part)))


@dataclass(frozen=True)
class Asked:
    """A question put to a network, with its answers for single images."""

    source: str
    """The collection that the images are of."""
    question: str
    """Name of the question."""
    images: npt.NDArray[np.int64]
    """Indices (n,) of the images."""
    scores: Array
    """Probability (n,) of the positive labels among both sides."""
    positive: npt.NDArray[np.bool_]
    """(n,) whether an image has it."""


def ask_sources(logits: Floats, data: RadiographDataset) -> list[Asked]:
    """Ask every question within every source that has images of both sides."""
    every = np.ones(len(data.labels), bool)
    return [asked for name in _sources(data) for asked in _ask(logits, data, name, every)]


def _sources(data: RadiographDataset) -> list[str]:
    return sorted({record.source for record in data.records})


def _ask(
    logits: Floats, data: RadiographDataset, source: str, chosen: npt.NDArray[np.bool_]
) -> Iterator[Asked]:
    """Ask every question that the chosen images of a source can answer."""
    own = np.array([record.source == source for record in data.records])
    images = np.flatnonzero(own & chosen)
    for question in questions(data.label_names):
        where, scores, positive = question.scores(
            data.label_names, logits[images], data.labels[images]
        )
        if positive.any() and not positive.all():
            yield Asked(source, question.name, images[where], scores, positive)


def _answer(part: str, asked: Asked, data: RadiographDataset, seed: int) -> Answer:
    groups = [data.records[index].patient_id for index in asked.images]
    weights = [np.ones((1, len(groups)))]
    weights += list(resamples(groups, asked.positive.astype(np.int64), seed))
    columns = np.concatenate(
        [
            np.stack((area(asked.scores, asked.positive, w), *_operating_points(asked, w)), 1)
            for w in weights
        ]
    )
    intervals = [interval(float(column[0]), column[1:]) for column in columns.T]
    auc, sensitivity, specificity = (known for known in intervals if known is not None)
    return Answer(
        source=asked.source,
        part=part,
        question=asked.question,
        positives=int(asked.positive.sum()),
        negatives=int((~asked.positive).sum()),
        groups=len(set(groups)),
        auc=auc,
        sensitivity=sensitivity,
        specificity=specificity,
    )


def _operating_points(asked: Asked, weights: Array) -> tuple[Array, Array]:
    """Sensitivity at 90 % specificity and the reverse, (R,) each, for weightings (R, n)."""
    order = np.argsort(-asked.scores, kind="stable")
    ends = np.flatnonzero(np.diff(asked.scores[order], append=-np.inf) < 0)
    ordered, positive = weights[:, order], asked.positive[order]
    found = np.cumsum(ordered * positive, 1)[:, ends] / (weights @ asked.positive)[:, None]
    alarms = np.cumsum(ordered * ~positive, 1)[:, ends] / (weights @ ~asked.positive)[:, None]
    sensitivity = np.where(alarms <= 1 - _POINT + _ROUNDING, found, 0).max(1)
    specificity = np.where(found >= _POINT - _ROUNDING, 1 - alarms, 0).max(1)
    return sensitivity, specificity


def _score_source(
    source: str,
    logits: Floats,
    pointed: tuple[Array, Array],
    data: RadiographDataset,
    own: npt.NDArray[np.bool_],
    seed: int,
) -> SourceScores:
    images = np.flatnonzero(own)
    groups = [data.records[index].patient_id for index in images]
    truth = data.labels[images]
    probabilities = softmax(logits[images])  # of all labels, as a finding has them
    predicted = probabilities.argmax(1)
    weights = list(resamples(groups, truth, seed))
    ones = np.ones((1, len(images)))
    error, *drawn = (
        calibration_errors(probabilities, predicted, truth, w) for w in (ones, *weights)
    )
    calibration = interval(float(error[0]), np.concatenate(drawn))
    assert calibration is not None
    of_map: dict[str, Pointing] = {}
    of_mask: dict[str, Pointing] = {}
    for scores, all_values in zip((of_map, of_mask), pointed, strict=True):
        for number, label in enumerate(data.label_names):
            values = np.where(truth == number, all_values[images], np.nan)
            (share,) = mean_intervals(values[None], groups, truth, seed)
            if share is not None:
                count = int((~np.isnan(values)).sum())
                scores[label] = Pointing(images=count, share=share)
    return SourceScores(
        source=source,
        images=len(images),
        calibration_error=calibration,
        pointing=of_map,
        mask_pointing=of_mask,
    )
