"""Rejected radiographs and other pictures with the phantom bundle; prints the table of the docs.

`pytest -m slow -s tests/runtime/test_rejects.py`; ORTHOEDGE_REAL_DATA adds real radiographs.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_quality import check_image_quality
from orthoedge.targets import open_pipeline
from tests.helpers import other_pictures

PHANTOMS, EACH, SEED = 600, 25, 500

pytestmark = pytest.mark.slow


ABOVE_ALL = 1e9  # score of a picture that the gate rejects before inference


def evaluate(pipeline, pictures):
    """Per picture: the decision, and one score for the whole gate."""
    decisions, scores = [], []
    for picture in pictures:
        finding = pipeline(picture)
        issues = check_image_quality(picture, finding.placement, finding.input_size)
        is_rejected = any(issue.decision == "reject" for issue in issues)
        decisions.append(finding.decision)
        scores.append(ABOVE_ALL if is_rejected else finding.verdict.out_of_distribution)
    return np.array(decisions), np.array(scores)


def area(radiographs, others):
    truth = np.repeat([0, 1], [len(radiographs), len(others)])
    return roc_auc_score(truth, np.concatenate([radiographs, others]))


def row(name, decisions, scores):
    shares = [np.mean(decisions == decision) for decision in ("report", "refer", "reject")]
    before = np.mean(scores == ABOVE_ALL)
    return f"| {name} | {len(scores)} | " + " | ".join(f"{s:.1%}" for s in (*shares, before)) + " |"


def test_radiographs_pass_and_other_pictures_do_not(tmp_path):
    from orthoedge.training.phantoms.render import write_phantoms

    pipeline = open_pipeline("phantom", precision="int8")
    write_phantoms(tmp_path / "phantoms", PHANTOMS, seed=SEED, size=256)
    files = sorted((tmp_path / "phantoms" / "images").iterdir())
    phantoms = [read_image(path).pixels for path in files]
    sets = {"phantoms": phantoms, "phantoms, inverted": [255 - p for p in phantoms[::5]]}
    if folder := os.environ.get("ORTHOEDGE_REAL_DATA"):
        real = sorted(Path(folder, "fracture_small", "images").iterdir())
        sets["real radiographs"] = pixels = [read_image(path).pixels for path in real]
        sets["real radiographs, inverted"] = [255 - p for p in pixels[::5]]
    for kind in other_pictures.KINDS:
        sets[kind.__name__.replace("_", " ")] = other_pictures.draw(kind, EACH, SEED)
    print("\n| | pictures | reported | referred | rejected | of these before inference |")
    print("| --- | --- | --- | --- | --- | --- |")
    results = {}
    for name, pictures in sets.items():
        results[name] = evaluate(pipeline, pictures)
        print(row(name, *results[name]), flush=True)
    names = [kind.__name__.replace("_", " ") for kind in other_pictures.KINDS]
    others = [np.concatenate(parts) for parts in zip(*(results[n] for n in names), strict=True)]
    print(row("all that are no radiographs", *others))
    own = results["phantoms"][1]
    print(f"AUROC, phantoms: {area(own, others[1]):.4f}")
    if "real radiographs" in results:
        real = results["real radiographs"][1]
        print(f"AUROC, real radiographs: {area(real, others[1]):.4f}")
        print(f"AUROC, both: {area(np.concatenate([own, real]), others[1]):.4f}")
    assert area(own, others[1]) >= 0.99
    assert np.mean(results["phantoms"][0] == "reject") <= 0.01
