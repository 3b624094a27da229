"""Chest and abdomen films and MR slices of joints and spine, drawn from seeds; real scans."""

import cv2
import numpy as np

from tests.helpers.other_pictures.pictures import crop
from tests.helpers.other_pictures.scans import bytes_of, smooth_noise


def blob(shape, centre, axes, turn=0.0, soft=2.0):
    """Float (H, W) of a filled ellipse, 1 inside; places and sizes in shares of the height."""
    height, width = shape
    mask = np.zeros(shape, np.uint8)
    place = round(width / 2 + centre[0] * height), round(centre[1] * height)
    sizes = max(1, round(axes[0] * height)), max(1, round(axes[1] * height))
    cv2.ellipse(mask, place, sizes, turn, 0, 360, 255, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(mask / 255.0, (0, 0), soft * height / 400)


def curve(shape, points, width, soft=1.0):
    """Float (H, W) of a line through points in shares of the height, x from the middle."""
    height, across = shape
    line = np.zeros(shape, np.uint8)
    places = np.array([(across / 2 + x * height, y * height) for x, y in points])
    thickness = max(1, round(width * height))
    cv2.polylines(line, [places.astype(np.int32)], False, 255, thickness, cv2.LINE_AA)
    return cv2.GaussianBlur(line / 255.0, (0, 0), soft * height / 400)


def chest_film(rng):
    """A frontal chest: dark lungs under ribs, heart, diaphragm, shoulders and neck."""
    height = int(rng.integers(350, 700))
    shape = height, round(height * rng.uniform(0.85, 1.15))
    x = (np.arange(shape[1]) - shape[1] / 2)[None] / height
    y = np.arange(shape[0])[:, None] / height
    trunk = rng.uniform(0.44, 0.52)
    values = 95.0 * ((np.abs(x) < trunk) & (y > 0.18 + 0.25 * np.abs(x)))
    values += 70 * blob(shape, (0, 0.05), (0.11, 0.25), 0, 4)
    values = cv2.GaussianBlur(values, (0, 0), height / 80)
    values += rng.uniform(30, 60) * blob(shape, (0, 0.5), (0.075, 0.6), 0, 3)  # mediastinum
    base = rng.uniform(0.72, 0.82)
    for side in (-1, 1):
        lung = blob(shape, (side * 0.23, 0.48), (0.17, 0.33), side * -6, 3)
        dome = blob(shape, (side * 0.24, base + 0.21), (0.25, 0.22), 0, 2)
        values -= rng.uniform(55, 80) * lung * (1 - dome)
        values += rng.uniform(45, 80) * dome
        vessels = np.maximum(smooth_noise(rng, *shape, 1.4), 0) * 9
        values += vessels * lung * (1 - dome)
        for k in range(int(rng.integers(8, 11))):
            top = 0.16 + 0.07 * k
            t = np.linspace(0, 1, 30)
            reach = 0.14 + 0.22 * np.sin(np.pi * (0.25 + 0.06 * k))
            rib = np.stack([side * (0.05 + reach * np.sin(t * 1.9)), top + 0.16 * t**2], 1)
            values += rng.uniform(8, 18) * curve(shape, rib, 0.022)
        clavicle = [(side * 0.03, 0.2), (side * 0.15, 0.17), (side * 0.33, 0.12)]
        values += rng.uniform(20, 35) * curve(shape, clavicle, 0.025)
    heart = rng.choice([-1, 1], p=[0.1, 0.9]) * 0.08
    values += rng.uniform(50, 90) * blob(
        shape, (heart, 0.66), (rng.uniform(0.13, 0.2), 0.14), 25, 3
    )
    for k in range(14):
        values += 7 * blob(shape, (0, 0.06 + 0.065 * k), (0.035, 0.024))
    return bytes_of(20 + values * rng.uniform(0.8, 1.2) + rng.normal(0, rng.uniform(1, 5), shape))


def abdomen_film(rng):
    """A plain abdomen: lumbar spine, lower ribs, psoas, bowel gas and the top of the pelvis."""
    height = int(rng.integers(350, 700))
    shape = height, round(height * rng.uniform(0.75, 0.95))
    flank = blob(shape, (0, 0.5), (rng.uniform(0.38, 0.5), 0.9), 0, 8)
    values = rng.uniform(90, 130) * flank + smooth_noise(rng, *shape, 1.8) * 7
    for k in range(7):
        centre = rng.normal(0, 0.004), 0.02 + 0.105 * k
        values += rng.uniform(35, 55) * blob(shape, centre, (0.06, 0.042))
        values += 20 * curve(shape, [(-0.11, centre[1]), (0.11, centre[1])], 0.018)
    values += 35 * blob(shape, (0, 0.84), (0.1, 0.1))
    for side in (-1, 1):
        values += rng.uniform(35, 60) * blob(shape, (side * 0.23, 0.8), (0.17, 0.12), side * 35)
        values -= 25 * blob(shape, (side * 0.13, 0.99), (0.06, 0.07), side * 20)
        psoas = [(side * 0.07, 0.25), (side * 0.1, 0.5), (side * 0.18, 0.72)]
        values += 10 * curve(shape, psoas, 0.06, 4)
        values += 12 * blob(shape, (side * 0.2, 0.38), (0.06, 0.1), side * 12, 4)
        for k in range(int(rng.integers(2, 5))):
            rib = [(side * 0.07, 0.03 + 0.08 * k), (side * 0.25, 0.05 + 0.09 * k)]
            rib += [(side * 0.38, 0.15 + 0.09 * k)]
            values += rng.uniform(8, 20) * curve(shape, rib, 0.02)
    for _ in range(int(rng.integers(6, 30))):
        centre = rng.uniform(-0.33, 0.33), rng.uniform(0.1, 0.75)
        axes = rng.uniform(0.015, 0.07), rng.uniform(0.012, 0.045)
        values -= rng.uniform(15, 60) * blob(shape, centre, axes, rng.uniform(0, 180), 3)
    return bytes_of(15 + values * rng.uniform(0.8, 1.2) + rng.normal(0, rng.uniform(1, 5), shape))


def knee_mr(rng):
    """A sagittal knee: bright marrow in a dark cortex, dark tendons, muscle and bright fat."""
    side = int(rng.choice([256, 320, 512]))
    shape = side, side
    marrow, muscle, fat = rng.uniform(120, 220), rng.uniform(50, 100), rng.uniform(150, 250)
    if rng.uniform() < 0.4:  # fat suppressed
        marrow, fat = rng.uniform(25, 60), rng.uniform(20, 60)
    leg = blob(shape, (rng.uniform(-0.05, 0.05), 0.5), (rng.uniform(0.33, 0.45), 0.8))
    inner = blob(shape, (0, 0.5), (rng.uniform(0.26, 0.32), 0.75))
    values = fat * leg + (muscle - fat) * inner
    bones = (((0, 0.14), (0.1, 0.26)), ((0.0, 0.35), (0.17, 0.12)), ((0, 0.63), (0.16, 0.1)))
    bones += (((0, 0.88), (0.09, 0.28)), ((-0.22, 0.34), (0.04, 0.08)))
    for centre, axes in bones:
        cortex = blob(shape, centre, (axes[0] + 0.012, axes[1] + 0.012), 0, 0.7)
        values = values * (1 - cortex) + 12 * cortex
    for centre, axes in bones:
        bone = blob(shape, centre, axes, 0, 0.7)
        values = values * (1 - bone) + marrow * bone
    values += 90 * curve(shape, [(-0.15, 0.49), (0.16, 0.5)], 0.018)  # fluid
    for points in (((-0.24, 0.2), (-0.23, 0.45), (-0.12, 0.66)), ((0.03, 0.44), (-0.04, 0.54))):
        tendon = curve(shape, points, 0.022)
        values = values * (1 - tendon) + 10 * tendon
    values += smooth_noise(rng, *shape, 1.0) * 8 * leg
    x = np.linspace(-1, 1, side)
    coil = 1 - rng.uniform(0, 0.5) * np.hypot(x[:, None], x[None]) ** 2
    return bytes_of(np.abs(values * coil + rng.normal(0, rng.uniform(2, 9), shape)))


def spine_mr(rng):
    """A sagittal spine: a row of vertebrae and discs, cord in bright fluid, fat at the back."""
    side = int(rng.choice([320, 384, 512]))
    shape = side, round(side * rng.uniform(0.6, 1))
    y = np.arange(side)[:, None] / side
    x = (np.arange(shape[1]) - shape[1] / 2)[None] / side
    bend = rng.uniform(0.02, 0.07) * np.sin(np.pi * (y * rng.uniform(1, 1.6) + rng.uniform(0, 1)))
    across = x - bend
    body, disc, fluid = rng.uniform(90, 180), rng.uniform(30, 130), rng.uniform(20, 240)
    values = rng.uniform(40, 80) + smooth_noise(rng, *shape, 1.3) * rng.uniform(10, 25)
    values = np.where(across > 0.26, rng.uniform(150, 245), values)
    values = np.where(across > rng.uniform(0.3, 0.36), 0, values)
    values = np.where(x < rng.uniform(-0.3, -0.2), values * 0.6, values)
    phase = (y * rng.uniform(7, 12) + rng.uniform()) % 1
    column = np.abs(across) < 0.075
    values = np.where(np.abs(across) < 0.083, 12, values)
    values = np.where(column & (phase < 0.74), body, values)
    values = np.where(column & (phase > 0.8) & (phase < 0.95), disc, values)
    values = np.where(np.abs(across - 0.12) < 0.03, fluid, values)
    values = np.where(np.abs(across - 0.12) < 0.014, rng.uniform(70, 130), values)
    spinous = (np.abs(across - 0.2) < 0.04) & (phase < 0.5)
    values = np.where(spinous, body * 0.8, values)
    values = cv2.GaussianBlur(values + np.zeros(shape), (0, 0), side / 300)
    values = values * np.exp(-rng.uniform(0, 2.5) * (0.3 - x)) * rng.uniform(0.9, 1.5)
    return bytes_of(np.abs(values + rng.normal(0, rng.uniform(2, 8), shape)))


STORED = (
    "693_UNCI.dcm", "J2K_pixelrep_mismatch.dcm", "bad_sequence.dcm", "explicit_VR-UN.dcm",
    "MR2_UNCI.dcm", "MR-SIEMENS-DICOM-WithOverlays.dcm", "RG1_UNCI.dcm",
)  # fmt: skip


def stored_scan(rng):
    """Part of a real CT or MR slice or chest film of those that pydicom brings along."""
    from pydicom import dcmread
    from pydicom.data import get_testdata_file

    file = get_testdata_file(str(rng.choice(STORED)), download=False)
    data = dcmread(file)
    values = data.pixel_array.astype(np.float64)
    if data.PhotometricInterpretation == "MONOCHROME1":
        values = values.max() - values
    low, high = np.quantile(values, (rng.uniform(0, 0.1), rng.uniform(0.97, 1)))
    return crop(rng, bytes_of(255 * (values - low) / (high - low)), 0.75)
