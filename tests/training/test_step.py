"""One training step: clipping, moving average, mixup, and what `auto` precision takes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from orthoedge.runtime.errors import ConfigError
from orthoedge.training.data.crops import GRID
from orthoedge.training.data.loader import Batch
from orthoedge.training.loop.distributed import open_fabric
from orthoedge.training.loop.precision import training_precision
from orthoedge.training.model.ensemble import build
from orthoedge.training.recipe import Recipe
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.step import ClassifierStepper, lesion_loss, neighbours

SETTINGS = (
    "labels=a,b", "compress.alert_labels=b", "backbones=test_resnet", "fusion=", "batch=6",
    "dropout=0", "balanced=false", "preprocess.size=64", "precision=32-true",
)  # fmt: skip
LABELS = np.array([0, 0, 0, 1])
TRUTH = torch.tensor([0, 1, 1, 0, 1, 0])
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 1, 64, 64), np.uint8))


def batch(
    truth: torch.Tensor = TRUTH,
    allowed: torch.Tensor | None = None,
    lesion: torch.Tensor | None = None,
) -> Batch:
    every, none = torch.ones(6, 2, dtype=torch.bool), torch.zeros(6, GRID, GRID, dtype=torch.uint8)
    return Batch(
        IMAGES, truth, every if allowed is None else allowed, none if lesion is None else lesion
    )


def stepper(*overrides: str) -> ClassifierStepper:
    recipe = load_recipe("tiny", (*SETTINGS, *overrides))
    fabric = open_fabric(recipe)
    return ClassifierStepper(recipe, build(recipe), fabric, LABELS, steps=4)


def gradient_norm(trained: ClassifierStepper) -> float:
    gradients = [p.grad.flatten() for p in trained.network.parameters() if p.grad is not None]
    return float(torch.cat(gradients).norm())


def test_the_gradient_is_clipped_to_the_recipes_norm():
    free, clipped = stepper(), stepper("gradient_clip=0.01")
    for trained in (free, clipped):
        trained(batch(), 1, 0)
    assert gradient_norm(free) > 0.02
    assert gradient_norm(clipped) == pytest.approx(0.01, rel=1e-3)  # torch divides by norm + 1e-6


def test_a_branch_learns_though_the_other_one_is_right_already():
    norms = []
    for weight in (0, 1):
        trained = stepper("backbones=test_resnet,test_resnet", f"branch_loss={weight}", "mixup=0")
        settled, behind = trained.network.branches
        with torch.no_grad():  # as if it had learned: far apart logits for these very images
            settled.head.weight.zero_()
            settled.head.bias.copy_(torch.tensor([30.0, -30.0]))
        trained(batch(torch.zeros_like(TRUTH)), 1, 0)
        norms.append(float(behind.head.weight.grad.norm()))
    assert norms[0] < 1e-3 * norms[1]


def test_the_moving_average_is_validated_and_moves_slower_than_the_weights():
    trained = stepper("ema=0.5")
    assert stepper().average is None
    trained(batch(), 1, 0)  # the first step is taken whole: the average has no past
    before = {k: v.clone() for k, v in trained.validated.state_dict().items()}
    for name, value in trained.network.state_dict().items():
        assert torch.equal(before[name], value), name
    trained(batch(), 1, 1)
    now = trained.network.state_dict()
    for name, value in trained.validated.state_dict().items():
        if value.is_floating_point() and not torch.equal(before[name], now[name]):
            between = (value - before[name]).norm() / (now[name] - before[name]).norm()
            assert 0.1 < between < 0.9, name  # running statistics of the batch norms too


def test_mixup_is_the_loss_of_mixed_images_under_both_labels():
    trained = stepper("mixup=0.4", "lr=0.001")
    network = copy.deepcopy(trained.network).train()
    trained.model.train()
    loss = float(trained(batch(), 2, 3)[0]) / 6
    kept = np.random.default_rng((trained.recipe.seed, 2, 3, 1)).beta(0.4, 0.4)
    other = neighbours(6)
    logits = network(kept * IMAGES.float() + (1 - kept) * IMAGES[other].float())
    soft = kept * F.one_hot(TRUTH, 2) + (1 - kept) * F.one_hot(TRUTH[other], 2)
    weight = torch.tensor([4 / (2 * 3), 4 / (2 * 1)])
    by_hand = -(soft * weight * logits.log_softmax(1)).sum() / (soft * weight).sum()
    assert loss == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_without_mixup_it_is_torchs_weighted_cross_entropy():
    trained = stepper()
    network = copy.deepcopy(trained.network).train()
    trained.model.train()
    total, hits, count = trained(batch(), 1, 0).tolist()
    logits = network(IMAGES)
    by_hand = F.cross_entropy(logits, TRUTH, weight=torch.tensor([4 / 6, 4 / 2]))
    assert total / count == pytest.approx(float(by_hand.detach()), rel=1e-5)
    assert (hits, count) == (int((logits.argmax(1) == TRUTH).sum()), 6)


@pytest.mark.skipif(torch.cuda.is_available(), reason="about CPUs")
@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16-mixed"),
        ({"amx_bf16": False, "avx512_bf16": True}, "32-true"),
        ({}, "32-true"),
    ],
)
def test_auto_takes_bfloat16_only_where_it_was_faster(capabilities, expected, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    auto: Recipe = load_recipe("tiny", ("precision=auto",))
    assert training_precision(auto) == expected
    assert training_precision(load_recipe("tiny", ("precision=bf16-mixed",))) == "bf16-mixed"


def test_a_batch_that_processes_cannot_share_is_refused(monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    with pytest.raises(ConfigError, match="6 images cannot be shared by 4 processes"):
        open_fabric(load_recipe("tiny", SETTINGS))


def test_a_label_that_the_source_cannot_have_gets_no_gradient():
    trained = stepper("labels=a,b,c")
    allowed = torch.tensor([[True, True, False]] * 6)
    loss = trained(batch(allowed=allowed), 1, 0)
    head = trained.network.branches[0].head
    assert bool(torch.isfinite(loss).all())
    assert not head.weight.grad[2].any()
    assert head.weight.grad[:2].any()
    logits = torch.tensor([[1.0, 2.0, 5.0]]).masked_fill(~allowed[:1], -1e4)
    plain = F.cross_entropy(torch.tensor([[1.0, 2.0]]), torch.tensor([0]))
    assert float(F.cross_entropy(logits, torch.tensor([0]))) == pytest.approx(float(plain))


def test_the_lesion_term_is_minus_log_of_the_energy_inside():
    maps = torch.zeros(3, 4, 4)
    maps[0, 0, 0], maps[0, 3, 3] = 1.0, 3.0
    maps[1, 2, 2] = 5.0
    maps[2] = 1.0
    lesion = torch.zeros(3, GRID, GRID, dtype=torch.uint8)
    lesion[0, GRID - 4 :, GRID - 4 :] = 1  # part of the last cell
    lesion[1, GRID // 2 + 1, GRID // 2 + 1] = 1
    # 0.9 of the energy; all of it; and an image without a lesion, which does not count.
    expected = (-np.log(0.9) - np.log(1.0)) / 2
    assert float(lesion_loss(maps, lesion)) == pytest.approx(expected, rel=1e-4)
    assert float(lesion_loss(maps[2:], lesion[2:])) == 0


def test_the_lesion_term_moves_the_map_into_the_lesion():
    lesion = torch.zeros(6, GRID, GRID, dtype=torch.uint8)
    lesion[:, :32, :32] = 1
    settings = ("map_weight=3", "lr=0.01", "optimizer=adamw")
    trained = stepper(*settings, "class_weights=false")
    trained.model.train()

    def outside() -> float:
        with torch.no_grad():
            return float(lesion_loss(trained.network.logits_and_map(IMAGES, TRUTH)[1], lesion))

    before = outside()
    for step in range(25):
        trained(batch(lesion=lesion), 1, step)
    assert outside() < 0.7 * before


def test_backbones_wait_for_the_heads_and_then_follow_more_slowly():
    trained = stepper("frozen_epochs=1", "backbone_lr=0.1", "lr=0.001")
    before = {name: p.clone() for name, p in trained.network.named_parameters()}
    trained(batch(), 1, 0)
    changed = {n for n, p in trained.network.named_parameters() if not torch.equal(p, before[n])}
    assert changed
    assert not [name for name in changed if ".backbone." in name]
    trained(batch(), 2, 0)
    rates = {group["backbone"]: group["lr"] for group in trained.optimizer.param_groups}
    assert rates[True] == pytest.approx(0.1 * rates[False])
    now = dict(trained.network.named_parameters())
    assert [n for n in before if ".backbone." in n and not torch.equal(now[n], before[n])]


def test_frozen_stages_never_change_and_too_many_are_refused():
    trained = stepper("frozen_stages=2", "backbones=test_efficientnet")
    before = {name: p.clone() for name, p in trained.network.named_parameters()}
    for step in range(2):
        trained(batch(), 1, step)
    still = [n for n, p in trained.network.named_parameters() if torch.equal(p, before[n])]
    assert any("conv_stem" in name for name in still)
    assert any("blocks.1." in name for name in still)
    assert not any("blocks.2." in name for name in still)
    with pytest.raises(ConfigError, match="frozen_stages: test_efficientnet has"):
        stepper("frozen_stages=9", "backbones=test_efficientnet")
