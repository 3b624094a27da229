"""The score between training images and other pictures, on an engine that is quickly made."""

import numpy as np
import pytest

from orthoedge.compression.calibration.ood_images import draw_outliers
from orthoedge.compression.calibration.ood_score import fit_outlier_score
from orthoedge.runtime.decision import OodScore
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.targets import EngineOptions, open_engine
from orthoedge.targets.engine_utils import run_batched

PREPROCESS = Preprocess(
    size=32, collimated_field="keep", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)


@pytest.fixture(scope="module")
def squares(phantom_pixels):
    return np.stack([PREPROCESS(pixels) for pixels in phantom_pixels(3)])


def test_outliers_depend_on_seed_and_place_alone():
    few, more = (draw_outliers(PREPROCESS, count, 5) for count in (8, 16))
    np.testing.assert_array_equal(few, more[:8])
    assert few.dtype == np.uint8
    assert few.shape == (8, 32, 32)
    assert (few != draw_outliers(PREPROCESS, 8, 6)).any(axis=(1, 2)).all()
    assert min(picture.std() for picture in more) > 0


def test_held_out_images_score_about_0_and_other_pictures_above_the_threshold(
    small_bundle, squares
):
    engine = open_engine(small_bundle, "portable", "fp32", options=EngineOptions(threads=1))
    seen, held_out = squares[:40], squares[40:]
    features = run_batched(engine, held_out[:, None]).feature_vector
    statistics = fit_outlier_score(
        engine, seen, draw_outliers(PREPROCESS, 32, 1), held_out, features
    )
    distance = OodScore(statistics)
    own = np.array(
        [distance(f, image_statistics(s)) for f, s in zip(features, held_out, strict=True)]
    )
    assert np.median(own) == pytest.approx(0, abs=1e-6)
    # Of 20 scores the 0.98 quantile, which is the threshold, lies between the last two.
    assert np.sort(own)[-2] < 1 < np.sort(own)[-1]
    assert statistics.reject >= 1
    others = draw_outliers(PREPROCESS, 24, 2)
    features = run_batched(engine, others[:, None]).feature_vector
    scores = np.array(
        [distance(f, image_statistics(s)) for f, s in zip(features, others, strict=True)]
    )
    # Chance is a half; eight random features and statistics of 32 pixels reach this and more.
    assert np.mean(scores[:, None] > own) > 0.8
