"""The teacher runs once on each view, and an epoch is the same whatever ran before."""

import msgspec
import numpy as np
import pytest
import torch

from orthoedge.compression.distillation.teacher_cache import TeacherCache
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.runtime.errors import EngineError
from orthoedge.targets import open_model
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.run_folder import load_run


class Counting:
    """A teacher that counts the images it runs on."""

    def __init__(self, engine):
        self.engine, self.name, self.images_run = engine, engine.name, 0

    def run(self, images):
        self.images_run += len(images)
        return self.engine.run(images)


@pytest.fixture(scope="module")
def data(tiny_run, tiny_bundle):
    run = load_run(tiny_run)
    recipe = run.recipe
    train, val = (
        RadiographDataset(records, recipe.labels, recipe.preprocess)
        for records in (run.splits.train, run.splits.val)
    )
    model = read_bundle(tiny_bundle).model("fp32")  # any network will do as a teacher
    return recipe, train, val, open_model(model, recipe.preprocess.size, "x86", "fp32")


def cache_of(data, folder, **compress):
    recipe, train, val, engine = data
    settings = msgspec.structs.replace(recipe.compress, **compress)
    recipe = msgspec.structs.replace(recipe, compress=settings)
    return TeacherCache(Counting(engine), "teacher", train, val, recipe, folder)


def pixels(cache, epoch):
    return torch.cat([batch.images for batch in cache.epoch(epoch, "test")])


@pytest.mark.slow
def test_the_outputs_are_the_teachers_for_these_very_images(data, tmp_path):
    cache = cache_of(data, tmp_path)
    for batch in cache.epoch(1, "test"):
        outputs = data[3].run(batch.images.numpy())
        # Engines may sum in another order for another batch; maps are kept in half precision.
        np.testing.assert_allclose(batch.logits, outputs.logits, atol=1e-4)
        np.testing.assert_allclose(batch.maps, outputs.saliency_map, rtol=2e-3, atol=2e-3)


def test_the_labels_belong_to_the_images(data, tmp_path):
    """Without augmentation every image of a view is one of the training part, label and all."""
    recipe, train, val, engine = data
    still = dict.fromkeys(recipe.augment.__struct_fields__, 0) | {"flip": False}
    recipe = msgspec.structs.replace(recipe, augment=type(recipe.augment)(**still))
    cache = TeacherCache(engine, "teacher", train, val, recipe, tmp_path)
    known = {
        image.tobytes(): label for image, label in zip(train.images, train.labels, strict=True)
    }
    for batch in cache.epoch(1, "test"):
        labels = [known[image.numpy().tobytes()] for image in batch.images]
        assert labels == batch.truth.tolist()


def test_the_teacher_runs_once_on_each_view(data, tmp_path):
    first = cache_of(data, tmp_path, views=2)
    for epoch in range(1, 6):
        pixels(first, epoch)
    images = first.steps * first.recipe.compress.batch
    assert (
        first.teacher.images_run == 2 * images + 1
    )  # one blank image gives the shape of an output
    other = cache_of(data, tmp_path, views=2, lr=1e-5, saliency_weight=0.0)
    pixels(other, 1)
    assert other.teacher.images_run == 1, "another student, the same views"


def test_epochs_of_one_view_differ_in_order_alone(data, tmp_path):
    cache = cache_of(data, tmp_path, views=2)
    first, second, third = (pixels(cache, epoch) for epoch in (1, 2, 3))
    assert not torch.equal(first, third)
    assert sorted(x.numpy().tobytes() for x in first) == sorted(x.numpy().tobytes() for x in third)
    assert sorted(x.numpy().tobytes() for x in first) != sorted(x.numpy().tobytes() for x in second)
    again = cache_of(data, tmp_path / "elsewhere", views=2)
    assert torch.equal(pixels(again, 3), third), "whatever ran before"


def test_another_teacher_or_augmentation_is_another_view(data, tmp_path):
    recipe, train, val, engine = data
    cache = cache_of(data, tmp_path)
    turned = msgspec.structs.replace(recipe.augment, degrees=90)
    others = (
        TeacherCache(engine, "another", train, val, recipe, tmp_path),
        TeacherCache(
            engine, "teacher", train, val, msgspec.structs.replace(recipe, augment=turned), tmp_path
        ),
    )
    assert len({cache.identity, *(other.identity for other in others)}) == 3


def test_a_teacher_that_fails_leaves_no_view(data, tmp_path):
    class Broken(Counting):
        def run(self, images):
            if self.images_run > 40:
                raise EngineError("lost")
            return super().run(images)

    recipe, train, val, engine = data
    with pytest.raises(EngineError):
        pixels(TeacherCache(Broken(engine), "teacher", train, val, recipe, tmp_path), 1)
    assert list(tmp_path.iterdir()) == []
