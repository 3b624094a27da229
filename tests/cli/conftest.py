"""Fixtures that more than one file of command-line tests uses."""

import cv2
import numpy as np
import pytest


@pytest.fixture
def bundle(small_bundle):
    return ["--bundle", str(small_bundle.path)]


@pytest.fixture
def radiograph(tmp_path):
    path = tmp_path / "good.png"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return path


@pytest.fixture
def only_line(capsys):
    """Call it for what stands on stderr, which must be one line and no traceback."""

    def read():
        error = capsys.readouterr().err
        assert error.count("\n") == 1, error
        assert "Traceback" not in error
        return error

    return read
