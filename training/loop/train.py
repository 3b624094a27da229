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

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError
from orthoedge.training import run_folder as folder
from orthoedge.training.data.index import ImageRecord, write_table
from orthoedge.training.data.loader import batches, steps_per_epoch
from orthoedge.training.data.splits import Splits, split_records
from orthoedge.training.data_quality.leakage import check_leaks
from orthoedge.training.loop.checkpoint import (
    State,
    load_state,
    open_folder,
    record_start,
    save_state,
)
from orthoedge.training.loop.distributed import open_fabric
from orthoedge.training.loop.precision import starting_precision
from orthoedge.training.loop.step import Network, Stepper, learning_rate
from orthoedge.training.loop.task import Data, Finished, Result, Row, Task, TrainedEpoch
from orthoedge.training.model.batch_norm import fix_batch_norms, start_running_statistics
from orthoedge.training.model.weights import model_bytes, read_safetensors
from orthoedge.training.progress import EventLog, Progress, log_epoch, log_progress, log_start
from orthoedge.training.run_folder import EpochRow, RunInfo

_STATISTICS = 32  # batches whose mean and variance fixed normalizations keep


def train(
    task: Task[Network, Data, Row, Result],
    records: Sequence[ImageRecord],
    out: Path,
    weights: Sequence[Path] = (),
    resume: bool = False,
    progress: bool | None = None,
    data: Path | None = None,
    cache: Path | None = None,
    fold: int | None = None,
    splits: Splits | None = None,
) -> Result:
    """Train one network on one split of the data, and write a run folder.

    Args:
        task: what is learned, with its recipe.
        records: the whole set; divided here, by patient.
        out: the run folder.
        weights: safetensors to start from, each a run's model or a backbone's timm state, or
            `imagenet` for timm's of every backbone; later files override earlier ones.
        resume: continue the run in `out`; without a state there, log that and start.
        progress: bars (True), or lines per epoch and minute (False); default: bars on a terminal.
        data: the folder that the paths of split.csv start from; default: the working folder.
        cache: folder that keeps preprocessed images; None: keep them in memory only.
        fold: which of `split.folds` is the test split, from 0.
        splits: the division of the set; None: by the recipe.

    Returns:
        The best epoch's metrics on the test split.

    Raises:
        DataError: unusable images or weights, splits that share a radiograph, `out` already holds
            a run, or the data changed.
        ConfigError: an unknown backbone, a batch that the processes cannot share, a resumed run
            with a different recipe, or no epochs and no weights.
    """
    recipe = task.recipe
    if not recipe.epochs and not weights:
        raise ConfigError("epochs: 0 evaluates the weights of --weights, and there are none")
    precision, measured = starting_precision(recipe, task.build, out if resume else None)
    fabric = open_fabric(recipe, precision)
    first = fabric.is_global_zero
    bars = first and (sys.stderr.isatty() if progress is None else progress)
    resumed: bool = fabric.broadcast(first and open_folder(out, task.recorded, resume))
    splits = splits or split_records(records, recipe.split, fold)

    with fabric.rank_zero_first():  # the first process fills the cache, the others map it
        training = task.read(splits.train, bars, cache)
        drawn = training.stored(recipe.augment.read_size)
        if first:  # the test split too: a bad image must not fail after hours of training
            val, test = (task.read(part, bars, cache) for part in (splits.val, splits.test))
    if fabric.world_size > 1 and len(training) < recipe.batch:
        share = f"which {fabric.world_size} processes cannot share"
        split = f"the {len(training)} of the training split"
        raise ConfigError(f"batch: {recipe.batch} images are more than {split}, {share}")

    network = task.build()
    files = () if resumed else task.weights(weights)
    loaded = tuple(task.load(network, file) for file in files)
    if first:
        if not resumed:
            check_leaks(splits, (training, val, test), recipe.split.by)
        info = RunInfo(
            data=str((data or Path.cwd()).resolve()),
            training_list_sha256=training.list_sha256,
            validation_list_sha256=val.list_sha256,
            test_list_sha256=test.list_sha256,
            precision=precision,
            device=str(fabric.device),
            weights=loaded,
        )
        val, test = (data.cropped(recipe.augment.crop, recipe.seed) for data in (val, test))
        record_start(out, task.recorded, splits, info, resumed, resume)
        log_start(recipe, splits, info, fabric.world_size)
        if measured:
            log_progress(f"{precision}: {measured}")
        task.audit(out, records, resumed)

    network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if recipe.batch_norm == "fixed":
        count = _STATISTICS if recipe.epochs and not resumed else 0
        start = islice(batches(drawn, recipe, 0), count)
        fix_batch_norms(network, (batch.images.to(fabric.device) for batch in start))
    elif not resumed:
        start = islice(batches(drawn, recipe, 0), 4)
        start_running_statistics(network, (batch.images.to(fabric.device) for batch in start))
    steps = steps_per_epoch(len(training), recipe.batch)
    stepper = task.stepper(network, fabric, training, steps)
    state: State[Row] = State()
    if resumed:
        state = load_state(out / folder.STATE, stepper, task.epoch)
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
        trained = _train_epoch(stepper, drawn, epoch, bars)
        validated = task.validate(stepper.validated, val, trained) if first else None
        row: Row = fabric.broadcast(validated)  # type: ignore[assignment]
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
        command = shlex.join((Path(sys.argv[0]).name, *sys.argv[1:]))
        result = task.finish(Finished(out, network, val, test, state.epochs, state.best, command))
        folder.write_record(out / folder.METRICS, result)  # last: a run with it is finished
    return fabric.broadcast(result if first else None)  # type: ignore[return-value]


def _train_epoch(stepper: Stepper[Network], data: Data, epoch: int, bars: bool) -> TrainedEpoch:
    """Train once on every image; loss, score and speed are those of all processes.

    Raises:
        ConfigError: the loss is no longer a number.
    """
    recipe, fabric = stepper.recipe, stepper.fabric
    begun = time.monotonic()
    # For dropout: the same after a resume, and different in every process.
    torch.manual_seed(recipe.seed * 1_000_003 + epoch + (fabric.global_rank << 40))
    stepper.model.train()
    totals = torch.zeros(3, device=fabric.device)  # loss × images, score × images, images
    own = batches(data, recipe, epoch, fabric.global_rank, fabric.world_size)
    with Progress(f"epoch {epoch}/{recipe.epochs}", stepper.steps, bars=bars) as progress:
        for step, batch in enumerate(own):
            totals += stepper(batch, epoch, step)
            progress.advance()
            if bars and step % 10 == 0:  # reading waits for the device
                progress.note(f"loss {totals[0] / totals[2]:.3f}")
    if fabric.world_size > 1:
        totals = fabric.all_reduce(totals, reduce_op="sum")  # type: ignore[assignment]
    loss, score, seen = totals.tolist()
    if not math.isfinite(loss):
        raise ConfigError(f"epoch {epoch}: the loss is {loss}; lower lr ({recipe.lr})")
    return TrainedEpoch(
        number=epoch,
        loss=loss / seen,
        score=score / seen,
        lr=learning_rate(recipe, epoch),
        images_per_second=seen / (time.monotonic() - begun),
        begun=begun,
    )


def _write_log(path: Path, epochs: Sequence[EpochRow]) -> None:
    # Written whole: after a resume no epoch is in it twice.
    fields = type(epochs[0]).__struct_fields__
    write_table(path, fields, map(msgspec.structs.astuple, epochs), newline="\n")
