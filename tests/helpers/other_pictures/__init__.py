"""Pictures that are no bone radiographs: what the gate must turn away.

None of this is what `compression/calibration` draws or derives: a bundle is fitted on those.
"""

import numpy as np

from tests.helpers.other_pictures.derived import (
    film_on_a_window,
    inverted,
    inverted_with_its_rim,
    on_a_page,
    photographed_film,
    photographed_screen,
    viewer,
)
from tests.helpers.other_pictures.films import (
    abdomen_film,
    chest_film,
    knee_mr,
    spine_mr,
    stored_scan,
)
from tests.helpers.other_pictures.pictures import (
    bars_and_stars,
    building,
    chart,
    dead_leaves,
    flower,
    fractal_noise,
    gradient,
    landscape,
    portrait,
    salt_and_pepper,
    scanned_page,
    screenshot,
    terminal,
    text_page,
    white_noise,
)
from tests.helpers.other_pictures.scans import (
    abdomen_ct,
    head_slice,
    linear_ultrasound,
    ultrasound_fan,
)

KINDS = (
    flower, building, portrait, landscape, dead_leaves, text_page, scanned_page, screenshot,
    terminal, chart, white_noise, salt_and_pepper, fractal_noise, abdomen_ct, head_slice,
    knee_mr, spine_mr, chest_film, abdomen_film, stored_scan, ultrasound_fan,
    linear_ultrasound, gradient, bars_and_stars,
)  # fmt: skip
"""Functions of random numbers alone."""
DERIVED = (
    inverted, inverted_with_its_rim, photographed_screen, photographed_film, film_on_a_window,
    viewer, on_a_page,
)  # fmt: skip
"""Functions of random numbers and a radiograph."""


def draw(kind, count, seed):
    """`count` pictures uint8 (H, W) of one kind; a place in the row has its own random numbers."""
    return [kind(np.random.default_rng([seed, k])) for k in range(count)]


def derive(kind, radiographs, seed):
    """A picture uint8 (H, W) of each radiograph; each place has its own random numbers."""
    return [kind(np.random.default_rng([seed, k]), r) for k, r in enumerate(radiographs)]
