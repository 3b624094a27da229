"""Batches: the same bytes, however the work is divided."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.loader import batches, stream
from orthoedge.training.recipe_file import load_recipe

SETTINGS = ("labels=a,b", "compress.alert_labels=b", "batch=8", "preprocess.size=48")


@pytest.fixture
def noise():
    data = RadiographDataset((), ("a", "b"), load_recipe("tiny").preprocess, progress=False)
    data.images = np.random.default_rng(0).integers(0, 256, (30, 48, 48), np.uint8)
    data.labels = np.arange(30) % 2
    data.boxes = (((0.2, 0.2, 0.4, 0.4),), ()) * 15
    return data


@pytest.mark.parametrize("crop", [0, 32])
def test_shares_and_threads_give_the_bytes_of_the_whole(noise, crop, monkeypatch):
    recipe = load_recipe("tiny", (*SETTINGS, f"augment.crop={crop}"))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    whole = list(batches(noise, recipe, 3))
    assert len(whole) == 3  # whole batches of 8 in 30
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    shares = [list(batches(noise, recipe, 3, process, 4)) for process in range(4)]
    for step, (images, labels) in enumerate(whole):
        assert images.shape == (8, 1, crop or 48, crop or 48)
        assert images.dtype == torch.uint8
        assert torch.equal(images, torch.cat([share[step][0] for share in shares]))
        assert torch.equal(labels, torch.cat([share[step][1] for share in shares]))


def test_epochs_differ_and_a_set_under_one_batch_is_one(noise):
    recipe = load_recipe("tiny", SETTINGS)
    first, second = (next(batches(noise, recipe, epoch))[0] for epoch in (1, 2))
    assert not torch.equal(first, second)
    large = load_recipe("tiny", (*SETTINGS, "batch=64"))
    assert [len(labels) for _, labels in batches(noise, large, 1)] == [30]


def test_no_two_places_of_a_run_share_their_random_numbers():
    drawn = {
        stream(seed, epoch, position).integers(2**62)
        for seed in (0, 1, 2**32 - 1)
        for epoch in range(10)
        for position in range(50)
    }
    assert len(drawn) == 1500
