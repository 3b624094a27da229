"""Outliers made from training radiographs: what each keeps of them, and what it depends on."""

import cv2
import numpy as np
import pytest

from orthoedge.compression.calibration.ood_derived import derive_outliers
from orthoedge.compression.calibration.ood_images import draw_outliers
from orthoedge.compression.calibration.ood_score import fit_outlier_score
from orthoedge.runtime.decision import OodScore
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.targets import EngineOptions, open_engine
from orthoedge.targets.engine_utils import run_batched
from tests.helpers import other_pictures

PREPROCESS = Preprocess(
    size=32, collimated_field="keep", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


@pytest.fixture(scope="module")
def radiographs(phantom_pixels):
    return phantom_pixels(4)


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
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(derived, resized, strict=True)]
    assert max(alike) < 0.99
    assert min(alike) < -0.9


@pytest.mark.slow
def test_derived_outliers_teach_the_score_what_drawn_ones_do_not(small_bundle, radiographs):
    """Pictures derived in other ways than in the fit score above held-out radiographs."""
    engine = open_engine(small_bundle, "portable", "fp32", options=EngineOptions(threads=1))
    seen = np.stack([PREPROCESS(radiograph) for radiograph in radiographs[:40]])
    held_out = np.stack([PREPROCESS(radiograph) for radiograph in radiographs[40:]])
    pictures = np.stack(
        [
            PREPROCESS(picture)
            for kind in other_pictures.DERIVED
            for picture in other_pictures.derive(kind, radiographs[40:50], 2)
        ]
    )
    held_out_features, features = (
        run_batched(engine, images[:, None]).feature_vector for images in (held_out, pictures)
    )

    def share_above(outliers):
        score = OodScore(fit_outlier_score(engine, seen, outliers, held_out, held_out_features))
        own, theirs = (
            np.array([score(f, image_statistics(s)) for f, s in zip(*both, strict=True)])
            for both in ((held_out_features, held_out), (features, pictures))
        )
        return np.mean(theirs[:, None] > own)

    drawn = draw_outliers(PREPROCESS, 44, 1)
    derived = derive_outliers(radiographs[:40], PREPROCESS, 60, 1)
    both = share_above(np.concatenate([drawn, derived]))
    # Chance is a half; eight random features and statistics of 32 pixels reach this and more.
    assert both > 0.8
    assert both > share_above(drawn) + 0.05
