"""Orthopaedic hardware, side markers and the collimated field, drawn over the anatomy."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.training.phantoms.bones import F32
from orthoedge.training.phantoms.scene import Scene


def render_hardware(scene: Scene, size: int) -> F32 | None:
    """Hardware and marker as an opaque path, float32 (size, size), 0 .. 1; None without any."""
    if scene.hardware is None and scene.marker is None:
        return None
    canvas = np.zeros((size, size), dtype=np.uint8)
    fix = 16.0

    def point(x: float, y: float) -> tuple[int, int]:
        return int((x + 0.5) * size * fix), int((y + 0.5) * size * fix)

    if scene.hardware:
        kind, x, y, angle, length = scene.hardware
        ux, uy = np.cos(angle), np.sin(angle)
        unit = size / 256

        def line(thick: float, value: int) -> None:
            ends = [point(x + s * length * ux, y + s * length * uy) for s in (-0.5, 0.5)]
            cv2.line(canvas, ends[0], ends[1], value, max(1, round(thick * unit)), cv2.LINE_AA, 4)

        def cross(at: float, a: float, b: float, thick: float, value: int) -> None:
            cx, cy = x + at * length * ux, y + at * length * uy
            ends = [point(cx - s * uy, cy + s * ux) for s in (a, b)]
            cv2.line(canvas, ends[0], ends[1], value, max(1, round(thick * unit)), cv2.LINE_AA, 4)

        if kind == "plate":
            face = length > 0.2
            line(8 if face else 3, 140 if face else 230)
            for at in np.linspace(-0.42, 0.42, max(3, int(length / 0.045))):
                if face:  # seen from above: holes, most of them with a screw head
                    head = point(x + at * length * ux, y + at * length * uy)
                    cv2.circle(canvas, head, int(2.2 * unit * fix), 255, -1, cv2.LINE_AA, 4)
                else:
                    cross(float(at), -0.006, 0.07, 2.2, 190)
        elif kind == "screw":
            line(3, 210)
            cross(-0.5, -0.014, 0.014, 4, 255)
        elif kind == "wire":
            line(2, 230)
        elif kind == "ring":
            axes = (int(length * 0.5 * size * fix), int(length * 0.28 * size * fix))
            tilt = float(np.rad2deg(angle) + 90)
            thick = max(1, round(3.5 * unit))
            cv2.ellipse(canvas, point(x, y), axes, tilt, 0, 360, 240, thick, cv2.LINE_AA, 4)
        else:
            for at in np.linspace(-0.5, 0.5, max(3, int(length / 0.03))):
                cross(float(at), -0.012, 0.012, 1.4, 230)
    if scene.marker:
        text, x, y, turns, height, boxed = scene.marker
        side = max(8, int(height * size))
        tile = np.zeros((side, side), dtype=np.uint8)
        scale, thick = side / 30.0, max(1, round(side / 8))
        cv2.putText(
            tile, text, (int(side * 0.18), int(side * 0.86)), cv2.FONT_HERSHEY_SIMPLEX, scale,
            255, thick, cv2.LINE_AA,
        )  # fmt: skip
        if boxed:
            cv2.rectangle(tile, (0, 0), (side - 1, side - 1), 255, max(1, side // 12))
        tile = np.rot90(tile, turns)
        x0 = int(np.clip((x + 0.5) * size - side / 2, 0, size - side))
        y0 = int(np.clip((y + 0.5) * size - side / 2, 0, size - side))
        place = canvas[y0 : y0 + side, x0 : x0 + side]
        np.maximum(place, tile, out=place)
    return canvas.astype(np.float32) * np.float32(1 / 255)


def field_mask(scene: Scene, size: int) -> npt.NDArray[np.uint8] | None:
    """Mask with 255 inside the collimated field, uint8 (size, size); None without collimation."""
    cx, cy, hw, hh, tilt = scene.field
    if hw > 0.6:
        return None
    middle, sides = ((cx + 0.5) * size, (cy + 0.5) * size), (2 * hw * size, 2 * hh * size)
    box = cv2.boxPoints((middle, sides, tilt))
    mask = np.zeros((size, size), dtype=np.uint8)
    cv2.fillConvexPoly(mask, np.round(box * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    return mask
