"""`orthoedge data import`, and the index that it writes."""

import csv
import dataclasses
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orthoedge.cli.main import main
from orthoedge.runtime.errors import DataError
from orthoedge.training.data.index import ImageRecord, read_index, write_index
from orthoedge.training.data.splits import split_records
from orthoedge.training.data_quality.leakage import check_leaks
from orthoedge.training.datasets import import_dataset
from orthoedge.training.recipe import SplitSettings
from tests.helpers.dataset_files import picture

# Any text that a file can hold: no surrogates, which UTF-8 has no bytes for, and no NUL, which no
# CSV reader takes.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12).map(
    str.strip  # space around a cell is no part of it
)
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0/"), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
CUTS = st.tuples(st.floats(0, 1), st.floats(0, 1)).filter(lambda c: c[0] < c[1])
BOXES = st.lists(st.builds(lambda x, y: (x[0], y[0], x[1], y[1]), CUTS, CUTS), max_size=3)


@st.composite
def records(draw):
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique_by=lambda n: n.casefold()))
    return [
        (
            draw(st.sampled_from(("set/images", "set", "elsewhere"))),
            name,
            draw(st.booleans()),
            ImageRecord(
                path=Path(name),
                label=draw(TEXT.filter(bool)),
                patient_id=draw(TEXT.filter(bool)),
                boxes=tuple(draw(BOXES)),
                source=draw(TEXT),
                site=draw(TEXT),
                body_part=draw(TEXT),
                age=draw(TEXT),
                sex=draw(TEXT),
            ),
        )
        for name in names
    ]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=records())
def test_an_index_is_read_back_as_it_was_written(tmp_path_factory, drawn):
    base = tmp_path_factory.mktemp("any")
    written = []
    for folder, name, masked, record in drawn:
        path = base / folder / f"i{name}"
        mask = base / folder / f"m{name}" if masked else None
        for file in filter(None, (path, mask)):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
        written.append(dataclasses.replace(record, path=path, mask=mask))
    index = base / "set" / "index.csv"
    write_index(index, written)
    assert read_index(index) == written


def test_a_set_can_move_with_its_index_and_images_elsewhere_are_absolute(tmp_path, monkeypatch):
    inside = picture(tmp_path / "set" / "images" / "a.png")
    outside = picture(tmp_path / "b.png")
    monkeypatch.chdir(tmp_path)
    index = Path("set") / "index.csv"
    listed = [Path("set/images/a.png"), Path("b.png"), Path("set/../b.png")]
    write_index(index, [ImageRecord(path, "x", "g") for path in listed[:2]])
    with index.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert ",".join(rows[0]) == "path,label,patient_id,source,site,body_part,age,sex,boxes,mask"
    assert [row["path"] for row in rows] == ["images/a.png", str(outside)]
    write_index(index, [ImageRecord(listed[2], "x", "g")])
    assert read_index(index)[0].path.is_absolute()
    assert read_index(index)[0].path.samefile(outside)
    assert inside.is_file()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (ImageRecord(Path("a.png"), "", "g"), "needs a label and a patient_id"),
        (ImageRecord(Path("a.png"), "x", ""), "needs a label and a patient_id"),
        (ImageRecord(Path("a.png"), "x", "g", ((0.5, 0, 0.5, 1),)), r"expected \[x0"),
        (
            ImageRecord(Path(os.fsdecode(b"a\xff.png")), "x", "g"),
            r"a\\udcff\.png': not valid UTF-8",
        ),
        (None, "no image to list"),
    ],
)
def test_an_index_that_could_not_be_read_back_is_not_written(tmp_path, record, message):
    with pytest.raises(DataError, match=message):
        write_index(tmp_path / "index.csv", [record] if record else [])
    assert list(tmp_path.iterdir()) == []


def files(folder):
    files = [(path, path.stat()) for path in folder.rglob("*") if path.is_file()]
    return {path: (known.st_size, known.st_mtime_ns, known.st_ino) for path, known in files}


@pytest.mark.parametrize("name", ["btxrd", "fracatlas", "mura", "kaggle", "folders", "table"])
def test_a_published_set_becomes_an_index_and_no_pixel_is_copied(name, request, tmp_path, capsys):
    if name in ("folders", "table"):
        source = tmp_path / name
        for image in ("x/1.png", "y/1.png"):
            picture(source / image)
        if name == "table":
            (source / "index.csv").write_text("path,label\nx/1.png,x\ny/1.png,y\nz.png,y\n")
    else:
        source = request.getfixturevalue(name)
    before = files(source)
    out = tmp_path / "out"
    assert main(["data", "import", name, str(source), "--out", str(out)]) == 0
    assert files(source) == before
    assert sorted(path.name for path in out.iterdir()) == ["index.csv", "skipped.csv"]
    imported = import_dataset(name, source)
    assert read_index(out) == list(imported.records)
    with (out / "skipped.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert rows == [{"path": str(s.path), "reason": s.reason} for s in imported.skipped]
    printed = capsys.readouterr().out
    assert f"{len(imported.records)} images, " in printed
    for label in {record.label for record in imported.records}:
        assert f"\n{label} " in printed


def test_a_split_of_an_import_with_augmented_copies_leaks_none(tmp_path):
    for label in ("fractured", "not fractured"):
        for k in range(8):
            for part, name in (("train", f"{k}"), ("train", f"{k}-rotated1"), ("val", f"{k}-aug")):
                picture(tmp_path / part / label / f"{name}.png")
    records = import_dataset("kaggle", tmp_path).records
    shares = SplitSettings(train=0.6, val=0.2, seed=0, by="patient", test_sites=(), folds=0)
    parts = split_records(records, shares)
    check_leaks(parts)
    assert len(records) == 48
    alone = [ImageRecord(**{**vars(record), "patient_id": str(record.path)}) for record in records]
    with pytest.raises(DataError, match=r"-rotated1|-aug"):
        check_leaks(split_records(alone, shares))


def test_the_table_counts_labels_centres_body_parts_boxes_and_reasons(btxrd, tmp_path, capsys):
    picture(btxrd / "images" / "IMG009999.jpeg")
    assert main(["data", "import", "btxrd", str(btxrd), "--out", str(tmp_path / "out")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    for line in (
        "4 images, 3 patient ids; 1 skipped",
        "tumor-malignant 1 1",
        "non-affected 2 0",
        "1 2 2",
        "lower limb 2 1",
        "not listed 1",
    ):
        assert line.split() in lines


@pytest.mark.parametrize("name", ["btxd", "mura"])
def test_bad_input_is_one_line_and_nothing_is_written(name, btxrd, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["data", "import", name, str(btxrd), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert {"btxd": "did you mean btxrd?", "mura": "is this MURA-v1.1?"}[name] in error
    assert not out.exists()


def test_a_name_that_is_no_text_costs_its_image_alone(tmp_path, capsys):
    for name in (b"x/1.png", b"y/1.png", b"y/\xff.png"):
        picture(tmp_path / "set" / os.fsdecode(name))
    out = tmp_path / "out"
    assert main(["data", "import", "folders", str(tmp_path / "set"), "--out", str(out)]) == 0
    assert len(read_index(out)) == 2
    assert "\\udcff.png,unreadable name" in (out / "skipped.csv").read_text()
    assert "unreadable name" in capsys.readouterr().out


def test_an_index_that_is_there_is_not_written_over(btxrd, tmp_path, capsys):
    (tmp_path / "index.csv").write_text("mine")
    assert main(["data", "import", "btxrd", str(btxrd), "--out", str(tmp_path)]) == 2
    assert "already holds an index" in capsys.readouterr().err
    assert (tmp_path / "index.csv").read_text() == "mine"


def test_a_missing_spreadsheet_reader_names_the_pip_line(btxrd, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert main(["data", "import", "btxrd", str(btxrd), "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'orthoedge[train]'" in capsys.readouterr().err


def test_audit_prints_what_predicts_the_class_without_anatomy(tmp_path, capsys):
    for k in range(12):  # the classes differ in size alone
        picture(tmp_path / "wide" / f"a{k}.png", width=120)
        picture(tmp_path / "tall" / f"b{k}.png", height=160)
    assert main(["data", "audit", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "size 100%" in out
    assert "warning: " in out


def test_clean_takes_what_import_wrote(kaggle, tmp_path, capsys):
    listed, cleaned = tmp_path / "listed", tmp_path / "cleaned"
    assert main(["data", "import", "kaggle", str(kaggle), "--out", str(listed)]) == 0
    (kaggle / kaggle.name / "train" / "fractured" / "11.jpg").write_bytes(b"no picture")
    before = files(kaggle)
    capsys.readouterr()
    assert main(["data", "clean", str(listed), "--out", str(cleaned)]) == 0
    assert capsys.readouterr().out
    assert files(kaggle) == before
    left = {record.path for record in read_index(cleaned)}
    assert left < {record.path for record in read_index(listed)}
    assert not any(path.match("train/fractured/11.jpg") for path in left)
