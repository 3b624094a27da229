"""Rules that combine the branches of a run, compared on the same images.

The branches were trained together, through the learned fusion. A branch alone is a part of that
whole, and may score lower here than the same backbone trained by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics import classification as measure
from orthoedge.benchmarks.metrics.bootstrap import Array, interval, resamples
from orthoedge.benchmarks.metrics.classification import confusions, macro_f1s
from orthoedge.benchmarks.schema import Interval
from orthoedge.training.evaluation.predictions import Evaluation

Ints = npt.NDArray[np.int64]

LEARNED = "learned fusion of logits"
_FIXED = (0.4, 0.6)  # of the system that the recipe `orthovision` follows
_ALONE = ", alone"
_SMALL = 0.02  # a share of the images that hardly matters


class Fusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Scores of one rule, compared with the learned fusion."""

    rule: str
    """Name of the rule that combines the branches."""
    accuracy: Interval
    """Share of correct labels."""
    macro_f1: Interval
    """Unweighted mean of the classes' F1."""
    accuracy_gain: Interval | None
    """Accuracy minus the learned fusion's, on the same resamples; None for the learned fusion."""
    macro_f1_gain: Interval | None
    """The same for macro-F1."""
    changed: int
    """Images with a prediction different from the learned fusion's."""


def compare_fusions(
    evaluation: Evaluation,
    names: Sequence[str],
    start: Sequence[float],
    truth: Ints,
    groups: Sequence[str],
    seed: int,
) -> tuple[Fusion, ...]:
    """Compare rules on the branch logits of one forward pass; none for a single branch.

    Args:
        evaluation: of the test images.
        names: the branches' backbones.
        start: the recipe's starting weights; empty: equal.
        truth: (N,) class indices.
        groups: patient of each image, for the bootstrap.
        seed: of the bootstrap; every rule sees the same resamples.
    """
    if len(names) < 2:
        return ()
    classes = evaluation.logits.shape[1]
    predictions = _predictions(evaluation, names, start)
    chunks: dict[str, list[tuple[Array, Array]]] = {rule: [] for rule in predictions}
    # The images as they are, then the resamples.
    for weights in chain([np.ones((1, len(truth)))], resamples(groups, truth, seed)):
        for rule, predicted in predictions.items():
            chunks[rule].append(_scores(truth, predicted, classes, weights))
    drawn = {
        rule: [np.concatenate(score) for score in zip(*chunk, strict=True)]
        for rule, chunk in chunks.items()
    }
    rows = []
    for rule, predicted in predictions.items():
        scores, gain = [], []
        for own, learned in zip(drawn[rule], drawn[LEARNED], strict=True):  # accuracy, macro-F1
            scores.append(_interval(own))
            gain.append(None if rule == LEARNED else _interval(own - learned))
        rows.append(
            Fusion(
                rule=rule,
                accuracy=scores[0],
                macro_f1=scores[1],
                accuracy_gain=gain[0],
                macro_f1_gain=gain[1],
                changed=int((predicted != predictions[LEARNED]).sum()),
            )
        )
    return tuple(rows)


def conclusion(rows: Sequence[Fusion], images: int) -> str:
    """Summarise the table in sentences that follow from its numbers."""
    better = [f"{row.rule} ({_points(row)})" for row in rows if _sign(row) > 0]
    worse = [f"{row.rule} ({_points(row)})" for row in rows if _sign(row) < 0]
    equal = [row for row in rows if row.accuracy_gain is not None and _sign(row) == 0]
    sentences = []
    if worse:
        sentences.append(f"Less accurate than the learned fusion: {'; '.join(worse)}.")
    if better:
        sentences.append(f"More accurate than the learned fusion: {'; '.join(better)}.")
    if equal:
        which = "; ".join(row.rule for row in equal) if better or worse else "any other rule"
        sentences.append(
            f"No difference in accuracy from the learned fusion can be shown for {which}. "
            f"{_open(equal)}"
        )
    if not better:
        sentences.append("No rule is shown to be more accurate than the learned fusion.")
    for row in rows:
        if row.rule.endswith(_ALONE) and row.changed <= _SMALL * images:
            sentences.append(
                f"The {row.rule}, gives the fused prediction on {images - row.changed} of {images} "
                "images: in this run the other branches decide almost nothing."
            )
    return " ".join(sentences)


def _open(rows: Sequence[Fusion]) -> str:
    """State how large a difference may be where none can be shown."""
    gains = [row.accuracy_gain for row in rows if row.accuracy_gain is not None]
    widest = max(max(abs(gain.low), abs(gain.high)) for gain in gains)
    if widest <= _SMALL:
        return f"It hardly matters: their intervals stay within {100 * widest:.1f} points."
    return (
        f"These images cannot rule one out: their intervals reach up to {100 * widest:.1f} points."
    )


def _predictions(
    evaluation: Evaluation, names: Sequence[str], start: Sequence[float]
) -> dict[str, Ints]:
    """Predicted classes (N,) by each rule; the learned fusion last."""
    logits = evaluation.branch_logits.astype(np.float64)  # (B, N, C)
    probabilities = np.stack([measure.softmax(branch) for branch in logits])
    shares = [_FIXED] if len(names) == len(_FIXED) else []
    if start and len(set(start)) > 1 and tuple(start) not in shares:
        shares.append(tuple(start))  # type: ignore[arg-type]
    predictions = {
        f"branch {number}, {name}{_ALONE}": branch.argmax(1)
        for number, (name, branch) in enumerate(zip(names, logits, strict=True), 1)
    }
    predictions["average of probabilities"] = probabilities.mean(0).argmax(1)
    predictions["average of logits"] = logits.mean(0).argmax(1)
    for share in shares:
        rule = f"fixed weights {' / '.join(f'{s:g}' for s in share)} of probabilities"
        predictions[rule] = np.tensordot(share, probabilities, 1).argmax(1)
    surest = probabilities.max(2).argmax(0)  # (N,)
    rows = np.arange(len(surest))
    predictions["hybrid: the more confident branch decides"] = probabilities[surest, rows].argmax(1)
    predictions[LEARNED] = evaluation.logits.argmax(1)
    return predictions


def _scores(truth: Ints, predicted: Ints, classes: int, weights: Array) -> tuple[Array, Array]:
    """Accuracy and macro-F1, (R,) each, for weightings (R, N)."""
    tables = confusions(truth, predicted, classes, weights)
    return np.trace(tables, axis1=1, axis2=2) / weights.sum(1), macro_f1s(tables)


def _interval(drawn: Array) -> Interval:
    """Interval of the first value by the others, its resamples."""
    known = interval(float(drawn[0]), drawn[1:])
    assert known is not None  # accuracy and macro-F1 always have a value
    return known


def _sign(row: Fusion) -> int:
    """1 or -1 where the interval of the gain lies on one side of 0, else 0."""
    gain = row.accuracy_gain
    if gain is None or gain.low <= 0 <= gain.high:
        return 0
    return 1 if gain.low > 0 else -1


def _points(row: Fusion) -> str:
    gain = row.accuracy_gain
    assert gain is not None
    return (
        f"{100 * gain.value:+.1f} points, 95 % interval {100 * gain.low:+.1f} to "
        f"{100 * gain.high:+.1f}"
    )
