"""Photographs, print, screens, noise and patterns, drawn from seeds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tests.helpers.other_pictures.scans import bytes_of, smooth_noise


def shape_of(rng):
    return int(rng.integers(256, 800)), int(rng.integers(256, 800))


def crop(rng, picture, least=0.35):
    """A part of at least that share of each side, perhaps mirrored."""
    height, width = picture.shape
    h, w = int(rng.uniform(least, 1) * height), int(rng.uniform(least, 1) * width)
    y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    part = picture[y : y + h, x : x + w]
    return np.ascontiguousarray(part[:, :: int(rng.choice([-1, 1]))])


def words(rng, count):
    letters = "etaoinshrdlucmfwygpbvk"
    return " ".join(
        "".join(rng.choice(list(letters), int(rng.integers(2, 10)))) for _ in range(count)
    )


def write(picture, text, place, scale, value, font=cv2.FONT_HERSHEY_SIMPLEX, thickness=1):
    cv2.putText(picture, text, place, font, scale, int(value), thickness, cv2.LINE_AA)


def flower(rng):
    return crop(rng, photograph("flower.jpg"))


def dead_leaves(rng):
    """Discs that hide each other: the statistics of natural scenes (Lee et al., IJCV 2001)."""
    height, width = shape_of(rng)
    picture = np.full((height, width), 128, np.uint8)
    radii = 1 / np.sqrt(rng.uniform(1 / 120**2, 1 / 4**2, 1500))
    for radius in radii:
        centre = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(picture, centre, int(radius), int(rng.integers(10, 246)), -1, cv2.LINE_AA)
    texture = smooth_noise(rng, height, width, 1.0) * rng.uniform(2, 12)
    return bytes_of(cv2.GaussianBlur(picture, (3, 3), 0) + texture)


def text_page(rng):
    height, width = int(rng.integers(500, 1000)), int(rng.integers(400, 800))
    paper, ink = (rng.integers(235, 256), rng.integers(0, 60))
    if rng.uniform() < 0.25:
        paper, ink = ink, paper
    picture = np.full((height, width), paper, np.uint8)
    scale = rng.uniform(0.35, 0.7)
    for y in range(40, height - 30, int(42 * scale)):
        if rng.uniform() < 0.88:
            text = words(rng, 30)[: int(rng.uniform(0.4, 1) * (width - 60) / (17 * scale))]
            write(picture, text, (30, y), scale, ink)
    return picture


def white_noise(rng):
    height, width = shape_of(rng)
    if rng.uniform() < 0.5:
        return rng.integers(0, 256, (height, width), dtype=np.uint8)
    return bytes_of(rng.normal(rng.uniform(40, 200), rng.uniform(5, 60), (height, width)))


def screenshot(rng):
    height, width = int(rng.integers(400, 800)), int(rng.integers(600, 1200))
    dark = rng.uniform() < 0.4
    back, ink = (rng.integers(20, 60), 220) if dark else (rng.integers(225, 256), 30)
    picture = np.full((height, width), back, np.uint8)
    cv2.rectangle(picture, (0, 0), (width, 36), int(rng.integers(40, 200)), -1)
    side = int(rng.integers(100, 240))
    cv2.rectangle(picture, (0, 36), (side, height), int(rng.integers(40, 230)), -1)
    for y in range(60, height, 28):
        write(picture, words(rng, 2), (10, y), 0.4, ink)
    for _ in range(int(rng.integers(3, 9))):
        x, y = int(rng.integers(side, width - 60)), int(rng.integers(50, height - 40))
        corner = x + int(rng.integers(60, 320)), y + int(rng.integers(30, 200))
        cv2.rectangle(picture, (x, y), corner, int(rng.integers(60, 256)), -1)
        write(picture, words(rng, 3), (x + 6, y + 20), 0.45, ink)
    return picture


def gradient(rng):
    height, width = shape_of(rng)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    angle = rng.uniform(0, 2 * np.pi)
    ramp = x * np.cos(angle) + y * np.sin(angle)
    if rng.uniform() < 0.5:
        ramp = np.hypot(x - rng.uniform(), y - rng.uniform())
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    return bytes_of(rng.uniform(0, 60) + rng.uniform(120, 195) * ramp)


def building(rng):
    return crop(rng, photograph("china.jpg"))


def portrait(rng):
    return crop(rng, photograph("grace_hopper.jpg"))


def landscape(rng):
    """Sky, ridges that pale with distance, and trees."""
    height, width = int(rng.integers(300, 700)), int(rng.integers(400, 900))
    clouds = smooth_noise(rng, height, width, 1.8) * rng.uniform(5, 25)
    picture = np.linspace(rng.uniform(120, 220), 220, height)[:, None] + clouds
    y = np.arange(height)[:, None]
    for k in range(int(rng.integers(3, 6))):
        ridge = smooth_noise(rng, 2, width, 1.6)[0] * height * 0.06
        top = height * (0.35 + 0.15 * k) + ridge
        ground = 190 - 38 * k + smooth_noise(rng, height, width, 0.9) * (4 + 5 * k)
        picture = np.where(y > top, ground, picture)
    return bytes_of(picture)


def scanned_page(rng):
    """Print on grey paper: askew, unevenly lit, with a picture or a table."""
    height, width = int(rng.integers(600, 1000)), int(rng.integers(450, 750))
    picture = np.full((height, width), 225, np.uint8)
    for column in range(2):
        left = 30 + column * width // 2
        for y in range(60, height - 40, 19):
            text = words(rng, 10)[: width // 2 // 10 - 5]
            write(picture, text, (left, y), 0.42, 40, cv2.FONT_HERSHEY_COMPLEX_SMALL)
    if rng.uniform() < 0.6:
        top = int(rng.integers(60, height - 260))
        cv2.rectangle(picture, (30, top), (width - 30, top + 180), 200, -1)
        for k in range(6):
            cv2.line(picture, (30, top + 30 * k), (width - 30, top + 30 * k), 60, 1)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-6, 6), 1)
    picture = cv2.warpAffine(picture, turn, (width, height), borderValue=70)
    light = 1 + 0.12 * smooth_noise(rng, height, width, 2.5)
    return bytes_of(cv2.GaussianBlur(picture, (0, 0), 0.8) * light + rng.normal(0, 3, light.shape))


def fractal_noise(rng):
    field = smooth_noise(rng, *shape_of(rng), rng.uniform(0.5, 2.2))
    return bytes_of(rng.uniform(80, 170) + field * rng.uniform(15, 60))


def salt_and_pepper(rng):
    picture = np.full(shape_of(rng), int(rng.integers(30, 226)), np.uint8)
    share = rng.uniform(0.02, 0.4)
    places = rng.uniform(size=picture.shape)
    picture[places < share] = 0
    picture[places > 1 - share] = 255
    return picture


def terminal(rng):
    height, width = int(rng.integers(350, 700)), int(rng.integers(500, 1000))
    picture = np.full((height, width), int(rng.integers(0, 45)), np.uint8)
    for y in range(18, height, 18):
        indent = 10 + 18 * int(rng.integers(0, 5))
        text = words(rng, int(rng.integers(0, 9)))
        write(picture, text, (indent, y), 0.42, rng.integers(120, 256), cv2.FONT_HERSHEY_DUPLEX)
    return picture


def chart(rng):
    height, width = int(rng.integers(300, 700)), int(rng.integers(400, 900))
    picture = np.full((height, width), 255, np.uint8)
    cv2.rectangle(picture, (50, 30), (width - 30, height - 50), 0, 1)
    x = np.linspace(50, width - 30, 120)
    for _ in range(int(rng.integers(1, 6))):
        y = height / 2 + smooth_noise(rng, 2, 120, 1.5)[0] * height / 9
        points = np.stack([x, y], 1).astype(np.int32)
        cv2.polylines(picture, [points], False, int(rng.integers(0, 170)), 2, cv2.LINE_AA)
    if rng.uniform() < 0.4:
        for left in range(70, width - 60, 40):
            top = int(rng.integers(60, height - 60))
            cv2.rectangle(picture, (left, top), (left + 26, height - 51), 120, -1)
    write(picture, words(rng, 4), (width // 4, 20), 0.5, 0)
    return picture


def bars_and_stars(rng):
    height, width = shape_of(rng)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    kind = int(rng.integers(4))
    if kind == 0:  # Siemens star
        values = np.sin(int(rng.integers(8, 40)) * np.arctan2(y, x)) > 0
    elif kind == 1:  # zone plate
        values = 0.5 + 0.5 * np.sin(rng.uniform(20, 150) * (x**2 + y**2))
    elif kind == 2:  # bars
        values = np.floor((x + 1) * rng.integers(3, 9)) / 16
    else:  # chequers
        cells = int(rng.integers(3, 30))
        values = (np.floor(x * cells) + np.floor(y * cells)) % 2
    return bytes_of(values * rng.uniform(150, 255))


def photograph(name):
    """Grey of a picture that scikit-learn or matplotlib brings along."""
    import matplotlib
    import sklearn.datasets

    folder = Path(sklearn.datasets.__file__).parent / "images"
    if not (folder / name).exists():
        folder = Path(matplotlib.get_data_path()) / "sample_data"
    picture = cv2.imread(str(folder / name), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return picture
