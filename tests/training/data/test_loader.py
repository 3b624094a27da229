"""Batches: the same bytes, however the work is divided."""

from __future__ import annotations

import os

import cv2
import numpy as np
import pytest
import torch

from orthoedge.runtime.errors import DataError
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.data.loader import batches, draw, stream
from orthoedge.training.recipe_file import load_recipe

SOURCE_A = 'source_labels.a=["fracture","non-affected"]'
SETTINGS = ("labels=a,b", "compress.alert_labels=b", "batch=8", "preprocess.size=48")


@pytest.fixture
def noise():
    data = RadiographDataset((), ("a", "b"), load_recipe("tiny").preprocess, progress=False)
    data.images = np.random.default_rng(0).integers(0, 256, (30, 48, 48), np.uint8)
    data.labels = np.arange(30) % 2
    data.boxes = (((0.2, 0.2, 0.4, 0.4),), ()) * 15
    data.allowed = np.ones((30, 2), bool)
    return data


@pytest.mark.parametrize("crop", [0, 32])
def test_shares_and_threads_give_the_bytes_of_the_whole(noise, crop, monkeypatch):
    recipe = load_recipe("tiny", (*SETTINGS, f"augment.crop={crop}"))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    whole = list(batches(noise, recipe, 3))
    assert len(whole) == 3  # whole batches of 8 in 30
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    shares = [list(batches(noise, recipe, 3, process, 4)) for process in range(4)]
    for step, batch in enumerate(whole):
        assert batch.images.shape == (8, 1, crop or 48, crop or 48)
        assert batch.images.dtype == torch.uint8
        for number, tensor in enumerate(batch):
            assert torch.equal(tensor, torch.cat([share[step][number] for share in shares]))


def test_epochs_differ_and_a_set_under_one_batch_is_one(noise):
    recipe = load_recipe("tiny", SETTINGS)
    first, second = (next(batches(noise, recipe, epoch))[0] for epoch in (1, 2))
    assert not torch.equal(first, second)
    large = load_recipe("tiny", (*SETTINGS, "batch=64"))
    assert [len(batch.truth) for batch in batches(noise, large, 1)] == [30]


def test_no_two_places_of_a_run_share_their_random_numbers():
    drawn = {
        stream(seed, epoch, position).integers(2**62)
        for seed in (0, 1, 2**32 - 1)
        for epoch in range(10)
        for position in range(50)
    }
    assert len(drawn) == 1500


def test_a_balanced_draw_takes_sources_and_their_labels_equally_often():
    labels = np.array([0] * 600 + [1] * 2800 + [1] * 1600 + [2] * 1300 + [3] * 300)
    sources = ["a"] * 3400 + ["b"] * 3200
    drawn = draw(labels, True, np.random.default_rng(0), sources)
    share = {
        key: np.mean([(sources[i], int(labels[i])) == key for i in drawn])
        for key in {(s, int(x)) for s, x in zip(sources, labels, strict=True)}
    }
    assert len(drawn) == 6600
    for (source, _), value in share.items():  # two labels of a, three of b; 4 deviations are 0.022
        assert value == pytest.approx(1 / 4 if source == "a" else 1 / 6, abs=0.022)


def test_a_part_without_the_lesion_is_healthy_and_with_it_keeps_label_and_place(tmp_path):
    """A white lesion on grey: whoever sees white has its label, whoever does not is healthy."""
    records = []
    for number in range(12):
        pixels = np.full((160, 160), 100, np.uint8)
        pixels[:, ::16] = 60
        pixels[30:54, 90:114] = 255
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), pixels)
        box = (90 / 160, 30 / 160, 114 / 160, 54 / 160)
        records.append(ImageRecord(path, "fracture", str(number), (box,), source="a"))
    settings = (
        *("augment.zoom=1", "augment.read_size=96", "preprocess.size=64", "batch=12"),
        *("augment.degrees=10", "augment.brightness=0", "augment.contrast=0", "augment.noise=0"),
        *("preprocess.clahe_stage=none", "balanced=false", SOURCE_A),
    )
    recipe = load_recipe("tiny", settings)
    data = RadiographDataset(
        records, recipe.labels, recipe.preprocess, False, None, recipe.source_labels
    )
    assert data.allowed.tolist() == [[True, True, False, False]] * 12
    stored = data.stored(recipe.augment.read_size)
    assert stored.images.shape == (12, 96, 96)
    seen = set()
    for epoch in range(1, 9):
        for batch in batches(stored, recipe, epoch):
            assert batch.allowed.tolist() == [[True, True, False, False]] * 12
            rows = zip(batch.images[:, 0], batch.truth, batch.lesion, strict=True)
            for pixels, label, lesion in rows:
                white = pixels.numpy() > 200
                seen.add(int(label))
                if label == 0:
                    assert white.sum() > 20
                    inside = lesion.numpy()[white]  # both have 64 cells a side
                    assert inside.mean() > 0.9  # its rim is half grey
                else:
                    assert white.sum() < 20  # a sliver of 2 % of the box may show
                    assert not lesion.any()
    assert seen == {0, 1}


def test_a_label_that_its_source_cannot_have_is_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.arange(4096, dtype=np.uint8).reshape(64, 64))
    record = ImageRecord(tmp_path / "a.png", "tumor-benign", "p", source="a")
    recipe = load_recipe("tiny", (SOURCE_A,))
    with pytest.raises(DataError, match="tumor-benign is not one of a's"):
        RadiographDataset(
            [record], recipe.labels, recipe.preprocess, False, None, recipe.source_labels
        )
