"""Shortcut audit: can the class be predicted without looking at anatomy?

A network takes the easiest way to the label. Where each class comes from a different hospital or
export, that way is the file and not the lesion, and accuracy measures the wrong thing
(Geirhos et al., Nature Machine Intelligence 2, 665-673, 2020).
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import msgspec
import numpy as np
from matplotlib.figure import Figure
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import DataError
from orthoedge.training.data.index import ImageRecord, check_labels
from orthoedge.training.data_quality.shortcut_features import shortcut_features

matplotlib.use("Agg")

_MOST = 2000  # images: the interval is then ±0.02, and a set of any size takes under a minute
_MARGIN = 0.1  # above chance; sets whose classes differ by anatomy alone stay below
_FOLDS, _TREES, _DRAWS = 5, 40, 1000
TOGETHER = "together"


class Shortcut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Accuracy of predicting the class from one family of features, or from all together."""

    family: str
    """source, site, size, border, exposure, or together."""
    balanced_accuracy: float
    """Mean recall of the classes, over predictions for patients not trained on."""
    low: float
    """Lower end of its 95 % interval, by bootstrap over patients."""
    high: float
    """Upper end."""


class ShortcutAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """shortcuts.json: the accuracy of a classifier that sees no anatomy."""

    images: int
    """Images in the audit."""
    chance: float
    """1 / classes."""
    margin: float
    """The audit warns where a lower end is more than this above chance."""
    families: tuple[Shortcut, ...]
    """In the order of the table; a source or site that all images share is left out."""

    def shortcuts(self) -> tuple[Shortcut, ...]:
        """Families that predict the class."""
        return tuple(f for f in self.families if f.low > self.chance + self.margin)

    @property
    def warns(self) -> bool:
        """True if a classifier that sees no anatomy is accurate on this set."""
        return bool(self.shortcuts())

    @property
    def warning(self) -> str:
        """The shortcuts in one sentence; empty if there are none."""
        if not self.warns:
            return ""
        first, *others = sorted(
            self.shortcuts(), key=lambda f: (f.family == TOGETHER, -f.balanced_accuracy)
        )
        subject = "all of these" if first.family == TOGETHER else f"{first.family} alone"
        more = "".join(f", {f.family} with {f.balanced_accuracy:.0%}" for f in others)
        return (
            f"{subject} predicts the class with {first.balanced_accuracy:.0%} "
            f"(chance {self.chance:.0%}){more}: accuracy on this set says little about diagnosis"
        )

    def lines(self) -> list[str]:
        """Lines for a terminal: every family, and the warning if there is one."""
        scores = ", ".join(f"{f.family} {f.balanced_accuracy:.0%}" for f in self.families)
        line = f"shortcuts: {scores} (balanced accuracy, chance {self.chance:.0%})"
        return [line, f"warning: {self.warning}"] if self.warns else [line]

    def markdown(self) -> str:
        """Table for a report, with the warning below it if there is one."""
        rows = [
            f"| {f.family} | {f.balanced_accuracy:.3f} | {f.low:.3f} to {f.high:.3f} | "
            f"{'yes' if f in self.shortcuts() else 'no'} |"
            for f in self.families
        ]
        verdict = f"**Warning:** {self.warning}." if self.warns else "No shortcut was detected."
        lines = [
            "| what is known of an image | balanced accuracy | 95 % interval | warns |",
            "| --- | --- | --- | --- |",
            *rows,
            f"\n{self.images} images; chance is {self.chance:.3f}, and the audit warns where the "
            f"lower end is above {self.chance + self.margin:.3f}. {verdict}\n",
        ]
        return "\n".join(lines)


def audit(records: Sequence[ImageRecord], labels: Sequence[str], seed: int) -> ShortcutAudit:
    """Cross-validate a random forest on each family of features, and on all together.

    At most 2,000 images are read, with the classes as balanced as possible. The result depends on
    the images and the seed, not on the order of the index.

    Args:
        records: a labelled set.
        labels: its classes.
        seed: of the sample, the folds, the forests and the bootstrap.

    Raises:
        DataError: labels and images do not match, or there is one class, or a class of one patient.
        InputError: a file is not a radiograph.
    """
    check_labels(records, labels)
    if len(labels) < 2:
        raise DataError(f"all images have the label {labels[0]}; the shortcut audit needs two")
    chosen = _sample(records, seed)
    classes = np.array([labels.index(s.label) for s in chosen])
    patients = np.unique([s.patient_id for s in chosen], return_inverse=True)[1]
    folds = _FOLDS
    for index, label in enumerate(labels):
        count = len(np.unique(patients[classes == index]))
        if count < 2:
            raise DataError(f"label {label}: {count} patient; the shortcut audit needs two or more")
        folds = min(folds, count)
    features = shortcut_features(chosen)
    features[TOGETHER] = np.hstack(list(features.values()))
    rng = np.random.default_rng(seed)
    total = patients.max() + 1
    draws = rng.multinomial(total, np.full(total, 1 / total), _DRAWS).astype(np.float64)
    families = []
    for family, values in features.items():
        forest = RandomForestClassifier(
            _TREES, min_samples_leaf=3, class_weight="balanced", random_state=seed
        )
        splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
        predicted = cross_val_predict(forest, values, classes, groups=patients, cv=splitter)
        counts = np.zeros((2, total, len(labels)))  # images and correct predictions, per patient
        np.add.at(counts[0], (patients, classes), 1)
        np.add.at(counts[1], (patients, classes), predicted == classes)
        with np.errstate(invalid="ignore"):  # a draw without a class leaves the others
            drawn = np.nanmean((draws @ counts[1]) / (draws @ counts[0]), axis=1)
        low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
        score = float(np.mean(counts[1].sum(0) / counts[0].sum(0)))
        families.append(Shortcut(family=family, balanced_accuracy=score, low=low, high=high))
    return ShortcutAudit(
        images=len(chosen), chance=1 / len(labels), margin=_MARGIN, families=tuple(families)
    )


def write_shortcuts(path: Path, audited: ShortcutAudit) -> None:
    """Plot a bar per family with its interval, and lines at chance and at the limit, as a PNG."""
    rows = audited.families[::-1]
    scores = np.array([f.balanced_accuracy for f in rows])
    ends = np.array([(f.low, f.high) for f in rows]).T
    reach = np.maximum(0, (scores - ends[0], ends[1] - scores))
    figure = Figure(figsize=(6, 1.1 + 0.4 * len(rows)), layout="constrained")
    axis = figure.subplots()
    colours = ["tab:red" if f in audited.shortcuts() else "tab:blue" for f in rows]
    axis.barh([f.family for f in rows], scores, xerr=reach, color=colours, capsize=3)
    axis.axvline(audited.chance, color="black", ls=":", label="chance")
    limit = audited.chance + audited.margin
    axis.axvline(limit, color="tab:red", ls=":", label="limit of the warning")
    axis.set_xlim(0, 1.02)
    axis.set_xlabel("balanced accuracy without anatomy, 95 % interval")
    axis.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomic(path, buffer.getvalue())


def _sample(records: Sequence[ImageRecord], seed: int) -> list[ImageRecord]:
    """Draw at most `_MOST` images, one of each class in turn until the classes run out."""
    ordered = sorted(records, key=lambda s: str(s.path))
    ranked: list[tuple[int, int]] = []
    seen: Counter[str] = Counter()
    for index in np.random.default_rng(seed).permutation(len(ordered)).tolist():
        ranked.append((seen[ordered[index].label], index))
        seen[ordered[index].label] += 1
    return [ordered[index] for index in sorted(i for _, i in sorted(ranked)[:_MOST])]
