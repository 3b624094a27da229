"""Published data sets give labels, patients and boxes, and say what they skip and why."""

import shutil

import pytest

from orthoedge.runtime.errors import DataError
from orthoedge.training.datasets import import_dataset
from orthoedge.training.datasets.importer import summary
from tests.helpers.dataset_files import (
    BTXRD_COLUMNS,
    FRACATLAS_COLUMNS,
    btxrd_row,
    coco,
    labelme,
    picture,
    workbook,
)


def by_name(imported, root):
    return {record.path.relative_to(root).as_posix(): record for record in imported.records}


def reasons(imported, root):
    return {s.path.relative_to(root).as_posix(): s.reason for s in imported.skipped}


def test_btxrd_gives_label_centre_region_and_boxes_of_the_outlines(btxrd):
    imported = import_dataset("btxrd", btxrd)
    records = by_name(imported, btxrd)
    assert {name: (s.label, s.site, s.body_part) for name, s in records.items()} == {
        "images/IMG000001.jpeg": ("tumor-malignant", "1", "pelvis"),
        "images/IMG000002.jpeg": ("tumor-benign", "1", "lower limb"),
        "images/IMG000003.jpeg": ("non-affected", "2", "upper limb"),
        "images/IMG003720.jpg": ("non-affected", "3", "lower limb"),
    }
    assert {(s.age, s.sex) for s in records.values()} == {("48", "F"), ("12", "M"), ("11", "M")}
    # The rectangle, given from its lower right corner, with its own outline; and one outline alone.
    first = records["images/IMG000001.jpeg"].boxes
    assert first == ((0.25, 0.2, 0.75, 0.5), (0.0, 0.6, 0.1, 1.0))
    assert records["images/IMG000002.jpeg"].boxes == ((0.125, 0.1, 0.375, 0.4),)
    assert {s.source for s in imported.records} == {"btxrd"}
    assert imported.skipped == ()


def test_btxrd_keeps_what_may_be_one_patient_in_one_group(btxrd):
    groups = [record.patient_id for record in import_dataset("btxrd", btxrd).records]
    assert groups[0] == groups[1]
    assert len(set(groups)) == 3


def test_btxrd_skips_what_contradicts_itself_and_says_why(btxrd):
    for name in ("IMG000004.jpeg", "IMG000005.jpeg", "IMG000006.jpeg", "IMG000007.jpeg", "un.png"):
        picture(btxrd / "images" / name)
    rows = [
        btxrd_row("IMG000003.jpeg", 2, 12, "M", upper_limb=1),
        btxrd_row("IMG000004.jpeg", 1, 9, "F", tumor=1, benign=1, malignant=1),
        btxrd_row("IMG000005.jpeg", 1, 9, "F", lower_limb=1),
        btxrd_row("IMG000006.jpeg", 1, 9, "F", tumor=1, benign=1),
        btxrd_row("IMG000007.jpeg", 1, 9, "F", tumor=1, benign=1),
        btxrd_row("IMG000099.jpeg", 1, 9, "F"),
    ]
    workbook(btxrd / "dataset.xlsx", BTXRD_COLUMNS, rows)
    annotations = btxrd / "Annotations"
    labelme(annotations / "IMG000005.json", ("rectangle", [[1, 1], [9, 9]]))
    labelme(annotations / "IMG000006.json", ("rectangle", [[70, 1], [90, 9]]))
    labelme(annotations / "IMG000007.json", ("rectangle", [[1, 1], [9, 9]]), width=100, height=80)
    imported = import_dataset("btxrd", btxrd)
    assert list(by_name(imported, btxrd)) == ["images/IMG000003.jpeg"]
    skipped = reasons(imported, btxrd / "images")
    assert skipped.pop("IMG000001.jpeg").startswith("not listed")
    assert skipped.pop("IMG000002.jpeg").startswith("not listed")
    assert skipped.pop("IMG003720.jpg").startswith("not listed")
    assert skipped.pop("un.png") == "not listed: there is no row for it in dataset.xlsx"
    assert skipped == {
        "IMG000004.jpeg": (
            "contradictory label: dataset.xlsx, line 3: tumor=1, benign=1, malignant=1"
        ),
        "IMG000005.jpeg": "contradictory label: no tumour, but IMG000005.json marks one",
        "IMG000006.jpeg": "box outside the image: [70, 1, 90, 9] in 80×100 pixels",
        "IMG000007.jpeg": (
            "annotation of a different size: made for 100×80, the image has 80×100 pixels"
        ),
        "IMG000099.jpeg": "absent: dataset.xlsx, line 7, lists it, but there is no file",
    }
    table = "\n".join(summary(imported))
    assert "1 images, 1 patient ids; 9 skipped" in table
    assert "contradictory label                 2" in table


def test_fracatlas_gives_label_parts_and_the_boxes_of_its_coco_file(fracatlas):
    imported = import_dataset("fracatlas", fracatlas)
    records = by_name(imported, fracatlas / "images")
    assert {name: (s.label, s.patient_id, s.body_part, s.site) for name, s in records.items()} == {
        "Non_fractured/IMG0000000.jpg": ("non-affected", "IMG0000000", "leg", ""),
        "Fractured/IMG0000019.jpg": ("fracture", "IMG0000019", "hand", ""),
        "Fractured/IMG0000025.jpg": ("fracture", "IMG0000025", "hand+shoulder", ""),
    }
    assert records["Fractured/IMG0000019.jpg"].boxes == ((0.25, 0.5, 0.75, 0.75),)
    assert records["Fractured/IMG0000025.jpg"].boxes == ((0, 0, 0.1, 0.1), (0.5, 0.5, 1, 1))
    assert imported.notes[1] == "boxes: Annotations/COCO JSON/COCO_fracture_masks.json"


def test_fracatlas_without_coco_takes_yolo_and_says_so(fracatlas):
    shutil.rmtree(fracatlas / "Annotations")
    yolo = fracatlas / "Annotations" / "YOLO"
    yolo.mkdir(parents=True)
    (yolo / "IMG0000000.txt").write_text("")
    (yolo / "IMG0000019.txt").write_text("0 0.5 0.5 0.5 0.25\n0 0.95 0.5 0.1001 0.1\n")
    (yolo / "IMG0000025.txt").write_text("0 0.5\n")
    imported = import_dataset("fracatlas", fracatlas)
    boxes = by_name(imported, fracatlas / "images")["Fractured/IMG0000019.jpg"].boxes
    assert boxes[0] == (0.25, 0.375, 0.75, 0.625)
    assert boxes[1][2] == 1  # rounded to four decimals, it reached past the edge
    assert imported.notes[1] == "boxes: Annotations/YOLO (there is no COCO file)"
    ((path, reason),) = reasons(imported, fracatlas / "images").items()
    assert path == "Fractured/IMG0000025.jpg"
    assert reason.startswith("unreadable annotation: IMG0000025.txt: ")


def test_fracatlas_with_neither_takes_pascal_voc_and_says_so(fracatlas):
    shutil.rmtree(fracatlas / "Annotations")
    voc = fracatlas / "Annotations" / "PASCAL VOC"
    voc.mkdir(parents=True)
    size = "<size><width>80</width><height>100</height><depth>3</depth></size>"
    box = "<xmin>20</xmin><ymin>50</ymin><xmax>60</xmax><ymax>75</ymax>"
    (voc / "IMG0000000.xml").write_text(f"<annotation>{size}</annotation>")
    (voc / "IMG0000019.xml").write_text(
        f"<annotation>{size}<object><name>fractured</name><bndbox>{box}</bndbox></object>"
        "</annotation>"
    )
    (voc / "IMG0000025.xml").write_text("<annotation>")
    imported = import_dataset("fracatlas", fracatlas)
    records = by_name(imported, fracatlas / "images")
    assert records["Fractured/IMG0000019.jpg"].boxes == ((0.25, 0.5, 0.75, 0.75),)
    assert records["Non_fractured/IMG0000000.jpg"].boxes == ()
    assert "PASCAL VOC" in imported.notes[1]
    assert [s.path.name for s in imported.skipped] == ["IMG0000025.jpg"]


def test_fracatlas_without_annotations_says_that_there_are_no_boxes(fracatlas):
    shutil.rmtree(fracatlas / "Annotations")
    imported = import_dataset("fracatlas", fracatlas)
    assert [record.boxes for record in imported.records] == [(), (), ()]
    assert imported.notes[1] == "boxes: none; there are no annotations"


def test_fracatlas_skips_what_contradicts_itself_and_says_why(fracatlas):
    images = fracatlas / "images"
    picture(images / "Fractured" / "IMG0000000.jpg")  # a copy in the wrong folder
    picture(images / "Non_fractured" / "IMG0000001.jpg")
    with (fracatlas / "dataset.csv").open("a") as table:
        table.write("IMG0000001.jpg,0,1,0,0,0,0,1,0,0,1,1,0\n")
        table.write("IMG0000002.jpg,0,1,0,0,0,0,1,0,0,1,1,0\n")
        table.write("IMG0000003.jpg,0,1,0,0,0,0,1,2,0,1,1,0\n")
    names = [("IMG0000001.jpg", 80, 100), ("IMG0000019.jpg", 80, 100), ("IMG0000025.jpg", 8, 10)]
    boxes = [(0, 1, 1, 9, 9), (1, 20, 50, 90, 25), (2, 1, 1, 2, 2)]
    coco(fracatlas / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json", names, boxes)
    imported = import_dataset("fracatlas", fracatlas)
    assert list(by_name(imported, images)) == ["Non_fractured/IMG0000000.jpg"]
    assert reasons(imported, images) == {
        "Fractured/IMG0000000.jpg": (
            "not listed: there is no row for it in dataset.csv with that folder's label"
        ),
        "Non_fractured/IMG0000001.jpg": (
            "contradictory label: dataset.csv, line 5: fractured=0, but a fracture is marked"
        ),
        "Non_fractured/IMG0000002.jpg": (
            "absent: dataset.csv, line 6, lists it, but there is no file"
        ),
        "IMG0000003.jpg": "contradictory label: dataset.csv, line 7: fractured=2",
        "Fractured/IMG0000019.jpg": "box outside the image: [20, 50, 110, 75] in 80×100 pixels",
        "Fractured/IMG0000025.jpg": (
            "annotation of a different size: made for 8×10, the image has 80×100 pixels"
        ),
    }


def test_a_broken_coco_file_is_told_and_not_replaced_in_silence(fracatlas):
    file = fracatlas / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json"
    file.write_text('{"images": []}')
    with pytest.raises(DataError, match=r"COCO_fracture_masks\.json: not a readable COCO file"):
        import_dataset("fracatlas", fracatlas)


def test_mura_groups_by_patient_over_body_parts_and_keeps_its_own_labels(mura):
    records = by_name(import_dataset("mura", mura), mura)
    assert len(records) == 7
    assert {(s.label, s.patient_id, s.body_part) for s in records.values()} == {
        ("abnormal", "patient00466", "XR_ELBOW"),
        ("non-affected", "patient00466", "XR_ELBOW"),
        ("non-affected", "patient00466", "XR_WRIST"),
        ("abnormal", "patient11185", "XR_WRIST"),
    }
    assert records["valid/XR_WRIST/patient11185/study1_positive/image3.png"].label == "abnormal"


def test_mura_skips_what_is_absent_unlabelled_or_contradictory(mura):
    train = mura / "train" / "XR_ELBOW"
    (train / "patient00466" / "study1_positive" / "image2.png").unlink()
    hidden = picture(train / "patient00466" / "study1_positive" / "._image1.png")
    picture(train / "patient00001" / "study1_positive" / "image1.png")
    picture(train / "patient00002" / "study1_positive" / "image1.png")
    with (mura / "train_image_paths.csv").open("a") as paths:
        paths.write("MURA-v1.1/train/XR_ELBOW/patient00001/study1_positive/image1.png\n")
        paths.write("MURA-v1.1/train/XR_ELBOW/patient00002/study1_positive/image1.png\n")
        paths.write("train/image1.png\n")
    with (mura / "train_labeled_studies.csv").open("a") as labels:
        labels.write("MURA-v1.1/train/XR_ELBOW/patient00001/study1_positive/,0\n")
    imported = import_dataset("mura", mura)
    assert len(imported.records) == 6
    assert reasons(imported, mura) == {
        "train/XR_ELBOW/patient00466/study1_positive/image2.png": (
            "absent: it is listed, but there is no file"
        ),
        "train/XR_ELBOW/patient00001/study1_positive/image1.png": (
            "contradictory label: 0 in train_labeled_studies.csv, folder study1_positive"
        ),
        "train/XR_ELBOW/patient00002/study1_positive/image1.png": (
            "no label: train_labeled_studies.csv has no row for its study"
        ),
        "image1.png": (
            "unreadable path: train/image1.png; expected one such as "
            "MURA-v1.1/train/XR_WRIST/patient00006/study1_positive/image1.png"
        ),
        str(hidden.relative_to(mura)): (
            "not listed: there is no row for it in train_image_paths.csv"
        ),
    }


def test_kaggle_keeps_augmented_copies_in_one_group_over_its_three_parts(kaggle):
    root = kaggle / kaggle.name  # as its archive unpacks
    records = by_name(import_dataset("kaggle", kaggle), root)
    assert {name: (s.label, s.patient_id) for name, s in records.items()} == {
        "train/fractured/10.jpg": ("fracture", "fracture/10"),
        "train/fractured/10-rotated1-rotated1.jpg": ("fracture", "fracture/10"),
        "val/fractured/10-rotated2.jpg": ("fracture", "fracture/10"),
        "train/not fractured/10-rotated1.jpg": ("non-affected", "non-affected/10"),
        "test/not fractured/0.png": ("non-affected", "test/not fractured/0.png"),
        "train/fractured/11.jpg": ("fracture", "train/fractured/11.jpg"),
        "val/fractured/11.jpg": ("fracture", "val/fractured/11.jpg"),
    }


def test_kaggle_skips_a_class_that_it_does_not_know(kaggle):
    picture(kaggle / kaggle.name / "train" / "dislocated" / "1.png")
    (kaggle / kaggle.name / "train" / "fractured" / "notes.webp").write_bytes(b"RIFF")
    assert reasons(import_dataset("kaggle", kaggle), kaggle / kaggle.name) == {
        "train/dislocated": "unknown class: neither fractured nor not fractured",
        "train/fractured/notes.webp": "not an image",
    }


def test_folders_are_the_classes(tmp_path):
    root = tmp_path / "wrists"
    hidden = ("b/.hidden.png", "b/.ipynb_checkpoints/1-checkpoint.png")
    for name in ("a/1.png", "a/deep/2.png", "b/1.png", ".git/x.png", *hidden):
        picture(root / name)
    (root / "b" / "notes.txt").write_text("text")
    (root / "c").mkdir()
    imported = import_dataset("folders", root)
    records = by_name(imported, root)
    assert {name: (s.label, s.patient_id, s.source) for name, s in records.items()} == {
        "a/1.png": ("a", "a/1.png", "wrists"),
        "a/deep/2.png": ("a", "a/deep/2.png", "wrists"),
        "b/1.png": ("b", "b/1.png", "wrists"),
    }
    assert reasons(imported, root) == {
        **dict.fromkeys(hidden, "hidden"),
        "b/notes.txt": "not an image",
        "c": "empty: no image is in this folder",
    }


def test_a_table_skips_bad_rows_and_keeps_the_rest(tmp_path):
    for name in "abcdeg":
        picture(tmp_path / f"{name}.png")
    (tmp_path / "set.csv").write_text(
        "path,label,group,centre,body_part,boxes,other\n"
        'a.png,x,p1,C,hand,"[[0.1,0.2,0.5,1]]",?\n'
        "b.png,,p1,C,hand,,\n"
        'c.png,x,p1,C,hand,"[[5,5,90,90]]",\n'
        "d.png,x,p1,C,hand,,\nd.png,x,p1,C,hand,,\n"
        "e.png,x,p1,C,hand,,\ne.png,y,p1,C,hand,,\n"
        "f.png,x,p1,C,hand,,\n"
        "g.png,y,,,,,\n"
    )
    imported = import_dataset("table", tmp_path / "set.csv")
    records = by_name(imported, tmp_path)
    assert {name: (s.label, s.patient_id, s.site) for name, s in records.items()} == {
        "a.png": ("x", "p1", "C"),
        "d.png": ("x", "p1", "C"),
        "g.png": ("y", "g.png", ""),
    }
    assert records["a.png"].boxes == ((0.1, 0.2, 0.5, 1),)
    skipped = reasons(imported, tmp_path)
    assert skipped["b.png"] == "no label: set.csv, line 3, column label: empty"
    assert skipped["c.png"].startswith("bad box: set.csv, line 4, column boxes: expected [x0")
    assert skipped["d.png"] == "listed again; its boxes were added"
    assert skipped["e.png"] == "listed with several labels: x, y"
    assert skipped["f.png"] == "absent: set.csv, line 9, lists it, but there is no file"


def test_a_table_without_groups_keeps_augmented_copies_together(tmp_path):
    for name in ("a.png", "a-rotated1.png", "b.png"):
        picture(tmp_path / name)
    (tmp_path / "index.csv").write_text("path,label\na.png,x\na-rotated1.png,x\nb.png,x\n")
    records = import_dataset("table", tmp_path).records
    assert [s.patient_id == records[0].patient_id for s in records] == [True, True, False]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("btxrd", r"no dataset\.xlsx in .*: is this BTXRD\?"),
        ("fracatlas", r"no dataset\.csv in .*: is this FracAtlas\?"),
        ("mura", r"no train_image_paths\.csv in .*: is this MURA-v1\.1\?"),
        ("kaggle", "no train in .*: is this Kaggle's fracture set"),
        ("folders", "no sub-folder; expected one per class"),
        ("table", r"index\.csv: no such file; expected a CSV file"),
        ("btxd", "data set 'btxd' is unknown; did you mean btxrd"),
        ("x", "data set 'x' is unknown; known are btxrd, fracatlas"),
    ],
)
def test_the_wrong_folder_or_name_is_one_clear_line(name, message, tmp_path):
    with pytest.raises(DataError, match=message) as caught:
        import_dataset(name, tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["btxrd", "fracatlas", "mura", "kaggle", "folders"])
def test_a_folder_that_is_not_there_is_said(name, tmp_path):
    with pytest.raises(DataError, match="nowhere: not a folder"):
        import_dataset(name, tmp_path / "nowhere")


def test_a_missing_column_names_the_file_the_line_and_the_column(btxrd, fracatlas):
    workbook(btxrd / "dataset.xlsx", BTXRD_COLUMNS[:19], [])
    with pytest.raises(DataError, match=r"dataset\.xlsx, line 1: column tumor is missing"):
        import_dataset("btxrd", btxrd)
    (fracatlas / "dataset.csv").write_text(FRACATLAS_COLUMNS.replace("fractured", "broken") + "\n")
    with pytest.raises(DataError, match=r"dataset\.csv, line 1: column fractured is missing"):
        import_dataset("fracatlas", fracatlas)


def test_numbers_that_a_spreadsheet_keeps_as_fractions_or_text_are_the_same(btxrd):
    row = btxrd_row("IMG000003.jpeg", 2.0, "12", "M ", tumor=1.0, benign="1", upper_limb=True)
    workbook(btxrd / "dataset.xlsx", BTXRD_COLUMNS, [row, [None] * 37])
    (record,) = import_dataset("btxrd", btxrd).records
    assert (record.label, record.site, record.body_part) == ("tumor-benign", "2", "upper limb")
    assert record.patient_id == "centre 2, age 12, M"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("MURA-v1.1/train/XR_ELBOW/patient1/study1_positive/", "expected a study's folder and 0"),
        ("MURA-v1.1/train/XR_ELBOW/patient1/study1_positive/,2", "expected a study's folder"),
    ],
)
def test_a_broken_list_of_labels_is_reported_with_its_line(mura, line, message):
    (mura / "train_labeled_studies.csv").write_text(line + "\n")
    with pytest.raises(DataError, match=rf"train_labeled_studies\.csv, line 1: {message}"):
        import_dataset("mura", mura)


def test_nothing_left_is_an_error_that_gives_the_first_reason(mura):
    shutil.rmtree(mura / "train")
    shutil.rmtree(mura / "valid")
    with pytest.raises(DataError, match=r"no image is left; 7 skipped, the first one, .*: absent"):
        import_dataset("mura", mura)
