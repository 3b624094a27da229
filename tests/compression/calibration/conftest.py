"""Phantoms for the tests of the out-of-distribution score."""

import pytest

from orthoedge.runtime.image_io.reader import read_image
from orthoedge.training.phantoms.render import write_phantoms


@pytest.fixture(scope="session")
def phantom_pixels(tmp_path_factory):
    """A function from a seed to the pixels of 60 phantoms, as they are read from their files."""

    def of(seed):
        folder = tmp_path_factory.mktemp("data") / "phantoms"
        write_phantoms(folder, 60, seed=seed, size=96)
        return [read_image(path).pixels for path in sorted((folder / "images").iterdir())]

    return of
