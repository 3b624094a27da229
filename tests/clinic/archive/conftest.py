import os
from pathlib import Path

import pytest

from tests.helpers.archives.rows import write_pictures

ROOT = Path(__file__).parents[3]
# Where the package is not installed, this is how a process that is started finds it.
IMPORTABLE = os.pathsep.join([str(ROOT / ".typing"), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", IMPORTABLE)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """Folder of 24 radiographs in one folder below it; copy it before changing a file."""
    folder = tmp_path_factory.mktemp("archive")
    write_pictures(folder, 24)
    return folder
