"""Annotations and tables that are damaged, absurd or marked are reported in one line, or read."""

import io
import shutil
import zipfile

import pytest

from orthoedge.runtime.errors import DataError
from orthoedge.training.datasets import import_dataset


def reason_of(imported, name):
    (reason,) = (s.reason for s in imported.skipped if s.path.name == name)
    return reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "unreadable annotation: IMG000001.json: "),
        ('{"shapes": []}', "unreadable annotation: IMG000001.json: "),
        (
            '{"shapes": [{"points": [[1, 2]], "shape_type": "point"}], '
            '"imageWidth": 80, "imageHeight": 100}',
            "unreadable annotation: IMG000001.json: a point of 1 points",
        ),
        ('{"version": ' + "[" * 100_000, "unreadable annotation: IMG000001.json: nested too deep"),
        (
            '{"shapes": [{"points": [[1, 2], [' + "9" * 400 + ', 9]], "shape_type": "rectangle"}], '
            '"imageWidth": 80, "imageHeight": 100}',
            "unreadable annotation: IMG000001.json: Number out of range",
        ),
        (
            '{"shapes": [{"points": [[1, 2], [1e308, 9]], "shape_type": "rectangle"}], '
            '"imageWidth": 80, "imageHeight": 100}',
            "box outside the image: [1, 2, 1e+308, 9] in 80×100 pixels",
        ),
    ],
    ids=["cut", "no size", "a point", "deep", "huge integer", "huge float"],
)
def test_an_annotation_that_cannot_be_read_costs_its_image_alone(btxrd, text, message):
    (btxrd / "Annotations" / "IMG000001.json").write_text(text)
    imported = import_dataset("btxrd", btxrd)
    assert len(imported.records) == 3
    reason = reason_of(imported, "IMG000001.jpeg")
    assert reason.startswith(message)
    assert "\n" not in reason


def test_a_byte_order_mark_is_no_part_of_an_annotation_or_a_table(btxrd, fracatlas, mura):
    """As editors on Windows write it."""
    for root in (btxrd, fracatlas, mura):
        name = {btxrd: "btxrd", fracatlas: "fracatlas"}.get(root, "mura")
        before = import_dataset(name, root)
        marked = [path for kind in ("*.json", "*.csv") for path in root.rglob(kind)]
        assert marked
        for path in marked:
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
        assert import_dataset(name, root) == before
    shutil.rmtree(fracatlas / "Annotations" / "COCO JSON")
    yolo = fracatlas / "Annotations" / "YOLO"
    yolo.mkdir()
    (yolo / "IMG0000019.txt").write_bytes(b"\xef\xbb\xbf0 0.5 0.5 0.5 0.25\n")
    boxes = {s.path.stem: s.boxes for s in import_dataset("fracatlas", fracatlas).records}
    assert boxes["IMG0000019"] == ((0.25, 0.375, 0.75, 0.625),)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"image_id,center\n"])
def test_what_is_no_workbook_is_said(btxrd, content):
    (btxrd / "dataset.xlsx").write_bytes(content)
    with pytest.raises(DataError, match=r"dataset\.xlsx: not a readable workbook"):
        import_dataset("btxrd", btxrd)


SHEET = "xl/worksheets/sheet1.xml"


@pytest.mark.parametrize("damage", ["cut", "flipped", "no sheet", "half a sheet", "bad cell"])
def test_a_damaged_workbook_is_one_clear_line(btxrd, damage):
    file = btxrd / "dataset.xlsx"
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
        at = archive.getinfo(SHEET).header_offset + 200  # inside the compressed cells
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[at : at + 20] = b"\xff" * 20
    else:
        sheet = parts.pop(SHEET)
        if damage == "half a sheet":
            parts[SHEET] = sheet[: len(sheet) // 2]
        elif damage == "bad cell":
            parts[SHEET] = sheet.replace(b'r="A1"', b'r="?"')
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, part)
        content = buffer.getvalue()
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"dataset\.xlsx: not a readable workbook: .") as caught:
        import_dataset("btxrd", btxrd)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
