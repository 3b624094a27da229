"""Fixtures that more than one folder of tests uses."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _folder(variable, what):
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set: this test needs {what}")
    folder = Path(value)
    if not folder.is_dir():
        pytest.fail(f"{variable}={value} is not a folder")
    return folder


@pytest.fixture(scope="session")
def real_data():
    """Folder of real radiographs, one data set per sub-folder with an index.csv."""
    return _folder("ORTHOEDGE_REAL_DATA", "real radiographs")


@pytest.fixture(scope="session")
def real_weights():
    """Folder of pretrained safetensors weights."""
    return _folder("ORTHOEDGE_REAL_WEIGHTS", "pretrained weights")
