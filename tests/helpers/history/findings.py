"""Findings for a history, without an engine."""

import json

from orthoedge.clinic.history import NewFinding, PatientFacts, Picture, StudyFacts
from orthoedge.clinic.history.database import Database
from orthoedge.clinic.history.schema import MIGRATIONS
from orthoedge.clinic.history.searching import searched_text

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")
PIXELS = bytes(range(256)) * 2
FUNCTIONS = {"searched_text": searched_text}


def finding_json(
    label="fracture", decision="report", probability=0.9, label_set=None, ood=0.5, lesions=None
):
    others = (1 - probability) / 3
    return json.dumps(
        {
            "label": label,
            "probabilities": {one: probability if one == label else others for one in LABELS},
            "label_set": label_set or [label],
            "out_of_distribution": ood,
            "decision": decision,
            "reasons": [],
            "lesions": lesions,
        }
    ).encode()


def new_finding(name="Doe, Jane", patient_id="P1", date="2026-11-30", **given):
    birth_date = given.pop("birth_date", "1970-01-02")
    made = {
        key: given.pop(key)
        for key in ("label", "decision", "probability", "label_set", "ood", "lesions")
        if key in given
    }
    fields = {
        "origin": "page",
        "file_name": "IM1.dcm",
        "image_sha256": "0" * 64,
        "finding": finding_json(**made),
        "alert_labels": ("tumor-malignant",),
        "patient": PatientFacts(patient_id, name, birth_date, "F"),
        "study": StudyFacts(date=date, time="10:30", body_part="WRIST", laterality="L"),
        "spacing_mm": (0.1, 0.1),
        "picture": Picture(16, 16, 12, 100.0, 200.0),
    }
    return NewFinding(**{**fields, **given})


def file_of(pixels, digest):
    """The file that holds pixels."""
    (file,) = (pixels.folder / digest[:2]).glob(f"{digest}.*")
    return file


def history_of_version(folder, version, names=()):
    folder.mkdir(exist_ok=True)
    database = Database(folder / "history.sqlite", MIGRATIONS[:version], "the history", FUNCTIONS)
    with database.transaction() as connection:
        columns = connection.execute("PRAGMA table_info(findings)").fetchall()
        texts = [name for _, name, kind, needed, *_ in columns if kind == "TEXT" and needed]
        for name in names:
            row = dict.fromkeys(texts, "") | {"patient_name": name, "day": "2026-01-01"}
            row |= {"origin": "page", "time": 0, "probability": 0, "alert": 0}
            marks = ", ".join("?" * len(row))
            query = f"INSERT INTO findings ({', '.join(row)}) VALUES ({marks})"
            connection.execute(query, list(row.values()))
    database.close()
