"""Several runs of one recipe: one per network, and one per fold of a cross-validation.

OUT/plan.json          the recipe and the data's identity, written first
OUT/NETWORK[/foldI]    a run folder each, as `fit` writes it
OUT/comparison.json, comparison.md, comparison.png      written last
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training import run_folder as folder
from orthoedge.training.comparison_report import Comparison, Task, read_member, write_comparison
from orthoedge.training.data.index import ImageRecord, list_sha256
from orthoedge.training.data_quality.duplicates import file_digest
from orthoedge.training.fit import fit
from orthoedge.training.loop.checkpoint import changed_settings
from orthoedge.training.loop.distributed import open_fabric
from orthoedge.training.model.ensemble import build
from orthoedge.training.model.flops import count_macs
from orthoedge.training.model.hub import IMAGENET, weights_files
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe, upgrade_recipe

PLAN = "plan.json"


class Plan(folder.Record, frozen=True):
    """plan.json: the recipe, data and weights that a comparison was started with."""

    recipe: Recipe
    data_sha256: str
    """Identity of the whole set."""
    weights: dict[str, tuple[str, ...]]
    """SHA-256 of each file that the runs of a network start from."""


def is_compared(recipe: Recipe) -> bool:
    """Return whether the recipe asks for several runs."""
    return recipe.combine == "compare" or recipe.split.folds > 0


def tasks(recipe: Recipe) -> list[Task]:
    """Runs that a recipe asks for, in the order of training."""
    compared = recipe.combine == "compare"
    planned = []
    for backbones in [(name,) for name in recipe.backbones] if compared else [recipe.backbones]:
        network = "+".join(backbones)
        place = network.replace("/", "_").replace(":", "_")
        own = msgspec.structs.replace(recipe, backbones=backbones, combine="fuse")
        if not recipe.split.folds:
            planned.append(Task(place, network, None, own))
        for fold in range(recipe.split.folds):
            planned.append(Task(f"{place}/fold{fold}", network, fold, own))
    return planned


def compare(
    recipe: Recipe,
    records: Sequence[ImageRecord],
    out: Path,
    weights: Sequence[Path] = (),
    resume: bool = False,
    progress: bool | None = None,
    data: Path | None = None,
    cache: Path | None = None,
) -> Comparison:
    """Train every run that the recipe asks for, and write one table and one figure.

    Args:
        recipe: with `combine = "compare"`, or with folds.
        records: the whole set; every network sees the same splits of it.
        out: folder of the comparison.
        weights: safetensors to start each run from; for several networks `imagenet`, or a folder
            with one `<backbone>.safetensors` for each.
        resume: skip the finished runs in `out`, and continue the interrupted one.
        progress: as in `fit`.
        data: as in `fit`.
        cache: as in `fit`.

    Raises:
        DataError: as `fit`; or `out` holds a comparison, or one of different data, or no weights.
        ConfigError: as `fit`; or the comparison in `out` has a different recipe.
    """
    planned = tasks(recipe)
    start = {task.network: _weights_of(task, recipe, weights) for task in planned}
    # Built before the first run, so that an unknown network fails at once and not after hours.
    networks = {task.network: task.recipe for task in planned}
    costs = {name: count_macs(build(r), r.preprocess.size) for name, r in networks.items()}
    fabric = open_fabric(recipe)
    if fabric.is_global_zero:
        _record_plan(out, recipe, records, start, resume)
    fabric.barrier()
    for number, task in enumerate(planned, 1):
        run, where = out / task.name, f"[{number}/{len(planned)}] {task.name}"
        if (run / folder.METRICS).is_file():
            log_progress(f"{where}: finished before")
            continue
        log_progress(where)
        fit(
            task.recipe,
            records,
            run,
            start[task.network],
            resume=(run / folder.RECIPE).is_file(),
            progress=progress,
            data=data,
            cache=cache,
            fold=task.fold,
        )
    members = [read_member(out, task) for task in planned]
    comparison = Comparison.of(recipe, members, costs)
    if fabric.is_global_zero:
        write_comparison(out, comparison)
        for line in comparison.lines():
            log_progress(line)
    fabric.barrier()
    return comparison


def check_not_comparison(run: Path) -> None:
    """Raise DataError, naming the runs to choose from, if `run` is a comparison."""
    if not (run / PLAN).is_file():
        return
    planned = tasks(_read_plan(run).recipe)
    if not all((run / task.name / folder.METRICS).is_file() for task in planned):
        raise DataError(f"{run}: an unfinished comparison of runs; train with --resume")
    best = max((read_member(run, task) for task in planned), key=lambda m: m.val_macro_f1)
    others = ", ".join(task.name for task in planned if task.name != best.name)
    raise DataError(
        f"{run}: a comparison of runs, choose one of them: {run / best.name} is best by "
        f"validation macro-F1 ({best.val_macro_f1:.3f}); the others are {others or 'none'}"
    )


def _weights_of(task: Task, recipe: Recipe, weights: Sequence[Path]) -> Sequence[Path]:
    several = recipe.combine == "compare" and len(recipe.backbones) > 1
    if not weights or not several or weights == [Path(IMAGENET)]:
        return weights
    if len(weights) > 1 or not weights[0].is_dir():
        raise DataError(
            f"{weights[0]}: one file fits one network; give a folder with a file for each, "
            f"such as {task.network}.safetensors"
        )
    file = weights[0] / f"{task.network}.safetensors"
    if not file.is_file():
        raise DataError(f"{file}: no such file; every network of the comparison needs one")
    return (file,)


def _record_plan(
    out: Path,
    recipe: Recipe,
    records: Sequence[ImageRecord],
    start: Mapping[str, Sequence[Path]],
    resume: bool,
) -> None:
    """Write the plan, or compare it with the plan that the comparison was started with."""
    weights = {
        name: tuple(file_digest(file.path) for file in weights_files(files, (name,)))
        for name, files in start.items()
    }
    now = Plan(recipe=recipe, data_sha256=list_sha256(records), weights=weights)
    if (out / folder.RECIPE).is_file():
        raise DataError(f"{out}: already holds a run; choose another --out")
    if not (out / PLAN).is_file():
        out.mkdir(parents=True, exist_ok=True)
        folder.write_record(out / PLAN, now)
        return
    if not resume:
        raise DataError(f"{out}: already holds a comparison; give --resume or another --out")
    before = _read_plan(out)
    if changed := changed_settings(before.recipe, recipe):
        raise ConfigError(f"{out}: the comparison to resume has a different {', '.join(changed)}")
    if before.data_sha256 != now.data_sha256:
        raise DataError(f"{out}: the images are not those that the comparison was started with")
    if before.weights != now.weights:
        raise DataError(f"{out}: the comparison has different --weights; give the same")


def _read_plan(out: Path) -> Plan:
    try:
        plan = folder.read_record(out / PLAN, dict[str, Any])
        return msgspec.convert(plan | {"recipe": upgrade_recipe(plan["recipe"])}, Plan)
    except (KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise DataError(f"{out / PLAN}: not the plan of a comparison: {error}") from error
