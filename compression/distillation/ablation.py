"""Ablation of the distillation loss: train the chosen student again with fewer terms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from orthoedge.compression.context import CompressionContext
from orthoedge.compression.distillation.stages import distil, initial_student, kept_by
from orthoedge.compression.distillation.teacher_cache import TeacherCache
from orthoedge.compression.export import export

_WEIGHTS = {
    "student, labels alone": {"soft_weight": 0.0, "saliency_weight": 0.0},
    "+ logits": {"saliency_weight": 0.0},
}


def ablate(context: CompressionContext, student: str) -> Iterator[tuple[str, bytes]]:
    """Train the unpruned student on labels alone, then on the teacher's logits as well.

    Initial weights, epochs, images and their order stay the same; only the loss differs.

    Yields:
        Name of the row and float32 ONNX of the student.
    """
    settings = context.recipe.compress
    for name, weights in _WEIGHTS.items():

        def reduced(cache: TeacherCache, weights: dict[str, float] = weights) -> TeacherCache:
            compress = msgspec.structs.replace(cache.recipe.compress, **weights)
            return replace(cache, recipe=msgspec.structs.replace(cache.recipe, compress=compress))

        crops = None if context.crops is None else reduced(context.crops)
        ablated = replace(context, crops=crops, whole=reduced(context.whole))
        network, start = initial_student(context, student)
        stage = f"{student} {name.removeprefix('student, ').removeprefix('+ ')}"
        kept = kept_by(context, start)
        stages = settings.crop_epochs, settings.epochs
        network = distil(ablated, network, start, stage, *stages, kept)
        yield name, export(network, context.recipe.labels, context.recipe.preprocess)
