"""`orthoedge data parts`: the lesion is on one side alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from orthoedge.cli.main import main
from orthoedge.training.data.index import ImageRecord, read_index, write_index

LESION = 255


@pytest.fixture
def radiographs(tmp_path):
    """Six of grey texture with a white lesion of 60×60 pixels, a healthy one, and a covered one."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(8):
        noise = cv2.GaussianBlur(rng.normal(size=(400, 300)), (0, 0), 8)
        pixels = np.clip(110 + 400 * noise, 20, 200).astype(np.uint8)
        x, y = int(rng.integers(20, 220)), int(rng.integers(20, 320))
        boxes = [(x / 300, y / 400, (x + 60) / 300, (y + 60) / 400)]
        if number == 6:
            boxes = []
        elif number == 7:
            x, y, boxes = 0, 0, [(0.0, 0.0, 1.0, 1.0)]
        else:
            pixels[y : y + 60, x : x + 60] = LESION
        path = tmp_path / "set" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path), pixels)
        label = "fracture" if boxes else "non-affected"
        records.append(ImageRecord(path, label, f"p{number}", tuple(boxes), source="a", site="b"))
    write_index(tmp_path / "set" / "index.csv", records)
    return tmp_path / "set"


def test_each_radiograph_gives_a_part_with_its_lesion_and_one_without(radiographs, capsys):
    out = radiographs.parent / "parts"
    assert main(["data", "parts", str(radiographs), "--out", str(out)]) == 0
    assert "6 parts with a lesion and 6 without, of 6 images" in capsys.readouterr().out
    parts = read_index(out)
    assert sorted((p.patient_id, p.label) for p in parts) == [
        (f"p{n}", label) for n in range(6) for label in ("fracture", "non-affected")
    ]
    whole = 60 * 60 * (512 / 400) ** 2  # pixels of the lesion where the longer side has 512
    for part in parts:
        pixels = cv2.imread(str(part.path), cv2.IMREAD_GRAYSCALE)
        assert pixels.shape[0] == pixels.shape[1]
        share = (pixels > 240).sum() / whole
        assert share > 0.55 if part.label == "fracture" else share < 0.03, part
        assert bool(part.boxes) == (part.label == "fracture")
        assert (part.source, part.site) == ("a", "b")


def test_the_same_call_cuts_the_same_parts(radiographs):
    made = []
    for name in ("first", "second"):
        out = radiographs.parent / name
        assert main(["data", "parts", str(radiographs), "--out", str(out)]) == 0
        made.append({p.path.name: p.path.read_bytes() for p in read_index(out)})
    assert made[0] == made[1]


def test_what_gives_no_part_or_is_there_already_is_refused(radiographs, capsys):
    out = radiographs.parent / "parts"
    records = {record.patient_id: record for record in read_index(radiographs)}
    for patients in (("p6",), ("p6", "p7")):
        write_index(radiographs / "none.csv", [records[patient] for patient in patients])
        assert main(["data", "parts", str(radiographs / "none.csv"), "--out", str(out)]) == 2
        assert "no radiograph has boxes" in capsys.readouterr().err
    assert main(["data", "parts", str(radiographs), "--out", str(out)]) == 0
    assert main(["data", "parts", str(radiographs), "--out", str(out)]) == 2
    assert "already holds an index" in capsys.readouterr().err
