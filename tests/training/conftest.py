"""Fixtures of the training tests."""

import csv
import json

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def spot_images(tmp_path_factory):
    """120 images a tiny network can learn: a bright spot, boxed, or none."""
    folder = tmp_path_factory.mktemp("set")
    rng = np.random.default_rng(0)
    with (folder / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "patient_id", "boxes"))
        for i in range(120):
            pixels = cv2.GaussianBlur(rng.uniform(20, 120, (80, 80)).astype(np.float32), (0, 0), 2)
            boxes = ""
            if i % 2:
                x, y = (int(v) for v in rng.integers(12, 60, 2))
                cv2.circle(pixels, (x, y), 8, 170.0, -1)
                boxes = json.dumps([[(x - 9) / 80, (y - 9) / 80, (x + 9) / 80, (y + 9) / 80]])
            cv2.imwrite(str(folder / f"{i:03d}.png"), pixels.astype(np.uint8))
            writer.writerow((f"{i:03d}.png", ("plain", "spot")[i % 2], i, boxes))
    return folder
