"""Leave one site, or one source, out: train on the others, measure on it, for each in turn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training import run_folder as folder
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.splits import split_records, unit_of
from orthoedge.training.evaluation import schema
from orthoedge.training.evaluation.markdown import answers_table
from orthoedge.training.evaluation.schema import Answer, EvaluationReport
from orthoedge.training.fit import fit
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Record

JSON, MARKDOWN = "leave-one-out.json", "leave-one-out.md"


class LeftOut(Record, frozen=True):
    """One site or source that a network was measured on without having seen it."""

    name: str
    """Of the site or source."""
    images: int
    """In it."""
    answers: tuple[Answer, ...]
    """Answers to the questions on it; see evaluation.json."""
    skipped: str = ""
    """Why it could not be left out; empty if it was."""


class LeaveOneOut(Record, frozen=True):
    """leave-one-out.json."""

    recipe: str
    """Name of the recipe."""
    by: Literal["site", "source"]
    """What was left out."""
    left_out: tuple[LeftOut, ...]
    """In the order of their names."""


def leave_one_out(
    recipe: Recipe,
    records: Sequence[ImageRecord],
    out: Path,
    by: Literal["site", "source"],
    weights: Sequence[Path] = (),
    resume: bool = False,
    data: Path | None = None,
    cache: Path | None = None,
) -> LeaveOneOut:
    """Train one network for each site or source, on all others, and measure it there.

    A site that holds the only images of a label, or no two labels, is named and not left out.

    Args:
        recipe: every setting but the split's unit and test sites.
        records: the whole set.
        out: a run folder for each, and the table over all.
        by: what is left out.
        weights: as in `fit`.
        resume: skip the finished runs in `out`, and continue the interrupted one.
        data: as in `fit`.
        cache: as in `fit`.

    Raises:
        DataError: as `fit`; or `out` holds runs and `resume` is false.
        ConfigError: the recipe compares networks or has folds, or there is one site only.
    """
    if recipe.combine == "compare" or recipe.split.folds:
        raise ConfigError("leave-out: needs a recipe of one network without folds")
    names = sorted({unit_of(record, by) for record in records})
    if len(names) < 2:
        raise ConfigError(f"leave-out: the images come from one {by} only")
    if (out / JSON).is_file() and not resume:
        raise DataError(f"{out}: already holds a result; give --resume or another --out")
    rows = []
    for number, name in enumerate(names, 1):
        own = [record for record in records if unit_of(record, by) == name]
        split = msgspec.structs.replace(recipe.split, by=by, test_sites=(name,))
        reason = _why_not(records, own, msgspec.structs.replace(recipe, split=split))
        log_progress(f"[{number}/{len(names)}] {by} {name}: {reason or f'{len(own)} images'}")
        answers: tuple[Answer, ...] = ()
        if not reason:
            run = out / name.replace("/", "_")
            if not (run / folder.METRICS).is_file():
                again = (run / folder.RECIPE).is_file()
                fit(
                    msgspec.structs.replace(recipe, split=split),
                    records,
                    run,
                    weights,
                    resume=resume and again,
                    data=data,
                    cache=cache,
                )
            report = folder.read_record(run / folder.EVALUATION / schema.JSON, EvaluationReport)
            answers = tuple(answer for answer in report.answers if not answer.part)
        rows.append(LeftOut(name=name, images=len(own), answers=answers, skipped=reason))
    result = LeaveOneOut(recipe=recipe.name, by=by, left_out=tuple(rows))
    write_atomic(out / MARKDOWN, _markdown(result).encode())
    folder.write_record(out / JSON, result)
    return result


def _why_not(records: Sequence[ImageRecord], own: Sequence[ImageRecord], recipe: Recipe) -> str:
    if len({record.label for record in own}) < 2:
        return "not left out: all its images have one label"
    try:
        split_records(records, recipe.split)
    except DataError as error:
        return f"not left out: {error}"
    return ""


def _markdown(result: LeaveOneOut) -> str:
    named = [
        msgspec.structs.replace(answer, part=f"{result.by} {row.name}")
        for row in result.left_out
        for answer in row.answers
    ]
    skipped = [f"- {row.name}: {row.skipped}" for row in result.left_out if row.skipped]
    blocks = [
        f"# {result.recipe}: each {result.by} left out in turn",
        f"Every row is a network that saw no image of that {result.by} in training.",
        answers_table(named),
        *(["\n".join(skipped)] if skipped else []),
    ]
    return "\n\n".join(blocks) + "\n"
