"""Expected pixels of a DICOM radiograph, calculated one by one in exact fractions.

Nothing here is shared with the code under test: the formulas are those of PS3.3 C.11.1 (modality),
C.11.2 (VOI), C.7.6.3.1.2 and C.8.11.3 (polarity), and the files come from `dicom_bytes.py`.
"""

import itertools
import math
import random
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache

from tests.helpers.hostile.dicom_bytes import EXPLICIT, SYNTAXES, Sequence, file_bytes, words

ROWS, COLUMNS = 32, 33
BITS = range(8, 17)
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")
SHAPES = (None, "IDENTITY", "INVERSE")
MODALITIES = ("absent", "rising", "falling", "table")
VOIS = ("none", "LINEAR", "LINEAR_EXACT", "SIGMOID", "table")


@dataclass(frozen=True)
class Case:
    """One cell of the matrix."""

    photometric: str
    shape: str | None
    modality: str
    voi: str
    bits: int
    signed: bool
    syntax: str = EXPLICIT


def matrix():
    """Every cell in every uncompressed transfer syntax, in a fixed order."""
    axes = (PHOTOMETRIC, SHAPES, MODALITIES, VOIS, BITS, (False, True), SYNTAXES)
    return [Case(*values) for values in itertools.product(*axes)]


@dataclass(frozen=True)
class Table:
    """A look-up table of the file."""

    first: int
    depth: int
    entries: tuple[int, ...]

    def at(self, value):
        return self.entries[min(max(round(value) - self.first, 0), len(self.entries) - 1)]


@cache
def stored_values(case):
    """A full range, its ends, and pixels of every brightness between."""
    low, high = stored_range(case)
    draw = random.Random(case.bits * 2 + case.signed)
    values = [low, low + 1, high - 1, high, (low + high) // 2]
    return values + [draw.randint(low, high) for _ in range(ROWS * COLUMNS - len(values))]


def stored_range(case):
    if case.signed:
        return -(2 ** (case.bits - 1)), 2 ** (case.bits - 1) - 1
    return 0, 2**case.bits - 1


@cache
def modality_table(case):
    """A falling curve that leaves out both ends of the range."""
    low, high = stored_range(case)
    count = high - low - 6
    top = 2**case.bits - 1
    entries = tuple(round(top * (1 - (i / (count - 1)) ** 2)) for i in range(count))
    return Table(low + 3, 16 if case.bits > 8 else 8, entries)


def rescale(case):
    """Slope and intercept."""
    return {"absent": (1, 0), "rising": (2, -1000), "falling": (-2, 1000)}[case.modality]


@cache
def measured_range(case):
    """Lowest and highest value after the modality transform."""
    if case.modality == "table":
        entries = modality_table(case).entries
        return min(entries), max(entries)
    slope, intercept = rescale(case)
    ends = [slope * value + intercept for value in stored_range(case)]
    return min(ends), max(ends)


@cache
def voi_table(case):
    """A rising curve over most of what 16 bits can name of the measured range."""
    low, high = measured_range(case)
    first = max(low, -(2**15)) + 5
    count = min(high - first - 4, 2**16)
    depth = {8: 8, 16: 16}.get(case.bits, case.bits)
    entries = tuple(round((2**depth - 1) * math.sqrt(i / (count - 1))) for i in range(count))
    return Table(first, depth, entries)


@cache
def window(case):
    """Center and width as decimal strings; the quarter keeps exact ties away."""
    low, high = measured_range(case)
    return f"{low + 0.55 * (high - low):.0f}.25", f"{0.6 * (high - low):.0f}.5"


def build(case):
    """The file."""
    return file_bytes(elements_of(case), case.syntax)


def elements_of(case):
    """Its elements, as `dicom_bytes.encode` takes them."""
    low, _ = measured_range(case)
    pixels = words(stored_values(case), case.bits, case.syntax)
    elements = [
        (0x00080060, "CS", "DX"),
        (0x00280002, "US", [1]),
        (0x00280004, "CS", case.photometric),
        (0x00280010, "US", [ROWS]),
        (0x00280011, "US", [COLUMNS]),
        (0x00280100, "US", [8 if case.bits == 8 else 16]),
        (0x00280101, "US", [case.bits]),
        (0x00280102, "US", [case.bits - 1]),
        (0x00280103, "US", [int(case.signed)]),
        (0x7FE00010, "OW", pixels),
    ]
    if case.shape:
        elements.append((0x20500020, "CS", case.shape))
    if case.modality == "table":
        elements.append((0x00283000, "SQ", table_item(modality_table(case), case.signed, case)))
    elif case.modality != "absent":
        slope, intercept = rescale(case)
        elements += [(0x00281052, "DS", str(intercept)), (0x00281053, "DS", str(slope))]
    if case.voi == "table":
        elements.append((0x00283010, "SQ", table_item(voi_table(case), low < 0, case)))
    elif case.voi != "none":
        center, width = window(case)
        elements += [(0x00281050, "DS", center), (0x00281051, "DS", width)]
        if case.voi != "LINEAR":  # the default
            elements.append((0x00281056, "CS", case.voi))
    return elements


def table_item(table, signed, case):
    """One item of a LUT sequence; the descriptor's VR is that of its input (C.11.2.1.1)."""
    numbers = [len(table.entries) % 2**16, table.first, table.depth]
    if signed:
        numbers = [number - 2**16 if number >= 2**15 else number for number in numbers]
    descriptor = (0x00283002, "SS" if signed else "US", numbers)
    return Sequence([[descriptor, (0x00283006, *table_data(table, case))]])


def table_data(table, case):
    if case.bits % 2 and len(table.entries) < 2**15:  # more do not fit into a length of 16 bits
        return "US", list(table.entries)
    return "OW", words(table.entries, table.depth, case.syntax)


def expected(case):
    """Grey levels of the pixels, row by row."""
    upright = levels(replace(case, photometric="", shape=None, syntax=""))
    inverse = (case.photometric == "MONOCHROME1") if case.shape is None else case.shape == "INVERSE"
    return [255 - level for level in upright] if inverse else upright


@cache
def levels(case):
    """Grey levels before polarity."""
    values = [measure(case, stored) for stored in stored_values(case)]
    return [min(max(round(level), 0), 255) for level in shown(case, values)]


def measure(case, stored):
    """C.11.1: what the detector measured."""
    if case.modality == "table":
        return modality_table(case).at(stored)
    slope, intercept = rescale(case)
    return slope * stored + intercept


def shown(case, values):
    """C.11.2: each value on a scale of 0 to 255, not yet rounded."""
    if case.voi == "table":
        table = voi_table(case)
        return [Fraction(255 * table.at(value), 2**table.depth - 1) for value in values]
    if case.voi == "none":  # ours to choose: percentiles 0.5 and 99.5
        ordered = sorted(values)
        low, high = (
            ordered[math.ceil(Fraction(share, 200) * len(values)) - 1] for share in (1, 199)
        )
        return [Fraction(255 * (value - low), high - low) for value in values]
    c, w = map(Fraction, window(case))
    return [
        {"LINEAR": linear, "LINEAR_EXACT": exact, "SIGMOID": sigmoid}[case.voi](x, c, w)
        for x in values
    ]


def linear(x, c, w):
    """C.11.2.1.2.1."""
    half = Fraction(1, 2)
    if x <= c - half - (w - 1) / 2:
        return 0
    if x > c - half + (w - 1) / 2:
        return 255
    return ((x - (c - half)) / (w - 1) + half) * 255


def exact(x, c, w):
    """C.11.2.1.3.2."""
    if x <= c - w / 2:
        return 0
    if x > c + w / 2:
        return 255
    return ((x - c) / w + Fraction(1, 2)) * 255


def sigmoid(x, c, w):
    """C.11.2.1.3.1."""
    return 255 / (1 + math.exp(-4 * (x - c) / w))
