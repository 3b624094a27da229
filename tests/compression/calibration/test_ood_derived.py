"""Outliers made from training radiographs: what each keeps of them, and what it depends on."""

import cv2
import numpy as np
import pytest

from orthoedge.compression.calibration.ood_derived import derive_outliers
from orthoedge.compression.calibration.ood_score import fit_outlier_score
from orthoedge.runtime.decision import OodScore
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.targets import EngineOptions, open_engine
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.phantoms.render import write_phantoms
from tests.helpers import other_pictures

PREPROCESS = Preprocess(
    size=32, collimated_field="keep", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, 60, seed=4, size=96)
    return [read_image(path).pixels for path in sorted((folder / "images").iterdir())]


def test_derived_outliers_depend_on_seed_place_and_radiograph_alone(radiographs):
    few, more = (derive_outliers(radiographs, PREPROCESS, count, 5) for count in (6, 12))
    np.testing.assert_array_equal(few, more[:6])
    assert few.dtype == np.uint8
    assert few.shape == (6, 32, 32)
    assert (few != derive_outliers(radiographs, PREPROCESS, 6, 6)).any(axis=(1, 2)).all()
    others = derive_outliers(radiographs[6:], PREPROCESS, 6, 5)
    assert (few != others).any(axis=(1, 2)).all()


def test_radiographs_are_taken_in_turn_where_more_outliers_are_asked_for(radiographs):
    derived = derive_outliers(radiographs[:3], PREPROCESS, 12, 5)
    assert len({picture.tobytes() for picture in derived}) == 12


def test_no_derived_outlier_shows_the_radiograph_as_it_was(radiographs):
    """A negative correlates with its radiograph below 0, the rest far less than a copy would."""
    size = 64
    resized = [cv2.resize(r, (size, size), interpolation=cv2.INTER_AREA) for r in radiographs]
    plain = Preprocess(
        size=size, collimated_field="keep", clahe_stage="none", clahe_clip=2.0, clahe_tiles=8
    )
    derived = derive_outliers(resized, plain, len(resized), 1)
    alike = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(derived, resized, strict=True)
    ]
    assert max(alike) < 0.99
    assert min(alike) < -0.9


def test_pictures_made_from_radiographs_score_above_held_out_ones(
    small_bundle, radiographs
):
    """The tests derive them in other ways than the fit."""
    engine = open_engine(small_bundle, "portable", "fp32", options=EngineOptions(threads=1))
    preprocess = small_bundle.manifest.preprocess
    seen, held_out = (
        np.stack([preprocess(r) for r in part]) for part in (radiographs[:40], radiographs[40:])
    )
    features = run_batched(engine, held_out[:, None]).feature_vector
    outliers = derive_outliers(radiographs[:40], preprocess, 60, 1)
    score = OodScore(fit_outlier_score(engine, seen, outliers, held_out, features))

    def scores(images):
        numbers = run_batched(engine, images[:, None]).feature_vector
        return np.array(
            [score(f, image_statistics(s)) for f, s in zip(numbers, images, strict=True)]
        )

    own = scores(held_out)
    for kind in other_pictures.DERIVED:
        pictures = other_pictures.derive(kind, radiographs[40:], 2)
        theirs = scores(np.stack([preprocess(picture) for picture in pictures]))
        assert np.mean(theirs[:, None] > own) > 0.8, kind.__name__  # chance is a half
