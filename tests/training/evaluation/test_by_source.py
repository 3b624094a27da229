"""Scores within a collection: what tells collections apart is worth nothing there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.evaluation.by_source import (
    questions,
    score_sources,
    source_auc,
    source_auc_interval,
)
from orthoedge.training.recipe_file import load_recipe

LABELS = ("fracture", "non-affected", "tumor-benign", "tumor-malignant")


def images_of(kinds: list[tuple[str, str]]) -> RadiographDataset:
    recipe = load_recipe("tiny")
    data = RadiographDataset((), LABELS, recipe.preprocess, progress=False)
    data.records = tuple(
        ImageRecord(None, label, str(n), source=source) for n, (source, label) in enumerate(kinds)
    )
    data.labels = np.array([LABELS.index(label) for _, label in kinds])
    return data


def test_a_network_that_knows_the_source_alone_is_at_chance():
    kinds = [("a", "fracture"), ("a", "non-affected")] * 50
    kinds += [("b", "tumor-benign"), ("b", "non-affected"), ("b", "tumor-malignant")] * 50
    data = images_of(kinds)
    logits = np.array([[4.0, 0, 0, 0] if s == "a" else [0, 0, 4.0, 4.0] for s, _ in kinds])
    assert source_auc(logits, data) == 0.5
    pooled = roc_auc_score(data.labels >= 2, logits[:, 2] - logits[:, 0])
    assert pooled > 0.8  # what a score over both sources would have said


def test_each_question_is_about_its_own_labels():
    fracture, tumour, malignancy = questions(LABELS)
    assert [q.name for q in (fracture, tumour, malignancy)] == ["fracture", "tumour", "malignancy"]
    logits = np.array([[2.0, 1, 0, 0], [0, 1, 3, 0], [0, 2, 0, 1], [9, 0, 1, 3]])
    truth = np.array([0, 2, 1, 3])
    chosen, scores, positive = tumour.scores(LABELS, logits, truth)
    assert chosen.tolist() == [1, 2, 3]
    assert positive.tolist() == [True, False, True]
    exact = [(np.e**3 + 1) / (np.e**3 + 1 + np.e), (1 + np.e) / (1 + np.e + np.e**2)]
    assert scores[:2] == pytest.approx(exact)
    chosen, scores, positive = malignancy.scores(LABELS, logits, truth)
    assert (chosen.tolist(), positive.tolist()) == ([1, 3], [False, True])
    assert scores[1] == pytest.approx(np.e**2 / (1 + np.e**2))


def test_the_score_is_the_mean_auc_of_what_each_source_can_answer():
    rng = np.random.default_rng(0)
    kinds = [("a", "fracture"), ("a", "non-affected"), ("b", "non-affected"), ("b", "tumor-benign")]
    data, logits = images_of(kinds * 30), rng.normal(size=(120, 4))
    rows = np.arange(120) % 4
    a, b = rows < 2, rows >= 2
    first = roc_auc_score(data.labels[a] == 0, logits[a, 0] - logits[a, 1])
    tumour = np.logaddexp(logits[b, 2], logits[b, 3]) - logits[b, 1]
    second = roc_auc_score(data.labels[b] == 2, tumour)
    assert source_auc(logits, data) == pytest.approx((first + second) / 2)
    known = source_auc_interval(logits, data, seed=0)
    assert known.value == source_auc(logits, data)
    assert known.low < known.value < known.high
    # Of 30 against 30 images an AUC at chance has a deviation near 0.075; the mean of two, 0.053.
    assert 0.15 < known.high - known.low < 0.27
    assert source_auc(logits[::4], images_of(kinds[:1] * 30)) == 0.5  # nothing to compare
    assert source_auc_interval(logits[::4], images_of(kinds[:1] * 30), seed=0) is None
    assert questions(("x", "y")) == ()


def test_the_pointing_game_of_a_mask_stands_beside_that_of_the_map():
    data = images_of([("a", "fracture"), ("a", "non-affected")] * 10)
    has_box = data.labels == data.labels[0]
    logits = np.random.default_rng(0).normal(size=(20, 4))
    of_map, of_mask = np.where(has_box, 1.0, np.nan), np.where(has_box, 0.0, np.nan)
    ((scores,), _) = score_sources(logits, of_map, data, 0, of_mask)
    assert scores.pointing["fracture"].share.value == 1
    assert scores.mask_pointing["fracture"].share.value == 0
    assert scores.mask_pointing["fracture"].images == 10
    ((alone,), _) = score_sources(logits, of_map, data, 0)
    assert alone.mask_pointing == {}


def test_subgroups_are_sites_body_parts_ages_and_sexes_where_known():
    rng = np.random.default_rng(0)
    data = images_of([("a", "fracture"), ("a", "non-affected")] * 60)
    ages = ["9", "17.9", "18", "59", "60", "ninety"]
    data.records = tuple(
        dataclasses.replace(record, age=ages[n // 2 % 6], sex="MF"[n // 2 % 2])
        for n, record in enumerate(data.records)
    )
    logits = rng.normal(size=(120, 4))
    _, answers = score_sources(logits, np.full(120, np.nan), data, 0)
    counts = {answer.part: answer.positives for answer in answers}
    assert counts == {
        "": 60, "age under 18": 20, "age 18 to 59": 20, "age 60 and over": 10,
        "sex F": 30, "sex M": 30,
    }  # fmt: skip
