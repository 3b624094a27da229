"""The training loop, to be read from top to bottom.

Each epoch ends with the best weights, then the state, then the log, each written atomically. A
process killed at any moment therefore loses the epoch it was in and nothing else, and `resume`
repeats that epoch from the same random numbers.
"""

from __future__ import annotations

import io
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn import functional as F
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from orthoedge.benchmarks import metrics as measure
from orthoedge.runtime.errors import DataError, RecipeError
from orthoedge.runtime.files import write_atomic
from orthoedge.training import run as folder
from orthoedge.training.batches import batches, class_weights, steps_per_epoch
from orthoedge.training.data import Radiographs, Study, list_sha256, split
from orthoedge.training.ensemble import Ensemble
from orthoedge.training.evaluation import evaluate, training_metrics
from orthoedge.training.norms import start_running_statistics
from orthoedge.training.plots import write_confusion, write_curves
from orthoedge.training.recipe import Recipe
from orthoedge.training.run import Epoch, Report, TrainingMetrics
from orthoedge.training.weights import load_weights, model_bytes, read_safetensors


@dataclass
class _State:
    """What `--resume` continues from, beside the weights and the optimizer."""

    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0
    """Epoch of the best weights, from 1; 0 before the first."""

    @property
    def stale(self) -> int:
        """Epochs since the best one."""
        return len(self.epochs) - self.best


def fit(
    recipe: Recipe,
    studies: Sequence[Study],
    out: Path,
    weights: Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
    data: Path | None = None,
) -> TrainingMetrics:
    """Train an ensemble and leave a run folder behind.

    Args:
        recipe: every setting.
        studies: the whole set; divided here, by group.
        out: the run folder.
        weights: safetensors to start from: a run's model, or a backbone's timm state.
        resume: go on where a run in `out` was stopped; without a state there, say so and start.
        progress: bars (True) or one line per epoch (False); default: bars on a terminal.
        data: the folder that split.csv names its paths from; default: the working folder.

    Returns:
        The best epoch's metrics on the test part.

    Raises:
        DataError: unusable studies or weights, `out` already holds a run, or the data changed.
        RecipeError: an unknown backbone, or a resumed run with another recipe.
    """
    bars = sys.stderr.isatty() if progress is None else progress
    data = Path.cwd() if data is None else data
    resumed = _open_folder(out, recipe, resume)
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    precision = training_precision(recipe)
    fabric = Fabric(accelerator="auto", devices=1, precision=precision)  # type: ignore[arg-type]
    fabric.seed_everything(recipe.seed, verbose=False)

    parts = split(studies, recipe.split)
    network = Ensemble(recipe.backbones, len(recipe.labels), recipe.fusion, recipe.dropout)
    loaded = load_weights(network, weights) if weights is not None and not resumed else None
    report = Report(
        data=str(data.resolve()),
        training_list_sha256=list_sha256(parts.train),
        validation_list_sha256=list_sha256(parts.val),
        test_list_sha256=list_sha256(parts.test),
        precision=precision,
        device=str(fabric.device),
        weights=loaded,
    )
    if resumed:
        _check_same_data(report, folder.read_record(out / folder.REPORT, Report), out)
    else:
        folder.write_split(out / folder.SPLIT, parts, data.resolve())
        folder.write_record(out / folder.REPORT, report)
        folder.write_record(out / folder.RECIPE, recipe)
    train = Radiographs(parts.train, recipe.labels, recipe.preprocess, bars)
    val = _view(Radiographs(parts.val, recipe.labels, recipe.preprocess, bars), recipe)
    # Read before training, so that a bad test image is not found after it.
    test = _view(Radiographs(parts.test, recipe.labels, recipe.preprocess, bars), recipe)
    crops = f" in crops of {recipe.augment.crop}" if recipe.augment.crop else ""
    _say(
        f"{recipe.name}: {len(parts.train)} train, {len(parts.val)} val, {len(parts.test)} test "
        f"images at {recipe.preprocess.size} px{crops}; {precision} on {fabric.device}, "
        f"{torch.get_num_threads()} threads"
    )
    if loaded is not None:
        _say(loaded.line())

    network.to(fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not resumed:
        start_running_statistics(
            network,
            (images.to(fabric.device) for images, _ in islice(batches(train, recipe, 0), 4)),
        )
    optimizer = torch.optim.Adam(
        network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True
    )
    model, optimizer = fabric.setup(network, optimizer)
    state = _State()
    if resumed:
        state = _load_state(out / folder.STATE, network, optimizer)
        given = ", its weights replace --weights" if weights is not None else ""
        _say(f"resuming after epoch {len(state.epochs)}{given}")
    loss_weights = class_weights(train.labels, len(recipe.labels), recipe).to(fabric.device)
    steps = steps_per_epoch(len(train), recipe.batch)
    started, first = time.monotonic(), len(state.epochs)

    writer = SummaryWriter(str(out / "tensorboard"), purge_step=len(state.epochs) + 1)
    for epoch in range(len(state.epochs) + 1, recipe.epochs + 1):
        if recipe.patience and state.stale >= recipe.patience:
            _say(f"no better epoch in {recipe.patience}: stopped")
            break
        epoch_started = time.monotonic()
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)  # dropout, the same after a resume
        model.train()
        total_loss, hits, seen, rate = 0.0, 0, 0, recipe.lr
        bar = tqdm(
            batches(train, recipe, epoch),
            f"epoch {epoch}/{recipe.epochs}",
            steps,
            unit="batch",
            disable=not bars,
            leave=False,
        )
        for step, (images, truth) in enumerate(bar):
            rate = learning_rate(recipe, epoch - 1 + (step + 1) / steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            images, truth = fabric.to_device((images, truth))
            logits = model(images)  # uint8 (B, 1, S, S) -> (B, C)
            loss = F.cross_entropy(logits, truth, weight=loss_weights)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            optimizer.step()
            total_loss += loss.item() * len(truth)
            hits += int((logits.argmax(1) == truth).sum())
            seen += len(truth)
            bar.set_postfix_str(f"loss {total_loss / seen:.3f}")
        if not math.isfinite(total_loss):
            raise RecipeError(f"epoch {epoch}: the loss is {total_loss}; lower lr ({recipe.lr})")
        training_seconds = time.monotonic() - epoch_started
        judged = evaluate(network, val)
        row = Epoch(
            epoch=epoch,
            train_loss=total_loss / seen,
            train_accuracy=hits / seen,
            val_loss=judged.loss,
            val_accuracy=judged.accuracy,
            val_macro_f1=measure.macro_f1(judged.confusion),
            lr=rate,
            seconds=time.monotonic() - epoch_started,
            images_per_second=seen / training_seconds,
        )
        state.epochs.append(row)
        if state.best == 0 or _score(row) > _score(state.epochs[state.best - 1]):
            state.best = epoch
            write_atomic(out / folder.MODEL, model_bytes(network))
        _save_state(out / folder.STATE, network, optimizer, state)
        _write_log(out / folder.LOG, state.epochs)
        for name in ("train_loss", "val_loss", "val_accuracy", "val_macro_f1", "lr"):
            writer.add_scalar(name, getattr(row, name), epoch)
        writer.flush()
        left = (time.monotonic() - started) / (epoch - first) * (recipe.epochs - epoch)
        _say(
            f"epoch {epoch}/{recipe.epochs}  loss {row.train_loss:.3f}  val loss "
            f"{row.val_loss:.3f}  macro-F1 {row.val_macro_f1:.3f}"
            f"{' *' if state.best == epoch else '  '}  {row.images_per_second:.0f} images/s  "
            f"{_duration(left)} left"
        )
    writer.close()

    tensors, _ = read_safetensors(out / folder.MODEL)
    network.load_state_dict(tensors)
    judged = evaluate(network, test)
    result = training_metrics(judged, test, recipe, network, state.epochs, state.best)
    write_curves(out / "curves.png", state.epochs, state.best)
    write_confusion(out / "confusion.png", judged.confusion, recipe.labels)
    folder.write_record(out / folder.METRICS, result)
    pointing = "" if result.pointing_game is None else f", pointing {result.pointing_game:.3f}"
    _say(
        f"test: accuracy {result.accuracy:.3f}, macro-F1 {result.macro_f1:.3f}, ECE "
        f"{result.expected_calibration_error:.3f}{pointing} (epoch {result.best_epoch}) -> {out}"
    )
    return result


def training_precision(recipe: Recipe) -> str:
    """The recipe's; for auto bf16-mixed where bfloat16 has instructions, else 32-true."""
    if recipe.precision != "auto":
        return recipe.precision
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    # Emulated bfloat16 is slower than float32; older torch cannot tell, so it trains in float32.
    probe: Callable[[], dict[str, Any]] = getattr(torch.cpu, "get_capabilities", dict)
    found = probe()
    return "bf16-mixed" if found.get("avx512_bf16") or found.get("amx_bf16") else "32-true"


def learning_rate(recipe: Recipe, epoch: float) -> float:
    """Learning rate after `epoch` epochs: a linear warm-up, then constant or half a cosine to 0."""
    if epoch < recipe.warmup_epochs:
        return recipe.lr * epoch / recipe.warmup_epochs
    if recipe.schedule == "constant":
        return recipe.lr
    done = (epoch - recipe.warmup_epochs) / max(1e-9, recipe.epochs - recipe.warmup_epochs)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def _score(row: Epoch) -> tuple[float, float]:
    return row.val_macro_f1, -row.val_loss


def _open_folder(out: Path, recipe: Recipe, resume: bool) -> bool:
    """Check `out` and say whether there is a state to go on from."""
    if not (out / folder.RECIPE).is_file():
        if resume:
            _say(f"{out}: nothing to resume, starting at epoch 1")
        return False
    if not resume:
        raise DataError(f"{out}: already holds a run; give --resume or another --out")
    before = folder.read_record(out / folder.RECIPE, Recipe)
    # How many cores a machine has is no part of what is learned.
    if msgspec.structs.replace(before, threads=0) != msgspec.structs.replace(recipe, threads=0):
        changed = [f for f in Recipe.__struct_fields__ if getattr(before, f) != getattr(recipe, f)]
        raise RecipeError(f"{out}: the run to resume has another {', '.join(changed)}")
    if not (out / folder.STATE).is_file():
        _say(f"{out}: stopped before its first epoch ended, starting at epoch 1")
        return False
    return True


def _check_same_data(now: Report, before: Report, out: Path) -> None:
    for part in ("training", "validation", "test"):
        if getattr(now, f"{part}_list_sha256") != getattr(before, f"{part}_list_sha256"):
            raise DataError(f"{out}: the {part} images are not those the run was started with")


def _save_state(path: Path, network: nn.Module, optimizer: Any, state: _State) -> None:
    buffer = io.BytesIO()
    torch.save(
        {
            "network": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epochs": [msgspec.to_builtins(row) for row in state.epochs],
            "best": state.best,
        },
        buffer,
    )
    write_atomic(path, buffer.getvalue())


def _load_state(path: Path, network: nn.Module, optimizer: Any) -> _State:
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        return _State(msgspec.convert(saved["epochs"], list[Epoch]), saved["best"])
    except (RuntimeError, KeyError, EOFError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{path}: not a state this version can resume from: {first}") from error


def _write_log(path: Path, epochs: Sequence[Epoch]) -> None:
    # Written whole: after a resume no epoch is in it twice.
    rows: list[tuple[object, ...]] = [msgspec.structs.astuple(row) for row in epochs]
    folder.write_table(path, Epoch.__struct_fields__, rows)


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _view(data: Radiographs, recipe: Recipe) -> Radiographs:
    """What validation and test look at: fixed crops where training sees crops."""
    return data.cropped(recipe.augment.crop, recipe.seed) if recipe.augment.crop else data
