"""0 bytes differ between orthoedge-native and Python, at full count: `make native-proof`.

ORTHOEDGE_NATIVE_CASES is the number of drawn radiographs, and ORTHOEDGE_NATIVE_SEED draws others.
ORTHOEDGE_NATIVE_PROGRAM names an `orthoedge-corpus` to compare too: one with sanitizers, or an
emulator and one of another processor.
"""

import os
import re
import shlex
import subprocess

import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import STANDARD
from tests.helpers.native.cases import SWEEP, Case, drawn_case, sweep_case
from tests.helpers.native.compare import from_module, from_program, from_python

pytestmark = pytest.mark.slow

DRAWN = int(os.environ.get("ORTHOEDGE_NATIVE_CASES", "300000"))
SEED = int(os.environ.get("ORTHOEDGE_NATIVE_SEED", "20"))


def equal(library, cases):
    """Count the cases, and those of which every byte is the same."""
    done = of = 0
    for case in cases:
        of += 1
        done += from_module(library, case) == from_python(case)
    return done, of


def test_drawn_radiographs(library, tally):
    cases = (drawn_case(SEED, number) for number in range(DRAWN))
    tally("native: drawn radiographs, same bytes", *equal(library, cases), f"seed {SEED}")


def test_every_size_from_32_to_4000(library, tally):
    cases = map(sweep_case, range(SWEEP))
    tally("native: sides of 32 to 4,000, same bytes", *equal(library, cases))


def test_real_radiographs(library, real_data, tally):
    unread = 0

    def cases():
        nonlocal unread
        for path in sorted(real_data.rglob("*.*")):
            if path.suffix.lower() not in (".jpg", ".jpeg", ".png", ".dcm", ".tif", ".tiff"):
                continue
            try:
                yield Case(STANDARD, read_image(path).pixels)
            except InputError:
                unread += 1

    done, of = equal(library, cases())
    tally("native: real radiographs, same bytes", done, of, f"{unread} files are no radiographs")


def _instruction_sets(command):
    """Names of those that the program has and this processor runs."""
    done = subprocess.run([*command, "none"], capture_output=True, text=True, check=False)
    return re.findall(r"[A-Z]\w+", done.stderr.partition("; has")[2])


def test_the_program_on_every_instruction_set(tally):
    named = os.environ.get("ORTHOEDGE_NATIVE_PROGRAM")
    if named is None:
        pytest.skip("ORTHOEDGE_NATIVE_PROGRAM is not set: make native-sanitize or native-aarch64")
    command, count = shlex.split(named), min(DRAWN, 20000)
    names = _instruction_sets(command)
    assert names
    equal_cases = dict.fromkeys(names, 0)
    numbers = [*range(count), *range(-SWEEP, 0, 16)]
    for start in range(0, len(numbers), 250):
        cases = [
            drawn_case(SEED, number) if number >= 0 else sweep_case(number + SWEEP)
            for number in numbers[start : start + 250]
        ]
        right = [from_python(case) for case in cases]
        for name in names:
            results, ran = from_program([*command, name], cases)
            assert ran == name
            equal_cases[name] += sum(map(bytes.__eq__, results, right))
    for name in names:
        tally(f"native: {name} of {named}, same bytes", equal_cases[name], len(numbers))
