"""The training loop, to be read from top to bottom.

Each epoch ends with the best weights, then the state, then the log, each written atomically. A
process killed at any moment therefore loses the epoch it was in and nothing else, and `resume`
repeats that epoch from the same random numbers.

Under `torchrun` every process runs this function on its share of each batch. Only the first one
reads the validation split, evaluates, writes and logs; its decisions are broadcast.
"""

from __future__ import annotations

import math
import shlex
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec
import torch

from orthoedge.benchmarks.metrics import classification as measure
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError
from orthoedge.training import run_folder as folder
from orthoedge.training.checkpoint import State, load_state, open_folder, record_start, save_state
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord, list_sha256, write_table
from orthoedge.training.data.loader import batches, steps_per_epoch
from orthoedge.training.data.splits import split_records
from orthoedge.training.data_quality.leakage import check_leaks
from orthoedge.training.data_quality.shortcut_audit import ShortcutAudit, audit
from orthoedge.training.distributed import open_fabric, training_precision
from orthoedge.training.evaluation.by_source import source_auc
from orthoedge.training.evaluation.plots import write_curves
from orthoedge.training.evaluation.predictions import evaluate, training_metrics
from orthoedge.training.evaluation.report import write_evaluation
from orthoedge.training.model.batch_norm import fix_batch_norms, start_running_statistics
from orthoedge.training.model.ensemble import build
from orthoedge.training.model.hub import weights_files
from orthoedge.training.model.label_offsets import add_label_offsets, fit_label_offsets
from orthoedge.training.model.weights import load_weights, model_bytes, read_safetensors
from orthoedge.training.progress import (
    EventLog,
    Progress,
    log_epoch,
    log_progress,
    log_result,
    log_start,
)
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Epoch, RunInfo, TrainingMetrics
from orthoedge.training.step import Stepper, learning_rate

_STATISTICS = 32  # batches whose mean and variance fixed normalizations keep


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
    """Train one network on one split of the data, and write a run folder.

    Args:
        recipe: every setting.
        records: the whole set; divided here, by patient.
        out: the run folder.
        weights: safetensors to start from, each a run's model or a backbone's timm state, or
            `imagenet` for timm's of every backbone; later files override earlier ones.
        resume: continue the run in `out`; without a state there, log that and start.
        progress: bars (True), or lines per epoch and minute (False); default: bars on a terminal.
        data: the folder that the paths of split.csv start from; default: the working folder.
        cache: folder that keeps preprocessed images; None: keep them in memory only.
        fold: which of `split.folds` is the test split, from 0.

    Returns:
        The best epoch's metrics on the test split.

    Raises:
        DataError: unusable images or weights, splits that share a radiograph, `out` already holds
            a run, or the data changed.
        ConfigError: an unknown backbone, several networks to compare, a batch that the processes
            cannot share, or a resumed run with a different recipe.
    """
    if recipe.combine == "compare" and len(recipe.backbones) > 1:
        raise ConfigError("combine: `fit` trains one network; use `compare` for several")
    if not recipe.epochs and not weights:
        raise ConfigError("epochs: 0 evaluates the weights of --weights, and there are none")
    fabric = open_fabric(recipe)
    first = fabric.is_global_zero
    bars = first and (sys.stderr.isatty() if progress is None else progress)
    resumed: bool = fabric.broadcast(first and open_folder(out, recipe, resume))
    splits = split_records(records, recipe.split, fold)

    def read(part: Sequence[ImageRecord]) -> RadiographDataset:
        own = recipe.source_labels
        return RadiographDataset(part, recipe.labels, recipe.preprocess, bars, cache, own)

    with fabric.rank_zero_first():  # the first process fills the cache, the others map it
        train = read(splits.train)
        drawn = train.stored(recipe.augment.read_size)
        if first:  # the test split too: a bad image must not fail after hours of training
            val, test = read(splits.val), read(splits.test)
    if fabric.world_size > 1 and len(train) < recipe.batch:
        share = f"which {fabric.world_size} processes cannot share"
        split = f"the {len(train)} of the training split"
        raise ConfigError(f"batch: {recipe.batch} images are more than {split}, {share}")

    network = build(recipe)
    network.check_maps(recipe.augment.crop or recipe.preprocess.size)
    files = () if resumed else weights_files(weights, recipe.backbones)
    loaded = tuple(load_weights(network, file) for file in files)
    if first:
        if not resumed:
            check_leaks(splits, (train, val, test), recipe.split.by)
        info = RunInfo(
            data=str((data or Path.cwd()).resolve()),
            training_list_sha256=list_sha256(splits.train, train.digests),
            validation_list_sha256=list_sha256(splits.val, val.digests),
            test_list_sha256=list_sha256(splits.test, test.digests),
            precision=training_precision(recipe),
            device=str(fabric.device),
            weights=loaded,
        )
        val, test = (data.cropped(recipe.augment.crop, recipe.seed) for data in (val, test))
        record_start(out, recipe, splits, info, resumed, resume)
        log_start(recipe, splits, info, fabric.world_size)
        path = out / folder.SHORTCUTS
        if not resumed or not path.is_file():  # a resumed run has its audit
            folder.write_record(path, audit(records, recipe.labels, recipe.split.seed))
        shortcuts = folder.read_record(path, ShortcutAudit)
        for line in shortcuts.lines():
            log_progress(line)

    network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.batch_norm == "fixed":
        count = _STATISTICS if recipe.epochs and not resumed else 0
        start = islice(batches(drawn, recipe, 0), count)
        fix_batch_norms(network, (batch.images.to(fabric.device) for batch in start))
    elif not resumed:
        start = islice(batches(drawn, recipe, 0), 4)
        start_running_statistics(network, (batch.images.to(fabric.device) for batch in start))
    steps = steps_per_epoch(len(train), recipe.batch)
    stepper = Stepper(recipe, network, fabric, train.labels, steps)
    state = State()
    if resumed:
        state = load_state(out / folder.STATE, stepper)
        note = ", its weights replace --weights" if weights else ""
        log_progress(f"resuming after epoch {len(state.epochs)}{note}")
    done, started = len(state.epochs), time.monotonic()
    if first:
        events = EventLog(out / "tensorboard", max(done, 1))
        if done:  # the kill may have come between the state and the log
            _write_log(out / folder.LOG, state.epochs)
            events.add(state.epochs[-1])

    for epoch in range(done + 1, recipe.epochs + 1):
        if recipe.patience and state.stale >= recipe.patience:
            log_progress(f"stopped: no better epoch in {recipe.patience}")
            break
        begun = time.monotonic()
        trained = _train_epoch(stepper, drawn, epoch, bars)
        validated = _validate(stepper, val, epoch, trained, begun) if first else None
        row: Epoch = fabric.broadcast(validated)  # type: ignore[assignment]
        better = state.add(row)
        if first:
            if better:
                write_atomic(out / folder.MODEL, model_bytes(stepper.validated))
            save_state(out / folder.STATE, stepper, state)
            _write_log(out / folder.LOG, state.epochs)
            events.add(row)
            left = (time.monotonic() - started) / (epoch - done) * (recipe.epochs - epoch)
            log_epoch(row, recipe.epochs, better, left)

    if first:
        if not state.epochs:  # the weights that were given are the result
            write_atomic(out / folder.MODEL, model_bytes(stepper.validated))
        tensors, _ = read_safetensors(out / folder.MODEL)
        network.load_state_dict(tensors)
        if recipe.source_labels:
            offsets = fit_label_offsets(evaluate(network, val).logits, val.labels)
            add_label_offsets(network, offsets)
            write_atomic(out / folder.MODEL, model_bytes(network))
            shown = ", ".join(
                f"{label} {offset:+.2f}"
                for label, offset in zip(recipe.labels, offsets, strict=True)
            )
            log_progress(f"offsets of the logits, from the validation split: {shown}")
        evaluation = evaluate(network, test)
        if state.epochs:
            write_curves(out / "curves.png", state.epochs, state.best)
            score = state.epochs[state.best - 1].val_macro_f1
        else:
            score = measure.macro_f1(evaluate(network, val).confusion)
        done = len(state.epochs)
        result = training_metrics(evaluation, test, recipe, network, score, state.best, done)
        command = shlex.join((Path(sys.argv[0]).name, *sys.argv[1:]))
        report = out / folder.EVALUATION
        write_evaluation(report, evaluation, test, recipe, network, shortcuts, command)
        folder.write_record(out / folder.METRICS, result)  # last: a run with it is finished
        log_result(result, shortcuts, out)
    return fabric.broadcast(result if first else None)  # type: ignore[return-value]


def _train_epoch(
    stepper: Stepper, train: RadiographDataset, epoch: int, bars: bool
) -> tuple[float, float, float]:
    """Train once on every image; return loss, accuracy and images per second of all processes.

    Raises:
        ConfigError: the loss is no longer a number.
    """
    recipe, fabric = stepper.recipe, stepper.fabric
    started = time.monotonic()
    # For dropout: the same after a resume, and different in every process.
    torch.manual_seed(recipe.seed * 1_000_003 + epoch + (fabric.global_rank << 40))
    stepper.model.train()
    totals = torch.zeros(3, device=fabric.device)  # loss × images, correct, images
    own = batches(train, recipe, epoch, fabric.global_rank, fabric.world_size)
    with Progress(f"epoch {epoch}/{recipe.epochs}", stepper.steps, bars=bars) as progress:
        for step, batch in enumerate(own):
            totals += stepper(batch, epoch, step)
            progress.advance()
            if bars and step % 10 == 0:  # reading waits for the device
                progress.note(f"loss {totals[0] / totals[2]:.3f}")
    if fabric.world_size > 1:
        totals = fabric.all_reduce(totals, reduce_op="sum")  # type: ignore[assignment]
    loss, hits, seen = totals.tolist()
    if not math.isfinite(loss):
        raise ConfigError(f"epoch {epoch}: the loss is {loss}; lower lr ({recipe.lr})")
    return loss / seen, hits / seen, seen / (time.monotonic() - started)


def _validate(
    stepper: Stepper,
    val: RadiographDataset,
    epoch: int,
    trained: tuple[float, float, float],
    begun: float,
) -> Epoch:
    evaluation = evaluate(stepper.validated, val)
    return Epoch(
        epoch=epoch,
        train_loss=trained[0],
        train_accuracy=trained[1],
        val_loss=evaluation.loss,
        val_accuracy=evaluation.accuracy,
        val_macro_f1=measure.macro_f1(evaluation.confusion),
        val_auc=source_auc(evaluation.logits, val) if stepper.recipe.source_labels else None,
        lr=learning_rate(stepper.recipe, epoch),
        seconds=time.monotonic() - begun,
        images_per_second=trained[2],
    )


def _write_log(path: Path, epochs: Sequence[Epoch]) -> None:
    # Written whole: after a resume no epoch is in it twice.
    write_table(path, Epoch.__struct_fields__, map(msgspec.structs.astuple, epochs), newline="\n")
