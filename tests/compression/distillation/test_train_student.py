"""A student keeps what its teacher's settings say about batch normalization."""

import copy
from dataclasses import replace
from types import SimpleNamespace

import msgspec
import pytest
import torch

from orthoedge.compression.distillation.teacher_cache import TeacherCache
from orthoedge.compression.distillation.train_student import (
    NOTHING,
    RANDOM,
    Kept,
    logits_of,
    train_student,
)
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.targets import open_model
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.model.batch_norm import fix_batch_norms, release_batch_norms
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.run_folder import load_run

KEPT = Kept(stages=0, norms=True)


@pytest.fixture(scope="module")
def taught(tiny_run, tiny_bundle, tmp_path_factory):
    """A network whose batch normalizations are folded, and a cache of its run's images."""
    run = load_run(tiny_run)
    compress = msgspec.structs.replace(run.recipe.compress, lr=1e-12, views=1)
    recipe = msgspec.structs.replace(run.recipe, batch_norm="fixed", compress=compress)
    train, val = (
        RadiographDataset(records, recipe.labels, recipe.preprocess)
        for records in (run.splits.train, run.splits.val)
    )
    fix_batch_norms(run.model, [torch.from_numpy(train.images[:32, None])])
    release_batch_norms(run.model)
    network = run.model.eval()
    teacher = read_bundle(tiny_bundle).model("fp32")  # any will do
    engine = open_model(teacher, recipe.preprocess.size, "x86", "fp32")
    folder = tmp_path_factory.mktemp("views")
    cache = TeacherCache(engine, "teacher", train, val, recipe, folder)
    return SimpleNamespace(network=network, cache=cache, val=val)


@pytest.mark.slow
def test_a_folded_network_is_not_scaled_anew(taught, tmp_path):
    """At a rate of almost 0 a student stays what it was: batches do not set its statistics."""
    before = logits_of(taught.network, taught.val)
    student = copy.deepcopy(taught.network)
    trained = train_student(
        student, "a" * 64, taught.cache, 1, tmp_path / "state.pt", "student", KEPT
    )
    assert logits_of(trained, taught.val) == pytest.approx(before, abs=1e-3)


def test_a_killed_stage_goes_on_with_a_folded_network(taught, tmp_path):
    student = copy.deepcopy(taught.network)
    state = tmp_path / "state.pt"
    once = train_student(student, "a" * 64, taught.cache, 2, state, "student", KEPT)
    again = copy.deepcopy(taught.network)
    resumed = train_student(again, "a" * 64, taught.cache, 2, state, "student", KEPT)
    for name, tensor in once.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_random_weights_are_trained_with_live_normalizations(taught, tmp_path):
    """Folded at its random start, a network is not normalized any more and learns nothing."""
    recipe = taught.cache.recipe
    torch.manual_seed(0)
    student = Ensemble(recipe.backbones, len(recipe.labels))
    trained = train_student(student, RANDOM, taught.cache, 1, tmp_path / "s.pt", "student", NOTHING)
    norms = [module for module in trained.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms
    assert all(norm.running_mean.any() for norm in norms)


def test_frozen_stages_keep_their_weights_and_a_later_stage_trains_them_again(taught, tmp_path):
    compress = msgspec.structs.replace(taught.cache.recipe.compress, lr=1e-3)
    recipe = msgspec.structs.replace(taught.cache.recipe, compress=compress)
    cache = replace(taught.cache, recipe=recipe)
    before = taught.network.branches[0].backbone.conv_stem.weight
    student = copy.deepcopy(taught.network)
    for state, frozen, is_changed in (("first.pt", 1, False), ("second.pt", 0, True)):
        student = train_student(
            student, "a" * 64, cache, 1, tmp_path / state, state, Kept(frozen, norms=True)
        )
        after = student.branches[0].backbone.conv_stem.weight
        assert torch.equal(before, after) != is_changed
