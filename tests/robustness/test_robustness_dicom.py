"""Promise 4: a DICOM radiograph's pixels are those that the standard asks for, every one."""

import numpy as np
import pytest

from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.dicom_truth import COLUMNS, ROWS, build, expected, matrix
from tests.helpers.hostile.dicom_twins import COMPRESSED, recode, twins

pytestmark = pytest.mark.slow


def is_exact(data, case):
    found = read_image(data).pixels
    return np.array_equal(found, np.array(expected(case)).reshape(ROWS, COLUMNS))


def test_every_cell_of_the_polarity_matrix_is_exact(tally):
    cases = matrix()
    wrong = [case for case in cases if not is_exact(build(case), case)]
    note = f"first: {wrong[0]}" if wrong else "images, every pixel as PS3.3 gives it"
    tally("DICOM: polarity matrix", len(cases) - len(wrong), 6480, note)


def test_every_reversible_twin_decodes_to_the_same_pixels(tally, tmp_path):
    wrong = []
    for name, case in twins():
        data = recode(build(case), name, tmp_path)
        assert COMPRESSED[name].encode() in data[:400]
        if not is_exact(data, case):
            wrong.append((name, case))
    note = f"first: {wrong[0]}" if wrong else "files in five reversible syntaxes"
    tally("DICOM: compressed twins", len(twins()) - len(wrong), 90, note)
