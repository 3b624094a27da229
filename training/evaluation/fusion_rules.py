"""Rules that combine the branches of a run, compared on the same images.

The branches were trained together, through the learned fusion. A branch alone is a part of that
whole, and may score lower here than the same backbone trained by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.metrics.bootstrap import Array, interval, resamples
from orthoedge.benchmarks.metrics.classification import Floats, Ints, confusions, macro_f1s, softmax
from orthoedge.benchmarks.schema import Interval
from orthoedge.runtime.settings import plain
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.evaluation.by_source import ask_sources, mean_area
from orthoedge.training.evaluation.predictions import Evaluation
from orthoedge.training.evaluation.schema import Fusion

LEARNED = "learned fusion of logits"
_FIXED = (0.4, 0.6)  # of the system that the recipe `orthovision` follows
_ALONE = ", alone"
_SMALL = 0.02  # a share of the images that hardly matters


def compare_fusions(
    evaluation: Evaluation,
    names: Sequence[str],
    start: Sequence[float],
    truth: Ints,
    groups: Sequence[str],
    seed: int,
    sources: RadiographDataset | None = None,
) -> tuple[Fusion, ...]:
    """Compare rules on the branch logits of one forward pass; none for a single branch.

    Args:
        evaluation: of the test images.
        names: the branches' backbones.
        start: the recipe's starting weights; empty: equal.
        truth: (N,) class indices.
        groups: patient of each image, for the bootstrap.
        seed: of the bootstrap; every rule sees the same resamples.
        sources: the images, where their collections have labels of their own.
    """
    if len(names) < 2:
        return ()
    classes = evaluation.logits.shape[1]
    scores = _scores(evaluation, names, start)
    predictions = {rule: own.argmax(1) for rule, own in scores.items()}
    asked = {rule: ask_sources(own, sources) if sources else [] for rule, own in scores.items()}
    chunks: dict[str, list[Array]] = {rule: [] for rule in predictions}
    # The images as they are, then the resamples.
    for weights in chain([np.ones((1, len(truth)))], resamples(groups, truth, seed)):
        for rule, predicted in predictions.items():
            tables = confusions(truth, predicted, classes, weights)
            accuracies = np.trace(tables, axis1=1, axis2=2) / weights.sum(1)
            areas = [mean_area(asked[rule], weights)] if asked[rule] else []
            chunks[rule].append(np.stack((accuracies, macro_f1s(tables), *areas)))
    drawn = {rule: np.concatenate(chunk, 1) for rule, chunk in chunks.items()}  # (2 or 3, R) each
    rows = []
    for rule, predicted in predictions.items():
        accuracy, macro_f1, *auc = map(_interval, drawn[rule])
        accuracy_gain, macro_f1_gain, *auc_gain = map(_interval, drawn[rule] - drawn[LEARNED])
        row = Fusion(
            rule=rule,
            accuracy=accuracy,
            macro_f1=macro_f1,
            accuracy_gain=None if rule == LEARNED else accuracy_gain,
            macro_f1_gain=None if rule == LEARNED else macro_f1_gain,
            changed=int((predicted != predictions[LEARNED]).sum()),
            auc=auc[0] if auc else None,
            auc_gain=auc_gain[0] if auc_gain and rule != LEARNED else None,
        )
        rows.append(row)
    return tuple(rows)


def conclusion(rows: Sequence[Fusion], images: int) -> str:
    """Summarise the table in sentences that follow from its numbers."""
    within = any(row.auc_gain for row in rows)  # accuracy would reward telling the collections
    what = "AUC within the collections" if within else "accuracy"
    better: list[str] = []
    worse: list[str] = []
    equal, widest = [], 0.0
    for row in rows:
        gain = row.auc_gain if within else row.accuracy_gain
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
        sentences.append(f"Lower {what} than the learned fusion: {'; '.join(worse)}.")
    if better:
        sentences.append(f"Higher {what} than the learned fusion: {'; '.join(better)}.")
    if equal:
        which = "; ".join(equal) if better or worse else "any other rule"
        size = "These images cannot rule one out: their intervals reach up to"
        if widest <= _SMALL:
            size = "It hardly matters: their intervals stay within"
        sentences.append(
            f"No difference in {what} from the learned fusion can be shown for {which}. "
            f"{size} {100 * widest:.1f} points."
        )
    if not better:
        sentences.append(f"No rule is shown to have a higher {what} than the learned fusion.")
    for row in rows:
        if row.rule.endswith(_ALONE) and row.changed <= _SMALL * images:
            sentences.append(
                f"The {row.rule}, gives the fused prediction on {images - row.changed} of {images} "
                "images: in this run the other branches decide almost nothing."
            )
    return " ".join(sentences)


def _scores(
    evaluation: Evaluation, names: Sequence[str], start: Sequence[float]
) -> dict[str, Floats]:
    """Logits (N, C) by each rule; the learned fusion last."""
    logits = evaluation.branch_logits.astype(np.float64)  # (B, N, C)
    probabilities = np.stack([softmax(branch) for branch in logits])
    shares: list[tuple[float, ...]] = [_FIXED] if len(names) == len(_FIXED) else []
    if len(set(start)) > 1 and tuple(start) not in shares:
        shares.append(tuple(start))
    scores: dict[str, Floats] = {
        f"branch {number}, {name}{_ALONE}": branch
        for number, (name, branch) in enumerate(zip(names, logits, strict=True), 1)
    }
    scores["average of probabilities"] = _log(probabilities.mean(0))
    scores["average of logits"] = logits.mean(0)
    for share in shares:
        rule = f"fixed weights {' / '.join(plain(s) for s in share)} of probabilities"
        scores[rule] = _log(np.tensordot(share, probabilities, 1))
    surest = probabilities.max(2).argmax(0)  # (N,)
    rows = np.arange(len(surest))
    scores["hybrid: the more confident branch decides"] = _log(probabilities[surest, rows])
    scores[LEARNED] = evaluation.logits
    return scores


def _log(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logits with these probabilities; those below 1e-300 count as that."""
    logits: npt.NDArray[np.float64] = np.log(np.maximum(probabilities, 1e-300))
    return logits


def _interval(drawn: Array) -> Interval:
    """Interval of the first value by the others, its resamples."""
    known = interval(float(drawn[0]), drawn[1:])
    assert known is not None  # accuracy and macro-F1 always have a value
    return known
