"""Tiny data sets with the file and column names of the published ones."""

import pytest

from tests.helpers.dataset_files import (
    BTXRD_COLUMNS,
    FRACATLAS_COLUMNS,
    btxrd_row,
    coco,
    labelme,
    picture,
    workbook,
)


@pytest.fixture
def btxrd(tmp_path):
    root = tmp_path / "BTXRD"
    for name in ("IMG000001.jpeg", "IMG000002.jpeg", "IMG000003.jpeg", "IMG003720.jpg"):
        picture(root / "images" / name)
    rows = [
        btxrd_row("IMG000001.jpeg", 1, 48, "F", **{"hip bone": 1}, tumor=1, malignant=1, pelvis=1),
        btxrd_row("IMG000002.jpeg", 1, 48, "F", tibia=1, tumor=1, benign=1, lower_limb=1),
        btxrd_row("IMG000003.jpeg", 2, 12, "M", tumor=0, upper_limb=1),
        btxrd_row("IMG003720.jpg", 3, 11, "M", tumor=0, lower_limb=1),
    ]
    workbook(root / "dataset.xlsx", BTXRD_COLUMNS, rows)
    box, outline = [[60, 20], [20, 50]], [[22, 25], [58, 21], [40, 49]]
    other = [[0, 60], [8, 60], [8, 100]]
    file = root / "Annotations" / "IMG000001.json"
    labelme(file, ("rectangle", box), ("polygon", outline), ("polygon", other))
    file = root / "Annotations" / "IMG000002.json"
    labelme(file, ("polygon", [[10, 10], [30, 10], [30, 40]]), label="osteochondroma")
    return root


@pytest.fixture
def fracatlas(tmp_path):
    root = tmp_path / "FracAtlas"
    names = {"Fractured": ("IMG0000019", "IMG0000025"), "Non_fractured": ("IMG0000000",)}
    for folder, stems in names.items():
        for stem in stems:
            picture(root / "images" / folder / f"{stem}.jpg")
    rows = (
        "IMG0000000.jpg,0,1,0,0,0,0,1,0,0,1,1,0",
        "IMG0000019.jpg,1,0,0,0,0,0,0,1,1,1,0,0",
        "IMG0000025.jpg,1,0,0,1,1,0,0,1,2,0,1,0",
    )
    (root / "dataset.csv").write_text("\n".join((FRACATLAS_COLUMNS, *rows)) + "\n")
    images = [("IMG0000019.jpg", 80, 100), ("IMG0000025.jpg", 80, 100)]
    boxes = [(0, 20, 50, 40, 25), (1, 0, 0, 8, 10), (1, 40, 50, 40, 50)]
    coco(root / "Annotations" / "COCO JSON" / "COCO_fracture_masks.json", images, boxes)
    return root


@pytest.fixture
def mura(tmp_path):
    root = tmp_path / "MURA-v1.1"
    studies = {
        "train": {
            "XR_ELBOW/patient00466/study1_positive": 2,
            "XR_ELBOW/patient00466/study2_negative": 1,
            "XR_WRIST/patient00466/study1_negative": 1,
        },
        "valid": {"XR_WRIST/patient11185/study1_positive": 3},
    }
    for part, counts in studies.items():
        labels, paths = [], []
        for study, count in counts.items():
            labels.append(f"MURA-v1.1/{part}/{study}/,{int(study.endswith('positive'))}")
            for k in range(1, count + 1):
                picture(root / part / study / f"image{k}.png")
                paths.append(f"MURA-v1.1/{part}/{study}/image{k}.png")
        (root / f"{part}_labeled_studies.csv").write_text("\n".join(labels) + "\n")
        (root / f"{part}_image_paths.csv").write_text("\n".join(paths) + "\n")
    return root


@pytest.fixture
def kaggle(tmp_path):
    root = tmp_path / "Bone_Fracture_Binary_Classification"
    for name in (
        "train/fractured/10.jpg",
        "train/fractured/10-rotated1-rotated1.jpg",
        "train/fractured/11.jpg",
        "train/not fractured/10-rotated1.jpg",
        "val/fractured/10-rotated2.jpg",
        "val/fractured/11.jpg",
        "test/not fractured/0.png",
    ):
        picture(root / root.name / name)
    return root
