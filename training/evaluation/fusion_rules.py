"""Rules that combine the branches of a run, compared on the same images.

The branches were trained together, through the learned fusion. A branch alone is a part of that
whole, and may score lower here than the same backbone trained by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import msgspec
import numpy as np

from orthoedge.benchmarks.metrics.bootstrap import Array, interval, resamples
from orthoedge.benchmarks.metrics.classification import Ints, confusions, macro_f1s, softmax
from orthoedge.benchmarks.schema import Interval
from orthoedge.runtime.settings import plain
from orthoedge.training.evaluation.predictions import Evaluation

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
    chunks: dict[str, list[Array]] = {rule: [] for rule in predictions}
    # The images as they are, then the resamples.
    for weights in chain([np.ones((1, len(truth)))], resamples(groups, truth, seed)):
        for rule, predicted in predictions.items():
            tables = confusions(truth, predicted, classes, weights)
            accuracies = np.trace(tables, axis1=1, axis2=2) / weights.sum(1)
            chunks[rule].append(np.stack((accuracies, macro_f1s(tables))))
    drawn = {rule: np.concatenate(chunk, 1) for rule, chunk in chunks.items()}  # (2, R) each
    rows = []
    for rule, predicted in predictions.items():
        accuracy, macro_f1 = map(_interval, drawn[rule])
        accuracy_gain, macro_f1_gain = map(_interval, drawn[rule] - drawn[LEARNED])
        row = Fusion(
            rule=rule,
            accuracy=accuracy,
            macro_f1=macro_f1,
            accuracy_gain=None if rule == LEARNED else accuracy_gain,
            macro_f1_gain=None if rule == LEARNED else macro_f1_gain,
            changed=int((predicted != predictions[LEARNED]).sum()),
        )
        rows.append(row)
    return tuple(rows)


def conclusion(rows: Sequence[Fusion], images: int) -> str:
    """Summarise the table in sentences that follow from its numbers."""
    better: list[str] = []
    worse: list[str] = []
    equal, widest = [], 0.0
    for row in rows:
        gain = row.accuracy_gain
        if gain is None:
            continue
        low, high = 100 * gain.low, 100 * gain.high
        points = f"{100 * gain.value:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"
        if gain.low <= 0 <= gain.high:
            equal.append(row.rule)
            widest = max(widest, abs(gain.low), abs(gain.high))
        else:
            (better if gain.low > 0 else worse).append(f"{row.rule} ({points})")
    sentences = []
    if worse:
        sentences.append(f"Less accurate than the learned fusion: {'; '.join(worse)}.")
    if better:
        sentences.append(f"More accurate than the learned fusion: {'; '.join(better)}.")
    if equal:
        which = "; ".join(equal) if better or worse else "any other rule"
        size = "These images cannot rule one out: their intervals reach up to"
        if widest <= _SMALL:
            size = "It hardly matters: their intervals stay within"
        sentences.append(
            f"No difference in accuracy from the learned fusion can be shown for {which}. "
            f"{size} {100 * widest:.1f} points."
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


def _predictions(
    evaluation: Evaluation, names: Sequence[str], start: Sequence[float]
) -> dict[str, Ints]:
    """Predicted classes (N,) by each rule; the learned fusion last."""
    logits = evaluation.branch_logits.astype(np.float64)  # (B, N, C)
    probabilities = np.stack([softmax(branch) for branch in logits])
    shares: list[tuple[float, ...]] = [_FIXED] if len(names) == len(_FIXED) else []
    if len(set(start)) > 1 and tuple(start) not in shares:
        shares.append(tuple(start))
    predictions = {
        f"branch {number}, {name}{_ALONE}": branch.argmax(1)
        for number, (name, branch) in enumerate(zip(names, logits, strict=True), 1)
    }
    predictions["average of probabilities"] = probabilities.mean(0).argmax(1)
    predictions["average of logits"] = logits.mean(0).argmax(1)
    for share in shares:
        rule = f"fixed weights {' / '.join(plain(s) for s in share)} of probabilities"
        predictions[rule] = np.tensordot(share, probabilities, 1).argmax(1)
    surest = probabilities.max(2).argmax(0)  # (N,)
    rows = np.arange(len(surest))
    predictions["hybrid: the more confident branch decides"] = probabilities[surest, rows].argmax(1)
    predictions[LEARNED] = evaluation.logits.argmax(1)
    return predictions


def _interval(drawn: Array) -> Interval:
    """Interval of the first value by the others, its resamples."""
    known = interval(float(drawn[0]), drawn[1:])
    assert known is not None  # accuracy and macro-F1 always have a value
    return known
