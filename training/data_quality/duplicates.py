"""Duplicate images: equal bytes, names of augmented copies, or the same picture.

Pictures are compared in two steps. The first is a perceptual hash with soft bits over all pairs:
the low frequencies of the cosine transform, each weighted by its frequency (a picture's spectrum
falls about so) and compressed towards ±1, like the signs of the classic hash; a coefficient near
zero then counts little instead of flipping a bit. A mirror changes the sign of the odd frequencies
and a quarter turn exchanges rows and columns, so one transform covers all eight orientations. The
hash alone cannot distinguish the femurs of two patients in the same position, so a second step
aligns the few candidate pairs and correlates the fine detail: noise, trabeculae, markers.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import DataError

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Thresholds, measured on pictures of at least 256 × 256. First step: copies (JPEG at quality 70,
# 60 % of the size, brightness +10, mirrored, turned by quarters) score over 0.97, crops of 2 % over
# 0.84. Second step: these copies score over 0.91, turns by 2° over 0.86. Of the 72 million pairs of
# 12,000 phantoms, which share an anatomy and differ as a second exposure would, none is over 0.87;
# of 789 real radiographs none is over 0.35.
_COARSE = 0.80
_FINE = 0.89

_SIDE = 96  # of a fingerprint; at 64, noise and trabeculae are averaged away
_N = 16  # low frequencies in each direction
_FREQUENCY = np.hypot(*np.mgrid[:_N, :_N]).astype(np.float32)
_BLOCK = 512  # by 2,048 pairs at a time: tables of cosines that stay in a processor's cache

# What tools add to the name of a copy that they turn, mirror or re-encode. ` (2)` alone does not
# count: renaming many files at once writes `benign (1)`, `benign (2)` for different patients.
_SUFFIX = re.compile(
    r"""(
        [-_\ ]rotated[-_]?\d*           # -rotated1, and again for a copy of a copy
      | [-_](h|v|hv)?(flip|mirror)(ped|ed)?[-_]?\d*
      | [-_]rot(90|180|270)
      | [-_]aug(mented)?[-_]?\d*
      | [-_\ ]*-\ copy(\ \(\d+\))?      # Windows
      | (_(jpe?g|png|bmp|tiff?))?\.rf\.[0-9a-z]+   # Roboflow
    )$""",
    re.VERBOSE,
)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        return sha256(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot read the file: {error.strerror or error}") from error


def file_digests(paths: Sequence[Path]) -> list[str]:
    """SHA-256 of each file, as `file_digest`."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(file_digest, paths))


def stem_key(path: Path) -> str:
    """File name in lower case, without its extension and without the suffixes of an augmented copy.

    `10-rotated1-rotated2.jpg`, `10_jpg.rf.0a1b2c.jpg` and `10.png` are all `10`. Collections number
    each class from one, so equal keys mean the same picture only within one label, and only where
    one of the two names was shortened.
    """
    stem = path.stem.lower()
    while (shorter := _SUFFIX.sub("", stem)) and shorter != stem:
        stem = shorter
    return stem


def fingerprint(image: Pixels) -> Pixels:
    """Fingerprint of a picture, uint8 (96, 96), for `find_duplicates`.

    It is the picture itself, reduced and stretched to full contrast; zero for a constant picture.

    Args:
        image: uint8 (H, W).
    """
    # The mean of `INTER_AREA` makes a copy's size matter little.
    small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = float(small.min()), float(small.max())
    stretched: Pixels = np.rint((small - low) * (255 / max(high - low, 1))).astype(np.uint8)
    return stretched


def find_duplicates(
    fingerprints: Sequence[Pixels], others: Sequence[Pixels] | None = None
) -> list[tuple[int, int]]:
    """Find pairs (i, j), in order, that show one picture, also mirrored or turned by quarters.

    Every pair is compared: 12,000 pictures take seconds, 40,000 about a minute.

    Args:
        fingerprints: uint8 (96, 96) each, from `fingerprint`.
        others: j indexes these, and they are not compared with each other; None: j indexes
            `fingerprints` too, and i < j.
    """
    second = fingerprints if others is None else others
    if not fingerprints or not second:
        return []
    waves = np.stack([*map(_low_frequencies, fingerprints)])
    straight, turned = _by_parity(waves), _by_parity(waves.transpose(0, 2, 1))
    against = straight
    if others is not None:
        against = _by_parity(np.stack([*map(_low_frequencies, others)]))
    pairs: list[tuple[int, int]] = []
    for top in range(0, len(fingerprints), _BLOCK):
        for left in range(top if others is None else 0, len(second), 4 * _BLOCK):
            there = [block[left : left + 4 * _BLOCK] for block in against]
            cosines = np.maximum(
                _best_mirror([block[top : top + _BLOCK] for block in straight], there),
                _best_mirror([block[top : top + _BLOCK] for block in turned], there),
            )
            near = cosines >= _COARSE
            rows, columns = np.nonzero(np.triu(near, 1 + top - left) if others is None else near)
            pairs += zip((rows + top).tolist(), (columns + left).tolist(), strict=True)
    pairs.sort()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        fits = pool.map(lambda p: _aligned_correlation(fingerprints[p[0]], second[p[1]]), pairs)
        return [pair for pair, fit in zip(pairs, fits, strict=True) if fit >= _FINE]


def _low_frequencies(picture: Pixels) -> Floats:
    """float32 (16, 16) of length one, or zero for a constant picture."""
    waves = cv2.dct(picture.astype(np.float32))[:_N, :_N] * _FREQUENCY  # the mean gets weight 0
    rms = float(np.sqrt(np.mean(waves**2)))
    if rms < 1e-3:  # constant but for the transform's rounding; a grey level more gives over 0.1
        return np.zeros((_N, _N), np.float32)
    soft = np.arctan(2 * waves / rms)
    unit: Floats = (soft / np.linalg.norm(soft)).astype(np.float32)
    return unit


def _by_parity(waves: Floats) -> list[Floats]:
    """(N, 16, 16) to four of (N, 64): rows and columns even-even, even-odd, odd-even, odd-odd."""
    return [waves[:, r::2, c::2].reshape(len(waves), -1) for r in (0, 1) for c in (0, 1)]


def _best_mirror(here: list[Floats], there: list[Floats]) -> Floats:
    """Cosines (N, M), each the largest over no mirror, either mirror and both.

    Mirrors are signs a, b = ±1 on the odd rows and columns: ee + b·eo + a·oe + ab·oo.
    """
    ee, eo, oe, oo = (h @ t.T for h, t in zip(here, there, strict=True))
    best: Floats = np.maximum(ee + oo + np.abs(eo + oe), ee - oo + np.abs(eo - oe))
    return best


def _aligned_correlation(first: Pixels, second: Pixels) -> float:
    """Correlation of the fine detail of two pictures (96, 96), the second aligned to the first."""
    inside = np.ones(first.shape, bool)
    soft = cv2.GaussianBlur(first, (0, 0), 1)
    turns = (np.rot90(view, quarter) for view in (second, second[:, ::-1]) for quarter in range(4))
    positions = [np.ascontiguousarray(turn) for turn in turns]
    fit = max(positions, key=lambda p: _correlation(soft, cv2.GaussianBlur(p, (0, 0), 1), inside))
    still, whole = np.eye(2, 3, dtype=np.float32), np.full(first.shape, 255, np.uint8)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 60, 1e-4)
    try:  # Evangelidis and Psarakis, TPAMI 30 (2008) 1858: undoes a crop or a slight turn
        _, move = cv2.findTransformECC(first, fit, still, cv2.MOTION_AFFINE, stop, whole, 3)
    except cv2.error:  # it does not converge where the pictures share nothing to align
        return 0.0
    how, size = cv2.WARP_INVERSE_MAP, (_SIDE, _SIDE)
    aligned = cv2.warpAffine(
        fit.astype(np.float32), move, size, None, how | cv2.INTER_CUBIC, cv2.BORDER_REFLECT
    )
    inside = cv2.warpAffine(np.ones_like(aligned), move, size, flags=how | cv2.INTER_LINEAR) > 0.99
    inside[[0, 1, -2, -1], :] = inside[:, [0, 1, -2, -1]] = False
    if np.count_nonzero(inside) < inside.size / 2:
        return 0.0
    return _correlation(_detail(first.astype(np.float32)), _detail(aligned), inside)


def _detail(picture: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Detail finer than three pixels, with edges and noise scaled to equal strength."""
    fine = picture - cv2.GaussianBlur(picture, (0, 0), 1.5)
    # 2 of 255: weaker detail than this is rounding of the fingerprint or of a JPEG.
    equal: npt.NDArray[Any] = fine / (np.sqrt(cv2.GaussianBlur(fine * fine, (0, 0), 3)) + 2)
    return equal


def _correlation(a: npt.NDArray[Any], b: npt.NDArray[Any], where: npt.NDArray[np.bool_]) -> float:
    """Pearson's r of two pictures inside `where`; 0 where one of them is constant."""
    x, y = (picture[where] - picture[where].mean(dtype=np.float64) for picture in (a, b))
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(x @ y) / scale if scale > 0 else 0.0
