"""Ways to put the answers of a run's branches together, compared on the same images.

The branches were trained together, through the learned fusion. What a branch reaches here alone is
its part of that whole, and less than the same backbone trained by itself may reach.
"""

from __future__ import annotations

from collections.abc import Sequence

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
_SMALL = 0.02  # a share of the images that is said to hardly matter


class Fusion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One way to answer, and what it is worth beside the learned one."""

    rule: str
    """How the branches' answers become one."""
    accuracy: Interval
    """Share of correct labels."""
    macro_f1: Interval
    """Unweighted mean of the classes' F1."""
    accuracy_gain: Interval | None
    """Accuracy minus the learned fusion's, on the same resamples; None: it is that one."""
    macro_f1_gain: Interval | None
    """The same of macro-F1."""
    changed: int
    """Images whose answer is another than the learned fusion's."""


def compare_fusions(
    judged: Evaluation,
    names: Sequence[str],
    start: Sequence[float],
    truth: Ints,
    groups: Sequence[str],
    seed: int,
) -> tuple[Fusion, ...]:
    """Compare rules on the branch logits of one forward pass; none for a single branch.

    Args:
        judged: of the test images.
        names: the branches' backbones.
        start: the recipe's starting weights; empty: equal.
        truth: (N,) class indices.
        groups: of each image, for the bootstrap.
        seed: of the bootstrap; every rule sees the same resamples.
    """
    if len(names) < 2:
        return ()
    classes = judged.logits.shape[1]
    answers = _answers(judged, names, start)
    points = {rule: _worth(truth, said, classes, _once(truth)) for rule, said in answers.items()}
    parts: dict[str, list[tuple[Array, Array]]] = {rule: [] for rule in answers}
    for weights in resamples(groups, truth, seed):
        for rule, said in answers.items():
            parts[rule].append(_worth(truth, said, classes, weights))
    drawn = {
        rule: [np.concatenate(score) for score in zip(*part, strict=True)]
        for rule, part in parts.items()
    }
    rows = []
    for rule, said in answers.items():
        worth, gain = [], []
        for score in range(2):  # accuracy, macro-F1
            value, of_learned = float(points[rule][score][0]), float(points[LEARNED][score][0])
            worth.append(_known(value, drawn[rule][score]))
            difference = drawn[rule][score] - drawn[LEARNED][score]
            gain.append(None if rule == LEARNED else _known(value - of_learned, difference))
        rows.append(
            Fusion(
                rule=rule,
                accuracy=worth[0],
                macro_f1=worth[1],
                accuracy_gain=gain[0],
                macro_f1_gain=gain[1],
                changed=int((said != answers[LEARNED]).sum()),
            )
        )
    return tuple(rows)


def conclusion(rows: Sequence[Fusion], images: int) -> str:
    """What the table shows, in words that follow from its numbers alone."""
    better = [f"{row.rule} ({_points(row)})" for row in rows if _sign(row) > 0]
    worse = [f"{row.rule} ({_points(row)})" for row in rows if _sign(row) < 0]
    equal = [row for row in rows if row.accuracy_gain is not None and _sign(row) == 0]
    said = []
    if worse:
        said.append(f"Less accurate than the learned fusion: {'; '.join(worse)}.")
    if better:
        said.append(f"More accurate than the learned fusion: {'; '.join(better)}.")
    if equal:
        which = "; ".join(row.rule for row in equal) if better or worse else "any other rule"
        said.append(
            f"No difference in accuracy from the learned fusion can be shown for {which}. "
            f"{_open(equal)}"
        )
    if not better:
        said.append("No rule is shown to be more accurate than the learned fusion.")
    for row in rows:
        if row.rule.endswith(_ALONE) and row.changed <= _SMALL * images:
            said.append(
                f"The {row.rule}, gives the fused answer on {images - row.changed} of {images} "
                "images: in this run the other branches decide next to nothing."
            )
    return " ".join(said)


def _open(rows: Sequence[Fusion]) -> str:
    """How large a difference may still be where none can be shown."""
    gains = [row.accuracy_gain for row in rows if row.accuracy_gain is not None]
    widest = max(max(abs(gain.low), abs(gain.high)) for gain in gains)
    if widest <= _SMALL:
        return f"It hardly matters: their intervals stay within {100 * widest:.1f} points."
    return (
        f"These images cannot rule one out: their intervals reach up to {100 * widest:.1f} points."
    )


def _answers(judged: Evaluation, names: Sequence[str], start: Sequence[float]) -> dict[str, Ints]:
    """The predicted classes (N,) by each rule; the learned one last."""
    logits = judged.branch_logits.astype(np.float64)  # (B, N, C)
    probabilities = np.stack([measure.softmax(branch) for branch in logits])
    shares = [_FIXED] if len(names) == len(_FIXED) else []
    if start and len(set(start)) > 1 and tuple(start) not in shares:
        shares.append(tuple(start))  # type: ignore[arg-type]
    answers = {
        f"branch {number}, {name}{_ALONE}": branch.argmax(1)
        for number, (name, branch) in enumerate(zip(names, logits, strict=True), 1)
    }
    answers["average of probabilities"] = probabilities.mean(0).argmax(1)
    answers["average of logits"] = logits.mean(0).argmax(1)
    for share in shares:
        rule = f"fixed weights {' / '.join(f'{s:g}' for s in share)} of probabilities"
        answers[rule] = np.tensordot(share, probabilities, 1).argmax(1)
    surest = probabilities.max(2).argmax(0)  # (N,)
    rows = np.arange(len(surest))
    answers["hybrid: the more confident branch decides"] = probabilities[surest, rows].argmax(1)
    answers[LEARNED] = judged.logits.argmax(1)
    return answers


def _worth(truth: Ints, said: Ints, classes: int, weights: Array) -> tuple[Array, Array]:
    """Accuracy and macro-F1, (R,) each, for weightings (R, N)."""
    tables = confusions(truth, said, classes, weights)
    return np.trace(tables, axis1=1, axis2=2) / weights.sum(1), macro_f1s(tables)


def _once(truth: Ints) -> Array:
    return np.ones((1, len(truth)))


def _known(value: float, drawn: Array) -> Interval:
    found = interval(value, drawn)
    assert found is not None  # accuracy and macro-F1 always have a value
    return found


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
