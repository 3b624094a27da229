"""Progress of a run: lines on stderr, and the TensorBoard log."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from tqdm import tqdm

from orthoedge.training.data.splits import Splits
from orthoedge.training.data_quality.shortcut_audit import ShortcutAudit
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Epoch, RunInfo, TrainingMetrics


def log_progress(line: str) -> None:
    """Print a line to stderr, above any progress bar; only the first process prints."""
    if os.environ.get("RANK", "0") == "0":
        tqdm.write(line, file=sys.stderr)


class EventLog:
    """TensorBoard's log of a run, written in the calling thread so that errors are raised.

    torch's own writer works in a thread, which prints a traceback where the disk is full. The file
    only grows; TensorBoard skips a last record that was cut off by a kill.
    """

    def __init__(self, folder: Path, step: int) -> None:
        """Begin a file in `folder` that replaces the epochs from `step` on of older files."""
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"events.out.tfevents.{time.time_ns()}"
        self._append(Event(file_version="brain.Event:2"))
        self._append(Event(step=step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, row: Epoch) -> None:
        """Add an epoch.

        Raises:
            OSError: it cannot be written; `filename` is the log's.
        """
        names = [name for name in Epoch.__struct_fields__ if name != "epoch"]
        values = [
            Summary.Value(tag=name, simple_value=value)
            for name in names
            if (value := getattr(row, name)) is not None
        ]
        self._append(Event(step=row.epoch, summary=Summary(value=values)))

    def _append(self, event: Event) -> None:
        event.wall_time = time.time()
        try:
            with self._file.open("ab") as file:
                RecordWriter(file).write(event.SerializeToString())
        except OSError as error:
            error.filename = str(self._file)
            raise


def log_start(recipe: Recipe, splits: Splits, info: RunInfo, processes: int) -> None:
    """Log data and hardware in one line, and each file of weights in another."""
    crops = f" in crops of {recipe.augment.crop}" if recipe.augment.crop else ""
    shared = f"{processes} processes of " if processes > 1 else ""
    log_progress(
        f"{recipe.name}: {len(splits.train)} train, {len(splits.val)} val, {len(splits.test)} test "
        f"images at {recipe.preprocess.size} px{crops}; {info.precision} on {info.device}, "
        f"{shared}{torch.get_num_threads()} threads"
    )
    for weights in info.weights:
        log_progress(weights.line())


def log_epoch(row: Epoch, epochs: int, better: bool, left: float) -> None:
    """Log one line for an epoch; a star marks the best so far."""
    auc = "" if row.val_auc is None else f"  AUC {row.val_auc:.3f}"
    log_progress(
        f"epoch {row.epoch}/{epochs}  loss {row.train_loss:.3f}  val loss {row.val_loss:.3f}  "
        f"macro-F1 {row.val_macro_f1:.3f}{auc}{' *' if better else '  '}  "
        f"{row.images_per_second:.0f} images/s  {_duration(left)} left"
    )


def log_result(result: TrainingMetrics, shortcuts: ShortcutAudit, out: Path) -> None:
    """Log one line on the test split, and the warning of the shortcut audit if there is one."""
    pointing = "" if result.pointing_game is None else f", pointing {result.pointing_game:.3f}"
    log_progress(
        f"test: accuracy {result.accuracy:.3f}, macro-F1 {result.macro_f1:.3f}, ECE "
        f"{result.expected_calibration_error:.3f}{pointing} (epoch {result.best_epoch}) -> {out}"
    )
    if shortcuts.warns:
        log_progress(f"warning: {shortcuts.warning}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
