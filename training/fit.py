"""Training of a classifier: its data, network and metrics, for the loop in `training/loop`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lightning_fabric import Fabric

from orthoedge.benchmarks.metrics import classification as measure
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError
from orthoedge.training import run_folder as folder
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data_quality.shortcut_audit import ShortcutAudit, audit
from orthoedge.training.evaluation.by_source import source_auc
from orthoedge.training.evaluation.plots import write_curves
from orthoedge.training.evaluation.predictions import evaluate, training_metrics
from orthoedge.training.evaluation.report import write_evaluation
from orthoedge.training.loop.task import Finished, Task, TrainedEpoch
from orthoedge.training.loop.train import train
from orthoedge.training.model.ensemble import Ensemble, build
from orthoedge.training.model.hub import WeightsFile, weights_files
from orthoedge.training.model.label_offsets import add_label_offsets, fit_label_offsets
from orthoedge.training.model.weights import WeightsReport, load_weights, model_bytes
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Epoch, TrainingMetrics
from orthoedge.training.step import ClassifierStepper

_CURVES = {
    "train accuracy": "train_accuracy",
    "validation accuracy": "val_accuracy",
    "validation macro-F1": "val_macro_f1",
    "validation AUC": "val_auc",
}


def fit(
    recipe: Recipe,
    records: Sequence[ImageRecord],
    out: Path,
    weights: Sequence[Path] = (),
    resume: bool = False,
    progress: bool | None = None,
    data: Path | None = None,
    cache: Path | None = None,
    fold: int | None = None,
) -> TrainingMetrics:
    """Train one classifier on one split of the data, and write a run folder.

    Args:
        recipe: every setting.
        records: the whole set; divided by patient.
        out: as in `train`, like all that follow.
        weights: safetensors to start from.
        resume: continue the run in `out`.
        progress: bars or lines.
        data: the folder that the paths of split.csv start from.
        cache: folder that keeps preprocessed images.
        fold: which of `split.folds` is the test split.

    Returns:
        The best epoch's metrics on the test split.

    Raises:
        DataError: as `train`.
        ConfigError: as `train`; or several networks to compare, a decoder of masks, or a region.
    """
    if recipe.combine == "compare" and len(recipe.backbones) > 1:
        raise ConfigError("combine: `fit` trains one network; use `compare` for several")
    if recipe.mask.stride:
        raise ConfigError(
            f"mask.stride: {recipe.mask.stride}, but a decoder learns on a finished classifier: "
            f"train with 0 first, then `orthoedge train RUN --set mask.stride={recipe.mask.stride}`"
        )
    if recipe.region is not None:
        raise ConfigError("region: comes from a finished U-Net: `orthoedge train --outlines RUN`")
    task = ClassifierTask(recipe)
    return train(task, records, out, weights, resume, progress, data, cache, fold)


class ClassifierTask(Task[Ensemble, RadiographDataset, Epoch, TrainingMetrics]):
    """Learn the labels."""

    dataset = RadiographDataset
    epoch = Epoch

    def build(self) -> Ensemble:
        """Build the network; see `Task`."""
        network = build(self.recipe)
        seen = self.recipe.preprocess.size if network.region is None else network.region.size
        network.check_maps(self.recipe.augment.crop or seen)
        return network

    def weights(self, given: Sequence[Path]) -> tuple[WeightsFile, ...]:
        """Find the files behind `--weights`; see `Task`."""
        return weights_files(given, self.recipe.backbones)

    def load(self, network: Ensemble, file: WeightsFile) -> WeightsReport:
        """Load the tensors of a file; see `Task`."""
        return load_weights(network, file)

    def audit(self, out: Path, records: Sequence[ImageRecord], resumed: bool) -> None:
        """Write the shortcut audit of the set, and log it."""
        path = out / folder.SHORTCUTS
        if not resumed or not path.is_file():  # a resumed run has its audit
            folder.write_record(path, audit(records, self.recipe.labels, self.recipe.split.seed))
        for line in folder.read_record(path, ShortcutAudit).lines():
            log_progress(line)

    def stepper(
        self, network: Ensemble, fabric: Fabric, train: RadiographDataset, steps: int
    ) -> ClassifierStepper:
        """Set up the training of a network; see `Task`."""
        return ClassifierStepper(self.recipe, network, fabric, train.labels, steps)

    def validate(self, network: Ensemble, val: RadiographDataset, trained: TrainedEpoch) -> Epoch:
        """Measure an epoch on the validation split; see `Task`."""
        evaluation = evaluate(network, val)
        return Epoch(
            epoch=trained.number,
            train_loss=trained.loss,
            train_accuracy=trained.score,
            val_loss=evaluation.loss,
            val_accuracy=evaluation.accuracy,
            val_macro_f1=measure.macro_f1(evaluation.confusion),
            val_auc=source_auc(evaluation.logits, val) if self.recipe.source_labels else None,
            lr=trained.lr,
            seconds=trained.seconds,
            images_per_second=trained.images_per_second,
        )

    def finish(self, run: Finished[Ensemble, RadiographDataset, Epoch]) -> TrainingMetrics:
        """Evaluate on the test split; with `source_labels`, fit the logits' offsets first."""
        recipe, network, out = self.recipe, run.network, run.out
        if recipe.source_labels:
            offsets = fit_label_offsets(evaluate(network, run.val).logits, run.val.labels)
            add_label_offsets(network, offsets)
            write_atomic(out / folder.MODEL, model_bytes(network))
            shown = ", ".join(
                f"{label} {offset:+.2f}"
                for label, offset in zip(recipe.labels, offsets, strict=True)
            )
            log_progress(f"offsets of the logits, from the validation split: {shown}")
        shortcuts = folder.read_record(out / folder.SHORTCUTS, ShortcutAudit)
        evaluation = evaluate(network, run.test)
        if run.epochs:
            write_curves(out / "curves.png", run.epochs, run.best, _CURVES, "cross-entropy")
            score = run.epochs[run.best - 1].val_macro_f1
        else:
            score = measure.macro_f1(evaluate(network, run.val).confusion)
        done = len(run.epochs)
        result = training_metrics(evaluation, run.test, recipe, network, score, run.best, done)
        report = out / folder.EVALUATION
        write_evaluation(report, evaluation, run.test, recipe, network, shortcuts, run.command)
        _log_result(result, shortcuts, out)
        return result


def _log_result(result: TrainingMetrics, shortcuts: ShortcutAudit, out: Path) -> None:
    """Log one line on the test split, and the warning of the shortcut audit if there is one."""
    pointing = "" if result.pointing_game is None else f", pointing {result.pointing_game:.3f}"
    log_progress(
        f"test: accuracy {result.accuracy:.3f}, macro-F1 {result.macro_f1:.3f}, ECE "
        f"{result.expected_calibration_error:.3f}{pointing} (epoch {result.best_epoch}) -> {out}"
    )
    if shortcuts.warns:
        log_progress(f"warning: {shortcuts.warning}")
