"""Golden images are test images, or phantoms where those are of patients."""

from types import SimpleNamespace

import numpy as np

from orthoedge.compression.build_bundle import _golden_images
from orthoedge.runtime.preprocess import STANDARD


def split(kind):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (12, 224, 224), dtype=np.uint8)
    return SimpleNamespace(
        kind=kind, test=SimpleNamespace(images=images, labels=np.repeat([2, 0, 1], 4))
    )


def test_test_phantoms_of_each_label_in_turn():
    splits = split("phantoms")
    images = _golden_images(splits, STANDARD)
    assert images.shape == (8, 1, 224, 224)
    assert np.array_equal(images[:, 0], splits.test.images[[4, 8, 0, 5, 9, 1, 6, 10]])


def test_a_bundle_holds_no_picture_of_a_patient():
    splits = split("radiographs")
    images = _golden_images(splits, STANDARD)
    assert images.shape == (8, 1, 224, 224)
    assert images.dtype == np.uint8
    assert not (images[:, None, 0] == splits.test.images[None]).all((2, 3)).any()
    assert all(image.std() > 20 for image in images)  # pictures, not blanks
    assert len({image.tobytes() for image in images}) == 8
