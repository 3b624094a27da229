"""What each part of the distillation was worth: the same student, taught with less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec

from orthoedge.compression.distillation.teacher_cache import Lessons
from orthoedge.compression.export import export
from orthoedge.compression.search import Search

_TAUGHT_WITH = {
    "student, labels alone": {"soft_weight": 0.0, "saliency_weight": 0.0},
    "+ logits": {"saliency_weight": 0.0},
}


def ablate(search: Search, student: str) -> Iterator[tuple[str, bytes]]:
    """Teach the whole student again with labels alone, then with the teacher's logits too.

    Same start, epochs, images and order: only the loss differs.

    Yields:
        Name of the row and float32 ONNX of the student.
    """
    settings = search.recipe.compress
    for name, weights in _TAUGHT_WITH.items():

        def with_less(lessons: Lessons, weights: dict[str, float] = weights) -> Lessons:
            less = msgspec.structs.replace(lessons.recipe.compress, **weights)
            return replace(lessons, recipe=msgspec.structs.replace(lessons.recipe, compress=less))

        school = search.school
        crops = None if school.crops is None else with_less(school.crops)
        poorer = replace(school, crops=crops, whole=with_less(school.whole))
        network, start = search.start(student)
        stage = f"{student} {name.removeprefix('student, ').removeprefix('+ ')}"
        network = poorer.teach(network, start, stage, settings.crop_epochs, settings.epochs)
        yield name, export(network, search.recipe.labels, search.recipe.preprocess)
