"""Where students are taught: crops around the lesions first, then whole squares."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from orthoedge.compression.distillation.teacher_cache import Lessons
from orthoedge.compression.distillation.train_student import distil
from orthoedge.compression.export import export
from orthoedge.runtime.atomic_files import sha256
from orthoedge.targets import open_model
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run


@dataclass(frozen=True)
class School:
    """A teacher's lessons and the folder that keeps every student's progress."""

    crops: Lessons | None
    """None: the recipe has no epochs on crops."""
    whole: Lessons
    work: Path

    def teach(
        self, student: Ensemble, start: str, name: str, crop_epochs: int, epochs: int
    ) -> Ensemble:
        """Distil into `student`, in place; what a killed call has learned is not lost.

        Args:
            student: one branch.
            start: what its weights are: a SHA-256, or `random`.
            name: of the stage, and of the files that keep it.
            crop_epochs: epochs on crops.
            epochs: epochs on whole squares after those.
        """
        for kind, lessons, count in (
            ("crops", self.crops, crop_epochs),
            ("whole", self.whole, epochs),
        ):
            if lessons is None:
                continue
            student = distil(
                student, start, lessons, count, self.work / f"{name}-{kind}.pt", f"{name} {kind}"
            )
        return student


def open_school(
    run: Run,
    recipe: Recipe,
    target: str,
    train: RadiographDataset,
    val: RadiographDataset,
    work: Path,
) -> School:
    """Export the teacher for whole squares and for crops, and open it on the target's engine.

    Args:
        run: the teacher.
        recipe: settings; its `augment.crop` is 0.
        target: whose engine runs the teacher.
        train: whole squares.
        val: whole squares; a fixed crop of each judges the first epochs.
        work: folder that keeps lessons and states.
    """
    origin = sha256(f"{run.sha256} {run.info.training_list_sha256}".encode())

    def lessons(judged: RadiographDataset, crop: int) -> Lessons:
        size = crop or recipe.preprocess.size
        square = msgspec.structs.replace(recipe.preprocess, size=size)
        augment = msgspec.structs.replace(recipe.augment, crop=crop)
        return Lessons(
            teacher=open_model(export(run.model, recipe.labels, square), size, target, "fp32"),
            origin=origin,
            train=train,
            val=judged,
            recipe=msgspec.structs.replace(recipe, augment=augment),
            folder=work / "lessons",
        )

    settings, crops = recipe.compress, None
    if settings.crop_epochs or settings.prune_crop_epochs:
        crops = lessons(val.cropped(settings.crop, recipe.seed), settings.crop)
    return School(crops, lessons(val, 0), work)
