"""The plots hold whatever a data set calls its classes."""

import cv2
import numpy as np

from orthoedge.training.evaluation.plots import write_confusion, write_roc


def test_a_label_is_text_and_no_formula(tmp_path):
    labels = (r"$\frac{$", "a $ b $ c")
    write_confusion(tmp_path / "confusion.png", np.eye(2, dtype=np.int64), labels)
    truth = np.array([0, 0, 1, 1])
    write_roc(tmp_path / "roc.png", truth, np.eye(2)[[0, 1, 1, 0]], labels)
    for name in ("confusion.png", "roc.png"):
        assert cv2.imread(str(tmp_path / name)).size > 0
