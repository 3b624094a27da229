"""Fixtures of the segmentation tests."""

import csv

import cv2
import numpy as np
import pytest

from orthoedge.training.recipe_file import load_recipe

LEARNABLE = (
    "labels=non-affected,spot", "compress.alert_labels=spot", "source_labels={}",
    "compress.gate.fp32.max_recall_drop={}", "compress.gate.int8.max_recall_drop={}",
    "threads=1", "precision=32-true", "warmup_epochs=0", "ema=0", "schedule=constant",
    "augment.read_size=0", "augment.zoom=0", "augment.appearance=0", "preprocess.clahe_stage=none",
    "segmentation.encoder=test_resnet", "segmentation.decoder=16,16,16,16,8",
    "segmentation.size=64", "segmentation.batch=8", "segmentation.epochs=4", "segmentation.lr=5e-3",
)  # fmt: skip
"""Settings of `unet-region` that a small network learns the spots with in seconds."""


@pytest.fixture(scope="session")
def spots(tmp_path_factory):
    """80 images of 80 × 80: half of them with one or two bright spots, masked at three sizes."""
    folder = tmp_path_factory.mktemp("spots")
    rng = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "patient_id", "source", "mask"))
        for i in range(80):
            pixels = cv2.GaussianBlur(rng.uniform(20, 120, (80, 80)).astype(np.float32), (0, 0), 2)
            mask = np.zeros((80, 80), np.uint8)
            if i % 2:
                for _ in range(1 + i % 3 // 2):
                    cv2.circle(mask, rng.integers(14, 66, 2).tolist(), 7, 255, -1)
                pixels[mask > 0] = 190
                side = (80, 40, 160)[i % 3]
                mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST)
                cv2.imwrite(str(folder / f"{i:03d}-mask.png"), mask)
            cv2.imwrite(str(folder / f"{i:03d}.png"), pixels.astype(np.uint8))
            name = f"{i:03d}-mask.png" if i % 2 else ""
            label = ("non-affected", "spot")[i % 2]
            writer.writerow((f"{i:03d}.png", label, i, ("here", "there")[i // 40], name))
    return folder


@pytest.fixture(scope="session")
def small():
    """Recipe of the spots; takes more overrides."""

    def recipe(*overrides):
        return load_recipe("unet-region", (*LEARNABLE, *overrides))

    return recipe
