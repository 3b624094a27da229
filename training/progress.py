"""Progress of a run: lines and bars on stderr, and the TensorBoard log."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

import torch
from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from tensorboard.summary.writer.record_writer import RecordWriter  # type: ignore[import-untyped]
from tqdm import tqdm

from orthoedge.runtime.settings import plain
from orthoedge.training.data.splits import Splits
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import EpochRow, RunInfo

_SILENCE_S = 50.0  # after which a line is due: with the time to notice, one at least every minute
_CHECK_S = 5.0

T = TypeVar("T")


def log_progress(line: str) -> None:
    """Print a line to stderr, above any progress bar; only the first process prints."""
    Progress.last_line = time.monotonic()
    if os.environ.get("RANK", "0") == "0":
        tqdm.write(line, file=sys.stderr)


class Progress:
    """A long step: a bar on a terminal, elsewhere a line at least every minute.

    Enter it as a context. Inside another step, it is the inner one that has the line.

    Args:
        what: the step, such as `epoch 3/14`.
        total: its items; 0 if they cannot be counted, which gives lines on a terminal too.
        unit: what the items are called.
        bars: a bar (True) or lines (False); default: a bar where stderr is a terminal.
    """

    last_line: ClassVar[float] = time.monotonic()
    _entered: ClassVar[list[Progress]] = []

    def __init__(
        self, what: str, total: int = 0, unit: str = "batches", bars: bool | None = None
    ) -> None:
        self._what, self._total, self._unit = what, total, unit
        shown = total > 0 and (sys.stderr.isatty() if bars is None else bars)
        self._bar = tqdm(desc=what, total=total, unit=unit, leave=False) if shown else None
        self._done, self._started, self._ended = 0, time.monotonic(), threading.Event()

    def __enter__(self) -> Progress:
        self._entered.append(self)
        if self._bar is None:  # a thread, because one item may take longer than a minute
            threading.Thread(target=self._print_lines, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._entered.remove(self)
        if self._bar is not None:
            self._bar.close()

    def advance(self, count: int = 1) -> None:
        """Count items as done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)

    def note(self, text: str) -> None:
        """Show a figure behind the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def __str__(self) -> str:
        spent = time.monotonic() - self._started
        if not self._total:
            return f"{self._what}: {_duration(spent)} so far"
        text = f"{self._what}: {self._done}/{self._total}"
        if not self._done:
            return f"{text} {self._unit}, {_duration(spent)} so far"
        rate = self._done / spent
        left = _duration((self._total - self._done) / rate)
        return f"{text} {self._unit}, {plain(rate, 3)} {self._unit}/s, {left} left"

    def _print_lines(self) -> None:
        while not self._ended.wait(_CHECK_S):
            due = time.monotonic() - Progress.last_line >= _SILENCE_S
            if due and self._entered[-1:] == [self]:
                log_progress(str(self))


def track(
    items: Iterable[T], what: str, total: int, unit: str = "batches", bars: bool | None = None
) -> Iterator[T]:
    """Yield the items and show how many are done; arguments as of `Progress`."""
    with Progress(what, total, unit, bars) as progress:
        for item in items:
            yield item
            progress.advance()


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

    def add(self, row: EpochRow) -> None:
        """Add an epoch.

        Raises:
            OSError: it cannot be written; `filename` is the log's.
        """
        names = [name for name in type(row).__struct_fields__ if name != "epoch"]
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


def log_epoch(row: EpochRow, epochs: int, better: bool, left: float) -> None:
    """Log one line for an epoch; a star marks the best so far."""
    log_progress(
        f"epoch {row.epoch}/{epochs}  loss {row.train_loss:.3f}  val loss {row.val_loss:.3f}  "
        f"{row.shown()}{' *' if better else '  '}  "
        f"{row.images_per_second:.0f} images/s  {_duration(left)} left"
    )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
