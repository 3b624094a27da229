"""The main job, on real radiographs, with the bundles inside the package."""

import json

import cv2
import numpy as np
import pytest
from pydicom.data import get_testdata_file

from orthoedge.cli.main import main
from orthoedge.runtime import EMBEDDED, read_bundle


@pytest.fixture(scope="module")
def ankle():
    """A 10-bit MONOCHROME1 CR image of a distal tibia, out of the package pydicom-data."""
    return get_testdata_file("RG3_UNCR.dcm", download=False)


def test_a_cr_image_gives_a_finding_and_pictures(ankle, tmp_path, capsys):
    assert main(["predict", ankle, "--json", "--overlay", str(tmp_path)]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["error"] is None
    assert sum(record["probabilities"].values()) == pytest.approx(1)
    assert record["decision"] in ("report", "refer", "reject")
    assert record["notice"] == read_bundle(EMBEDDED).manifest.intended_use
    assert cv2.imread(record["overlay"]).shape[0] >= 1760
    picture = cv2.imread(record["side_by_side"], cv2.IMREAD_GRAYSCALE)
    side = int(np.argmax((picture[:400] == 24).all(axis=0)))  # the gap after the plain panel
    # Right polarity: in the plain half, bone is brighter than soft tissue, and that than the air
    # inside the field (pixels of the 1760×1760 original: mid-shaft, calf, right of the calf).
    scale = side / 1760
    bone, flesh, air = (
        float(picture[round(y * scale) :, round(x * scale) :][:2, :2].mean())
        for x, y in ((810, 300), (690, 300), (1230, 1100))
    )
    assert bone > flesh > air


def test_the_margins_outside_its_collimator_are_not_looked_at(ankle, capsys):
    assert main(["predict", ankle, "--json", "--bundle", "phantom"]) == 0
    x0, y0, x1, y1 = json.loads(capsys.readouterr().out)["placement"]["field"]
    assert 420 < x0 < 500
    assert 1200 < x1 < 1280
    assert (y0, y1) == (0, 1760)


def test_it_is_said_in_words_what_the_bundle_is_for(ankle, capsys):
    assert main(["predict", ankle]) == 0
    assert f"note: {read_bundle(EMBEDDED).manifest.intended_use}\n" in capsys.readouterr().out
    assert main(["predict", ankle, "--bundle", "phantom"]) == 0
    assert "says nothing about a patient" in capsys.readouterr().out


def test_a_folder_of_real_radiographs_is_read_to_the_end(real_data, tmp_path, capsys):
    source = real_data / "fracture_small" / "images"
    for path in sorted(source.iterdir())[::40]:
        (tmp_path / path.name).symlink_to(path)
    assert main(["predict", str(tmp_path), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(records) >= 15
    assert all(np.isfinite(record["saliency_map"]).all() for record in records)
