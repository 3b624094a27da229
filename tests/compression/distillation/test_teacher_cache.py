"""Lessons: each view asks the teacher once, and an epoch is the same whatever ran before."""

import msgspec
import numpy as np
import pytest
import torch

from orthoedge.compression.distillation.teacher_cache import Lessons
from orthoedge.compression.export import export
from orthoedge.runtime.errors import EngineError
from orthoedge.targets import open_model
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.run_folder import load_run


class Counting:
    """A teacher that counts what it is asked."""

    def __init__(self, engine):
        self.engine, self.name, self.asked = engine, engine.name, 0

    def run(self, images):
        self.asked += len(images)
        return self.engine.run(images)


@pytest.fixture(scope="module")
def parts(tiny_run):
    run = load_run(tiny_run)
    recipe = run.recipe
    train, val = (
        RadiographDataset(part, recipe.labels, recipe.preprocess)
        for part in (run.splits.train, run.splits.val)
    )
    model = export(run.model, recipe.labels, recipe.preprocess)
    return recipe, train, val, open_model(model, recipe.preprocess.size, "x86", "fp32")


def lessons(parts, folder, **compress):
    recipe, train, val, engine = parts
    settings = msgspec.structs.replace(recipe.compress, **compress)
    recipe = msgspec.structs.replace(recipe, compress=settings)
    return Lessons(Counting(engine), "teacher", train, val, recipe, folder)


def pixels(taught, epoch):
    return torch.cat([lesson.images for lesson in taught.epoch(epoch, "test")])


def test_the_answers_are_the_teachers_to_these_very_images(parts, tmp_path):
    taught = lessons(parts, tmp_path)
    for lesson in taught.epoch(1, "test"):
        answers = parts[3].run(lesson.images.numpy())
        # Engines may sum in another order for another batch; maps are kept in half precision.
        np.testing.assert_allclose(lesson.logits, answers.logits, atol=1e-4)
        np.testing.assert_allclose(lesson.maps, answers.saliency_map, rtol=2e-3, atol=2e-3)


def test_the_labels_belong_to_the_images(parts, tmp_path):
    """Without augmentation every image of a view is one of the training part, label and all."""
    recipe, train, val, engine = parts
    still = dict.fromkeys(recipe.augment.__struct_fields__, 0) | {"flip": False}
    recipe = msgspec.structs.replace(recipe, augment=type(recipe.augment)(**still))
    taught = Lessons(engine, "teacher", train, val, recipe, tmp_path)
    known = {
        image.tobytes(): label for image, label in zip(train.images, train.labels, strict=True)
    }
    for lesson in taught.epoch(1, "test"):
        said = [known[image.numpy().tobytes()] for image in lesson.images]
        assert said == lesson.truth.tolist()


def test_a_view_asks_the_teacher_once(parts, tmp_path):
    first = lessons(parts, tmp_path, views=2)
    for epoch in range(1, 6):
        pixels(first, epoch)
    images = first.steps * first.recipe.compress.batch
    assert first.teacher.asked == 2 * images + 1  # one blank image tells the shape of an answer
    other = lessons(parts, tmp_path, views=2, lr=1e-5, saliency_weight=0.0)
    pixels(other, 1)
    assert other.teacher.asked == 1, "another student, the same lessons"


def test_epochs_of_one_view_differ_in_order_alone(parts, tmp_path):
    taught = lessons(parts, tmp_path, views=2)
    first, second, third = (pixels(taught, epoch) for epoch in (1, 2, 3))
    assert not torch.equal(first, third)
    assert sorted(x.numpy().tobytes() for x in first) == sorted(x.numpy().tobytes() for x in third)
    assert sorted(x.numpy().tobytes() for x in first) != sorted(x.numpy().tobytes() for x in second)
    again = lessons(parts, tmp_path / "elsewhere", views=2)
    assert torch.equal(pixels(again, 3), third), "whatever ran before"


def test_another_teacher_or_augmentation_is_another_view(parts, tmp_path):
    recipe, train, val, engine = parts
    taught = lessons(parts, tmp_path)
    turned = msgspec.structs.replace(recipe.augment, degrees=90)
    others = (
        Lessons(engine, "another", train, val, recipe, tmp_path),
        Lessons(
            engine, "teacher", train, val, msgspec.structs.replace(recipe, augment=turned), tmp_path
        ),
    )
    assert len({taught.identity, *(other.identity for other in others)}) == 3


def test_a_teacher_that_fails_leaves_no_view(parts, tmp_path):
    class Broken(Counting):
        def run(self, images):
            if self.asked > 40:
                raise EngineError("lost")
            return super().run(images)

    recipe, train, val, engine = parts
    with pytest.raises(EngineError):
        pixels(Lessons(Broken(engine), "teacher", train, val, recipe, tmp_path), 1)
    assert list(tmp_path.iterdir()) == []
