"""comparison.json, comparison.md and comparison.png: the networks of a comparison."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from orthoedge.benchmarks.schema import Interval
from orthoedge.runtime.atomic_files import together, write_atomic
from orthoedge.runtime.errors import DataError
from orthoedge.training import run_folder as folder
from orthoedge.training.evaluation.markdown import table
from orthoedge.training.evaluation.plots import COLOURS, save
from orthoedge.training.evaluation.schema import JSON as EVALUATION
from orthoedge.training.evaluation.schema import EvaluationReport
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Record, TrainingMetrics

JSON, MARKDOWN, FIGURE = "comparison.json", "comparison.md", "comparison.png"


@dataclass(frozen=True)
class Task:
    """One run of a comparison."""

    name: str
    """Path of its folder within the comparison's: `resnet50/fold0`."""
    network: str
    """Names of its backbones, joined by +."""
    fold: int | None
    recipe: Recipe


class Member(Record, frozen=True):
    """One finished run; scores are of its test split."""

    name: str
    """Path of its folder within the comparison's."""
    network: str
    fold: int | None
    images: int
    """Of the test split."""
    accuracy: Interval
    """With its 95 % interval by bootstrap, as the other scores."""
    macro_f1: Interval
    recall: dict[str, Interval]
    """Per label."""
    pointing_game: float | None
    val_macro_f1: float
    """Of the best epoch on the validation split."""
    best_epoch: int
    seconds_per_epoch: float
    """Median, with validation."""


class Spread(Record, frozen=True):
    """A score over the runs of one network."""

    mean: float
    low: float
    """Lower end of the run's 95 % interval; with folds, mean minus standard deviation (n - 1)."""
    high: float
    """Upper end, likewise."""
    folds: int
    """0 for a single run."""

    def __str__(self) -> str:
        if self.folds:
            return f"{self.mean:.3f} ± {self.high - self.mean:.3f}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


class Row(Record, frozen=True):
    """One network."""

    network: str
    members: tuple[Member, ...]
    """Its runs: one, or one per fold."""
    accuracy: Spread
    macro_f1: Spread
    alert_recall: dict[str, Spread]
    """Recall of the recipe's alert labels."""
    val_macro_f1: float
    """Mean over its runs."""
    parameters: int
    macs: int
    """Multiply-accumulates of one image."""
    seconds_per_epoch: float


class Comparison(Record, frozen=True):
    """comparison.json."""

    recipe: str
    size: int
    """Side of the images in pixels."""
    folds: int
    """0 for a single split."""
    rows: tuple[Row, ...]
    """In the recipe's order."""
    best: str
    """Network of the best mean validation macro-F1; the test splits are not used."""

    @classmethod
    def of(
        cls, recipe: Recipe, members: Sequence[Member], costs: Mapping[str, tuple[int, int]]
    ) -> Comparison:
        """Summarise finished runs.

        Args:
            recipe: of the comparison.
            members: its runs.
            costs: multiply-accumulates and parameters of each network.
        """
        alerts = recipe.compress.alert_labels
        rows = []
        for network, (macs, parameters) in costs.items():
            own = tuple(m for m in members if m.network == network)
            row = Row(
                network=network,
                members=own,
                accuracy=_spread([m.accuracy for m in own]),
                macro_f1=_spread([m.macro_f1 for m in own]),
                alert_recall={a: _spread([m.recall[a] for m in own]) for a in alerts},
                val_macro_f1=statistics.fmean(m.val_macro_f1 for m in own),
                parameters=parameters,
                macs=macs,
                seconds_per_epoch=statistics.median(m.seconds_per_epoch for m in own),
            )
            rows.append(row)
        return cls(
            recipe=recipe.name,
            size=recipe.preprocess.size,
            folds=recipe.split.folds,
            rows=tuple(rows),
            best=max(rows, key=lambda row: row.val_macro_f1).network,
        )

    def lines(self) -> list[str]:
        """Lines for the log: one per network."""
        return [
            f"{row.network}: accuracy {row.accuracy}, macro-F1 {row.macro_f1}"
            + (" (best by validation)" if row.network == self.best else "")
            for row in self.rows
        ]


def read_member(out: Path, task: Task) -> Member:
    """Read the scores of a finished run of the comparison in `out`.

    Raises:
        DataError: a file is missing or damaged.
    """
    run = out / task.name
    metrics = folder.read_record(run / folder.METRICS, TrainingMetrics)
    report = folder.read_record(run / folder.EVALUATION / EVALUATION, EvaluationReport)
    try:
        with (run / folder.LOG).open(newline="", encoding="utf-8") as lines:
            seconds = [float(row["seconds"]) for row in csv.DictReader(lines)]
    except (OSError, KeyError, ValueError) as error:
        raise DataError(f"{run / folder.LOG}: not a log that `orthoedge train` wrote") from error
    return Member(
        name=task.name,
        network=task.network,
        fold=task.fold,
        images=metrics.images,
        accuracy=report.accuracy,
        macro_f1=report.macro_f1,
        recall={label: s.recall for label, s in report.classes.items() if s.recall},
        pointing_game=metrics.pointing_game,
        val_macro_f1=metrics.val_macro_f1,
        best_epoch=metrics.best_epoch,
        seconds_per_epoch=statistics.median(seconds),
    )


def write_comparison(out: Path, comparison: Comparison) -> None:
    """Write the three files, the JSON last."""
    with together(out, JSON) as new:
        _write_figure(new / FIGURE, comparison)
        write_atomic(new / MARKDOWN, _markdown(comparison).encode())
        folder.write_record(new / JSON, comparison)


def _spread(scores: Sequence[Interval]) -> Spread:
    if len(scores) == 1:
        only = scores[0]
        return Spread(mean=only.value, low=only.low, high=only.high, folds=0)
    values = [score.value for score in scores]
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return Spread(mean=mean, low=mean - deviation, high=mean + deviation, folds=len(values))


def _markdown(comparison: Comparison) -> str:
    alerts = list(comparison.rows[0].alert_recall)
    header = ["network", "accuracy", "macro-F1", *(f"recall, {label}" for label in alerts)]
    header += ["validation macro-F1", "parameters", "MACs", "s/epoch"]
    lines = []
    for row in comparison.rows:
        name = f"**{row.network}**" if row.network == comparison.best else row.network
        scores = [row.accuracy, row.macro_f1, *row.alert_recall.values(), f"{row.val_macro_f1:.3f}"]
        cost = (f"{row.parameters / 1e6:.2f} M", f"{row.macs / 1e6:.0f} M")
        lines.append((name, *scores, *cost, f"{row.seconds_per_epoch:.1f}"))
    images = sum(member.images for member in comparison.rows[0].members)
    how = f"the mean and standard deviation over {comparison.folds} folds, each the test split once"
    what = how if comparison.folds else "of one test split, with 95 % intervals by bootstrap"
    return (
        f"# {comparison.recipe}: {len(comparison.rows)} network(s), one protocol\n\n"
        + table(header, lines)
        + f"\n\nScores are {what}; {images} test images at {comparison.size} px. The network in "
        "bold is the best by validation macro-F1. MACs are multiply-accumulates of one image.\n"
    )


def _write_figure(path: Path, comparison: Comparison) -> None:
    """Plot scores per network, with a dot per run, and MACs."""
    rows = comparison.rows
    figure = Figure(figsize=(10, 1.6 + 0.55 * len(rows)), layout="constrained")
    score, cost = figure.subplots(1, 2, width_ratios=(3, 2))
    alerts = list(rows[0].alert_recall)
    names = ["accuracy", "macro-F1", *(f"recall, {label}" for label in alerts)]
    for index, name in enumerate(names):
        shift, colour = 0.22 * (index - (len(names) - 1) / 2), COLOURS[index % len(COLOURS)]
        spreads = [(r.accuracy, r.macro_f1, *r.alert_recall.values())[index] for r in rows]
        for at, row in enumerate(rows):
            if len(row.members) > 1:
                runs = [
                    (m.accuracy, m.macro_f1, *(m.recall[label] for label in alerts))
                    for m in row.members
                ]
                dots = [run[index].value for run in runs]
                score.plot(dots, [at + shift] * len(dots), ".", color=colour, alpha=0.4)
        means = np.array([s.mean for s in spreads])
        ends = np.array([(s.low, s.high) for s in spreads]).T
        # A percentile interval need not hold the value itself.
        reach = np.maximum(0, (means - ends[0], ends[1] - means))
        style = {"fmt": "os^Dv"[index % 5], "color": colour, "capsize": 3, "label": name}
        score.errorbar(means, np.arange(len(rows)) + shift, xerr=reach, **style)
    folds = f"mean ± standard deviation of {comparison.folds} folds"
    score.set_xlabel(f"test score, {folds if comparison.folds else '95 % interval'}")
    score.set_xlim(-0.02, 1.02)
    score.legend(fontsize=8, loc="best")
    cost.barh(range(len(rows)), [row.macs / 1e9 for row in rows], color="0.7")
    for at, row in enumerate(rows):
        text = f" {row.parameters / 1e6:.1f} M parameters"
        cost.text(row.macs / 1e9, at, text, va="center", fontsize=8)
    cost.set_xlim(0, 1.7 * max(row.macs for row in rows) / 1e9)
    cost.set_xlabel(f"billion multiply-accumulates at {comparison.size} px")
    for axis, labels in ((score, [row.network for row in rows]), (cost, [""] * len(rows))):
        axis.set_yticks(range(len(rows)), labels)
        axis.set_ylim(len(rows) - 0.5, -0.5)  # the first on top
        axis.grid(axis="x", alpha=0.3)
    save(figure, path)
