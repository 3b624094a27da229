"""The inputs that every step of a compression shares, read and prepared once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.compression.data_splits import Splits, balanced_indices, read_splits
from orthoedge.compression.distillation.teacher_cache import TeacherCache
from orthoedge.compression.export import export
from orthoedge.runtime.atomic_files import sha256
from orthoedge.targets import open_model
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run

_OOD_IMAGES = 2000


@dataclass(frozen=True)
class Sources:
    """Inputs of a compression other than the run and its recipe."""

    cache: Path | None
    """Folder for preprocessed images, shared with training; None keeps them in memory."""
    weights: Path | None
    """Safetensors that the student starts from, or a folder of STUDENT.safetensors.

    None: the teacher's own weights if the teacher is that very network, else random ones.
    """
    calibration: Path | None
    """Radiographs to calibrate on; None: half of the run's validation split."""
    test: Path | None
    """Radiographs to measure on; None: the run's test split."""
    data_licence: str
    """For the manifest; ignored for phantoms."""
    licence: str = ""
    """Text of the bundle's LICENSE, whose first line goes into the manifest; "": no such file."""


@dataclass(frozen=True)
class CompressionContext:
    """What every step of one compression reads; no step changes it."""

    run: Run
    """The teacher, with its split."""
    recipe: Recipe
    """Its `augment.crop` is 0: students are exported for whole images."""
    target: str
    """Engine that times, evaluates and calibrates."""
    sources: Sources
    work: Path
    """Folder of finished intermediate results, named by hashes of what they were made from."""
    splits: Splits
    quantization_indices: tuple[int, ...]
    """Training images that set the INT8 ranges."""
    ood_indices: npt.NDArray[np.int64]
    """Training images from which the out-of-distribution score is fitted."""
    teacher: bytes
    """Float32 ONNX for whole images."""
    crops: TeacherCache | None
    """The teacher's outputs for crops around lesions; None: the recipe has no epochs on crops."""
    whole: TeacherCache
    """The teacher's outputs for whole images."""

    @property
    def size(self) -> int:
        """Side S of the model input in pixels."""
        return self.recipe.preprocess.size

    @property
    def quantization_images(self) -> npt.NDArray[np.uint8]:
        """Images that set the INT8 ranges, (n, 1, S, S)."""
        return self.splits.train.images[list(self.quantization_indices), None]


def prepare_context(
    run: Run, recipe: Recipe, target: str, sources: Sources, work: Path
) -> CompressionContext:
    """Read the splits, export the teacher and open it on the target's engine.

    The arguments become fields of the context; `work` is created if it does not exist.

    Raises:
        DataError: the data do not fit the run.
    """
    work.mkdir(parents=True, exist_ok=True)
    recipe = msgspec.structs.replace(
        recipe, augment=msgspec.structs.replace(recipe.augment, crop=0)
    )
    splits = read_splits(run, recipe, sources.cache, sources.calibration, sources.test)
    settings = recipe.compress
    indices = balanced_indices(splits.train, settings.quantization_images, recipe.seed)
    ood_indices = balanced_indices(splits.train, _OOD_IMAGES, recipe.seed)
    origin = sha256(f"{run.sha256} {run.info.training_list_sha256}".encode())

    def cache(model: bytes, crop: int, val: RadiographDataset) -> TeacherCache:
        augment = msgspec.structs.replace(recipe.augment, crop=crop)
        return TeacherCache(
            teacher=open_model(model, crop or recipe.preprocess.size, target, "fp32"),
            origin=origin,
            train=splits.train,
            val=val,
            recipe=msgspec.structs.replace(recipe, augment=augment),
            folder=work / "teacher_outputs",
        )

    crops = None
    if settings.crop_epochs or settings.prune_crop_epochs:
        model_input = msgspec.structs.replace(recipe.preprocess, size=settings.crop)
        cropped = splits.val.cropped(settings.crop, recipe.seed)
        crops = cache(export(run.model, recipe.labels, model_input), settings.crop, cropped)
    teacher = export(run.model, recipe.labels, recipe.preprocess)
    return CompressionContext(
        run=run,
        recipe=recipe,
        target=target,
        sources=sources,
        work=work,
        splits=splits,
        quantization_indices=tuple(map(int, indices)),
        ood_indices=ood_indices,
        teacher=teacher,
        crops=crops,
        whole=cache(teacher, 0, splits.val),
    )
