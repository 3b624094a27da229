"""Pictures made from radiographs that are no longer radiographs of the kind a network reads."""

import cv2
import numpy as np

from tests.helpers.other_pictures.pictures import words, write
from tests.helpers.other_pictures.scans import bytes_of, smooth_noise


def inverted(rng, radiograph):
    """The negative; half of them with another contrast."""
    if rng.uniform() < 0.5:
        return 255 - radiograph
    return bytes_of(255 * (1 - radiograph / 255.0) ** rng.uniform(0.6, 1.5))


def inverted_with_its_rim(rng, radiograph):
    """The negative of the exposed field in a frame that was not inverted with it."""
    height, width = radiograph.shape
    rim = [int(rng.uniform(0.02, 0.12) * max(height, width)) for _ in range(4)]
    colour = int(rng.choice([0, 255]))
    return cv2.copyMakeBorder(255 - radiograph, *rim, cv2.BORDER_CONSTANT, value=colour)


def camera(rng, scene):
    """Lens blur, falling light towards the corners, sensor noise and a JPEG."""
    height, width = scene.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    values = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.5, 1.4))
    values = values * (1 - rng.uniform(0.05, 0.35) * (x**2 + y**2) / 2)
    values = values + rng.normal(0, rng.uniform(1, 6), values.shape)
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 90))]
    return cv2.imdecode(cv2.imencode(".jpg", bytes_of(values), quality)[1], cv2.IMREAD_GRAYSCALE)


def held_up(rng, radiograph, scene, least=0.55):
    """Lay the radiograph into the scene with its corners at random; also the mask of where."""
    height, width = scene.shape
    h, w = radiograph.shape
    scale = min(height / h, width / w) * rng.uniform(least, 0.95)
    half = np.array([w, h]) * scale / 2
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half
    turn = np.radians(rng.normal(0, 6))
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    corners = corners @ spin.T + rng.uniform(-0.1, 0.1, (4, 2)) * half * 2
    corners += np.array([width, height]) * (0.5 + rng.uniform(-0.05, 0.05, 2))
    source = np.float32([(0, 0), (w, 0), (w, h), (0, h)])
    matrix = cv2.getPerspectiveTransform(source, np.float32(corners))
    size = width, height
    flags = cv2.INTER_AREA
    laid = cv2.warpPerspective(radiograph.astype(np.float64), matrix, size, flags=flags)
    mask = cv2.warpPerspective(np.ones((h, w)), matrix, size)
    return scene * (1 - mask) + laid * mask, mask


def photographed_screen(rng, radiograph):
    """A monitor in a room: its pixels beat against the camera's, and a lamp is reflected."""
    rows = int(rng.integers(300, 520))
    shown = cv2.resize(
        radiograph, None, fx=rows / radiograph.shape[0], fy=rows / radiograph.shape[0]
    )
    shown = np.kron(shown, np.ones((2, 2)))
    shown[::2] *= rng.uniform(0.3, 0.8)  # the dark gaps between a monitor's lines
    shown[:, ::2] *= rng.uniform(0.6, 0.95)
    edge = int(rng.integers(10, 60))
    shown = cv2.copyMakeBorder(shown, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=25)
    scene = np.full(
        (int(rng.integers(380, 620)), int(rng.integers(380, 620))), rng.uniform(10, 150)
    )
    scene += smooth_noise(rng, *scene.shape, 1.7) * rng.uniform(3, 25)
    h, w = shown.shape
    height, width = scene.shape
    scale = min(height / h, width / w) * rng.uniform(0.75, 1.15)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * np.array([w, h]) * scale / 2
    corners = corners * (1 + rng.uniform(-0.12, 0.05, (4, 2))) + np.array([width, height]) / 2
    source = np.float32([(0, 0), (w, 0), (w, h), (0, h)])
    matrix = cv2.getPerspectiveTransform(source, np.float32(corners))
    size = width, height
    # Nearest neighbours: a camera's samples of the grid alias, which is the moiré.
    laid = cv2.warpPerspective(shown, matrix, size, flags=cv2.INTER_LINEAR)
    mask = cv2.warpPerspective(np.ones((h, w)), matrix, size)
    picture = scene * (1 - mask) + (15 + laid * rng.uniform(0.9, 1.3)) * mask
    if rng.uniform() < 0.7:
        lamp = np.zeros(picture.shape)
        place = int(rng.integers(width)), int(rng.integers(height))
        axes = int(rng.uniform(0.04, 0.2) * width), int(rng.uniform(0.02, 0.1) * width)
        cv2.ellipse(lamp, place, axes, rng.uniform(0, 180), 0, 360, rng.uniform(60, 220), -1)
        picture = picture + cv2.GaussianBlur(lamp, (0, 0), rng.uniform(3, 25))
    return camera(rng, picture)


def photographed_film(rng, radiograph):
    """A film on a lightbox: bright, uneven light around it and through it, and its clips."""
    shape = int(rng.integers(380, 640)), int(rng.integers(380, 640))
    tubes = np.cos(np.linspace(0, rng.uniform(4, 12), shape[0]))[:, None] * rng.uniform(0, 12)
    box = rng.uniform(200, 245) + tubes + smooth_noise(rng, *shape, 2.2) * 5
    # A film lets through more light where it was less exposed: bone is bright here too.
    film = 10 + radiograph * rng.uniform(0.6, 0.9)
    picture, _ = held_up(rng, film, box)
    if rng.uniform() < 0.6:
        picture[: int(rng.uniform(0.02, 0.12) * shape[0])] = rng.uniform(30, 120)
    return camera(rng, picture)


def film_on_a_window(rng, radiograph):
    """A film held against daylight: sky and frame around it, fingers at its side, glare on it."""
    shape = int(rng.integers(380, 640)), int(rng.integers(380, 640))
    sky = np.linspace(rng.uniform(150, 240), rng.uniform(80, 200), shape[0])[:, None]
    scene = sky + smooth_noise(rng, *shape, 1.8) * rng.uniform(5, 30)
    for x in rng.integers(0, shape[1], 2):
        scene[:, x : x + int(rng.integers(8, 30))] = rng.uniform(40, 230)
    picture, mask = held_up(rng, 25 + radiograph * rng.uniform(0.5, 0.85), scene, 0.5)
    picture += mask * np.maximum(smooth_noise(rng, *shape, 2.2), 0) * rng.uniform(10, 45)
    for _ in range(int(rng.integers(0, 3))):
        x, y = int(rng.integers(shape[1])), int(shape[0] * rng.uniform(0.75, 1))
        cv2.ellipse(picture, (x, y), (22, 90), rng.uniform(-40, 40), 0, 360, 150, -1, cv2.LINE_AA)
    return camera(rng, picture)


def viewer(rng, radiograph):
    """A screenshot of a viewer: menu, list of series, the radiograph small in its pane."""
    height, width = int(rng.integers(500, 800)), int(rng.integers(750, 1200))
    back, ink = (28, 200) if rng.uniform() < 0.7 else (225, 40)
    picture = np.full((height, width), back, np.uint8)
    cv2.rectangle(picture, (0, 0), (width, 44), int(rng.integers(50, 110)), -1)
    for x in range(12, width - 60, int(rng.integers(40, 70))):
        cv2.rectangle(picture, (x, 10), (x + 24, 34), int(rng.integers(120, 230)), 2)
    side = int(rng.integers(130, 260))
    for y in range(70, height - 100, 110):
        small = cv2.resize(radiograph, (90, 90), interpolation=cv2.INTER_AREA)
        picture[y : y + 90, 14:104] = small
        write(picture, words(rng, 2), (14, y + 104), 0.35, ink)
    pane = height - 70, width - side - 20
    scale = min(pane[0] / radiograph.shape[0], pane[1] / radiograph.shape[1])
    scale *= rng.uniform(0.4, 0.95)
    shown = cv2.resize(radiograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    top = 55 + (pane[0] - shown.shape[0]) // 2
    left = side + (pane[1] - shown.shape[1]) // 2
    picture[top : top + shown.shape[0], left : left + shown.shape[1]] = shown
    for k in range(int(rng.integers(3, 8))):
        write(picture, words(rng, 3), (side + 6, 70 + 18 * k), 0.42, ink)
        write(picture, words(rng, 2), (width - 190, 70 + 18 * k), 0.42, ink)
    return picture


def on_a_page(rng, radiograph):
    """A page of an article with the radiograph as its figure."""
    height, width = int(rng.integers(700, 1000)), int(rng.integers(500, 760))
    picture = np.full((height, width), int(rng.integers(235, 256)), np.uint8)
    across = int(width * rng.uniform(0.25, 0.6))
    down = min(int(across * radiograph.shape[0] / radiograph.shape[1]), height // 2)
    top, left = (
        int(rng.integers(40, height - down - 60)),
        int(rng.integers(30, width - across - 20)),
    )
    for y in range(40, height - 20, 20):
        if not top - 20 < y < top + down + 30:
            write(picture, words(rng, 12)[: (width - 60) // 9], (30, y), 0.4, 40)
    figure = cv2.resize(radiograph, (across, down), interpolation=cv2.INTER_AREA)
    picture[top : top + down, left : left + across] = figure
    write(picture, words(rng, 5), (left, top + down + 18), 0.36, 30)
    return picture
