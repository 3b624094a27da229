"""The state of a run: what `--resume` continues from, and the checks before it does."""

from __future__ import annotations

import io
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import torch

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training import run_folder as folder
from orthoedge.training.data.splits import Splits
from orthoedge.training.loop.step import Network, Stepper
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import EpochRow, RunInfo

Row = TypeVar("Row", bound=EpochRow)


@dataclass
class State(Generic[Row]):
    """Progress of a run, without its weights."""

    epochs: list[Row] = field(default_factory=list)
    best: int = 0
    """Epoch of the best weights, from 1; 0 before the first."""

    @property
    def stale(self) -> int:
        """Epochs since the best one."""
        return len(self.epochs) - self.best

    def add(self, row: Row) -> bool:
        """Add an epoch; return whether it is the best so far."""
        self.epochs.append(row)
        scores = [(e.score, -e.val_loss) for e in self.epochs]
        if self.best == 0 or scores[-1] > scores[self.best - 1]:
            self.best = row.epoch
        return self.best == row.epoch


def open_folder(out: Path, recipe: Recipe, resume: bool) -> bool:
    """Check the run folder `out`; return whether it holds a state to resume from.

    Raises:
        DataError: it holds a run, and `resume` is false.
        ConfigError: the run to resume was started with a different recipe.
    """
    if not (out / folder.RECIPE).is_file():
        if resume:
            log_progress(f"{out}: nothing to resume, starting at epoch 1")
        return False
    if not resume:
        raise DataError(f"{out}: already holds a run; give --resume or another --out")
    if changed := changed_settings(folder.read_recipe(out / folder.RECIPE), recipe):
        raise ConfigError(f"{out}: the run to resume has a different {', '.join(changed)}")
    if not (out / folder.STATE).is_file():
        log_progress(f"{out}: stopped before its first epoch ended, starting at epoch 1")
        return False
    return True


def changed_settings(before: Recipe, now: Recipe) -> list[str]:
    """Names of the settings that differ, without `threads`, which changes no result."""
    names = [name for name in Recipe.__struct_fields__ if name != "threads"]
    return [name for name in names if getattr(before, name) != getattr(now, name)]


def record_start(
    out: Path, recipe: Recipe, splits: Splits, info: RunInfo, resumed: bool, resume: bool
) -> None:
    """Write what a run starts from, or compare it with what the run was started with.

    Args:
        out: the run folder.
        recipe: to write.
        splits: to write.
        info: to write, or to compare with the one in `out`.
        resumed: there is a state to resume from.
        resume: `--resume` was given; a run stopped in its first epoch starts again as it did.

    Raises:
        DataError: the images or the starting weights of a resumed run have changed.
    """
    if not resumed:
        report = out / folder.REPORT
        restarted = resume and report.is_file()
        if restarted and folder.read_record(report, RunInfo).weights != info.weights:
            raise DataError(f"{out}: the run was started with different --weights; give the same")
        folder.write_splits(out / folder.SPLIT, splits, Path(info.data))
        folder.write_record(report, info)
        folder.write_record(out / folder.RECIPE, recipe)
        return
    before = folder.read_record(out / folder.REPORT, RunInfo)
    for split in ("training", "validation", "test"):
        if getattr(info, f"{split}_list_sha256") != getattr(before, f"{split}_list_sha256"):
            raise DataError(f"{out}: the {split} images are not those the run was started with")


def save_state(path: Path, stepper: Stepper[Network], state: State[Row]) -> None:
    """Write weights, their average, the optimizer and the epochs done, atomically."""
    average, buffer = stepper.average, io.BytesIO()
    saved = {
        "network": stepper.network.state_dict(),
        "average": None if average is None else average.module.state_dict(),
        "optimizer": stepper.optimizer.state_dict(),
        "epochs": msgspec.to_builtins(state.epochs),
        "best": state.best,
    }
    torch.save(saved, buffer)
    write_atomic(path, buffer.getvalue())


def load_state(path: Path, stepper: Stepper[Network], row: type[Row]) -> State[Row]:
    """Read what `save_state` wrote into `stepper`; epochs are of the kind `row`.

    Raises:
        DataError: damaged, or of a different version.
    """
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        stepper.network.load_state_dict(saved["network"])
        stepper.optimizer.load_state_dict(saved["optimizer"])
        if stepper.average is not None:
            stepper.average.module.load_state_dict(saved["average"])
        epochs = [msgspec.convert(epoch, row) for epoch in saved["epochs"]]
        return State(epochs, saved["best"])
    except (
        *(RuntimeError, LookupError, EOFError, ValueError, TypeError),
        *(pickle.UnpicklingError, msgspec.ValidationError),
    ) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        raise DataError(f"{path}: not a state this version can resume from: {first}") from error
