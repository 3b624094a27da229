"""Writers of the files that data sets consist of, in their publishers' formats."""

import json
import zlib

import cv2
import numpy as np
import openpyxl

_BTXRD = (
    "image_id,center,age,gender,hand,ulna,radius,humerus,foot,tibia,fibula,femur,hip bone,"
    "ankle-joint,knee-joint,hip-joint,wrist-joint,elbow-joint,shoulder-joint,tumor,benign,"
    "malignant,osteochondroma,multiple osteochondromas,simple bone cyst,giant cell tumor,"
    "osteofibroma,synovial osteochondroma,other bt,osteosarcoma,other mt,upper limb,lower limb,"
    "pelvis,frontal,lateral,oblique"
)
BTXRD_COLUMNS = _BTXRD.split(",")
FRACATLAS_COLUMNS = (
    "image_id,hand,leg,hip,shoulder,mixed,hardware,multiscan,fractured,fracture_count,frontal,"
    "lateral,oblique"
)


def picture(path, width=80, height=100):
    """A small image file of random pixels, others for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = zlib.crc32("/".join(path.parts[-3:]).encode(errors="replace"))
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def workbook(file, header, rows):
    book = openpyxl.Workbook()
    for row in (header, *rows):
        book.active.append(row)
    book.save(file)
    book.close()


def btxrd_row(image_id, center, age, gender, **ones):
    """Cells as the publisher's workbook has them: numbers, and 0 where nothing is said."""
    known = {"image_id": image_id, "center": center, "age": age, "gender": gender}
    ones = {name.replace("_", " "): value for name, value in ones.items()}
    assert ones.keys() <= set(BTXRD_COLUMNS)
    return [{**known, **ones}.get(column, 0) for column in BTXRD_COLUMNS]


def labelme(file, *shapes, width=80, height=100, label="osteosarcoma"):
    file.parent.mkdir(parents=True, exist_ok=True)
    common = {"label": label, "group_id": None, "description": "", "flags": {}, "mask": None}
    annotation = {
        "version": "5.4.1",
        "flags": {},
        "shapes": [{**common, "shape_type": kind, "points": points} for kind, points in shapes],
        "imagePath": f"{file.stem}.jpeg",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }
    file.write_text(json.dumps(annotation))


def coco(file, images, annotations):
    """Images: name, width, height; annotations: index of the image, x, y, width, height."""
    file.parent.mkdir(parents=True, exist_ok=True)
    tree = {
        "info": {"description": "my-project-name"},
        "images": [
            {"id": i, "width": w, "height": h, "file_name": name}
            for i, (name, w, h) in enumerate(images, start=1)
        ],
        "annotations": [
            {"id": k, "iscrowd": 0, "image_id": i + 1, "category_id": 0, "segmentation": [[]]}
            | {"bbox": list(bbox), "area": bbox[2] * bbox[3]}
            for k, (i, *bbox) in enumerate(annotations)
        ],
        "categories": [{"id": 0, "name": "fractured"}],
    }
    file.write_text(json.dumps(tree))
