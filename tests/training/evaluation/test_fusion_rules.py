from types import SimpleNamespace

import numpy as np
import pytest
import torch

from orthoedge.benchmarks.metrics import classification as measure
from orthoedge.benchmarks.schema import Interval
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.evaluation.by_source import source_auc_interval
from orthoedge.training.evaluation.fusion_rules import LEARNED, compare_fusions, conclusion
from orthoedge.training.evaluation.predictions import Evaluation, evaluate
from orthoedge.training.evaluation.schema import Fusion
from orthoedge.training.model.ensemble import Ensemble

NAMES = ("test_efficientnet", "test_resnet")


class Images:
    """What `evaluate` reads of a set."""

    def __init__(self, images, classes):
        rng = np.random.default_rng(0)
        self.images = rng.integers(0, 256, (images, 64, 64), dtype=np.uint8)
        self.labels = rng.integers(0, classes, images)
        self.allowed = np.ones((images, classes), bool)

    def __len__(self):
        return len(self.labels)


def answered(branches, weights):
    """An evaluation whose branches answer `branches` (B, N, C)."""
    branches = np.asarray(branches, np.float32)
    fused = np.tensordot(np.asarray(weights, np.float32), branches, 1)
    empty = np.zeros((branches.shape[1], 1, 1), np.float32)
    return Evaluation(fused, branches, empty, empty, empty, 0.0, 0.0, np.zeros((2, 2), int))


def rows_of(evaluation, truth, start=(), names=("a", "b")):
    groups = [str(i) for i in range(len(truth))]
    rows = compare_fusions(evaluation, names, start, np.asarray(truth), groups, seed=0)
    return {row.rule: row for row in rows}


@pytest.mark.parametrize(("head", "classes"), [("softmax", 3), ("sigmoid", 2)])
def test_the_branches_own_logits_add_up_to_the_fused_ones(head, classes):
    torch.manual_seed(0)
    network = Ensemble(NAMES, classes, (0.4, 0.6), head=head)
    data = Images(5, classes)
    evaluation = evaluate(network, data)
    assert evaluation.branch_logits.shape == (2, 5, classes)
    fused = np.tensordot(network.fusion().detach().numpy(), evaluation.branch_logits, 1)
    # float32 sums over some hundred features, in another order.
    np.testing.assert_allclose(fused, evaluation.logits, rtol=1e-4, atol=1e-5)


def test_the_maps_are_those_of_the_true_and_of_the_predicted_class():
    torch.manual_seed(0)
    network = Ensemble(NAMES, 3)
    data = Images(5, 3)
    evaluation = evaluate(network, data)
    with torch.inference_mode():
        maps = network.explain(torch.from_numpy(data.images[:, None])).saliency_map.numpy()
    rows = np.arange(5)
    np.testing.assert_array_equal(evaluation.saliency_map, maps[rows, data.labels])
    np.testing.assert_array_equal(evaluation.predicted_map, maps[rows, evaluation.logits.argmax(1)])


def test_the_learned_row_equals_the_evaluation_exactly():
    torch.manual_seed(1)
    data = Images(40, 3)
    evaluation = evaluate(Ensemble(NAMES, 3), data)
    row = rows_of(evaluation, data.labels)[LEARNED]
    assert row.accuracy.value == evaluation.accuracy
    assert row.macro_f1.value == measure.macro_f1(evaluation.confusion)
    assert row.accuracy_gain is None
    assert row.changed == 0


def test_each_rule_by_hand():
    # Image 0: a is a little for class 0, b is surely for class 1. Image 1: a has the larger logits
    # for class 0, b answers class 1 with a probability of 0.98 against 0.95.
    branches = [[[0.5, 0.0], [3.0, 0.0]], [[0.0, 4.0], [0.0, 4.0]]]
    branches[1][1] = [0.0, 2.9]
    rows = rows_of(answered(branches, (0.9, 0.1)), [1, 0])
    assert rows["branch 1, a, alone"].accuracy.value == 0.5
    assert rows["branch 2, b, alone"].accuracy.value == 0.5
    assert rows["average of logits"].accuracy.value == 1.0
    assert rows["average of probabilities"].accuracy.value == 1.0
    # 0.4 · 0.953 < 0.4 · 0.047 + 0.6 · 0.948: image 1 goes to class 1.
    assert rows["fixed weights 0.4 / 0.6 of probabilities"].accuracy.value == 0.5
    assert rows["hybrid: the more confident branch decides"].accuracy.value == 1.0
    # 0.9 · 0.5 > 0.1 · 4: image 0 goes to class 0.
    assert rows[LEARNED].accuracy.value == 0.5


def test_the_recipes_starting_weights_are_a_rule_where_they_are_neither_equal_nor_there():
    branches = np.zeros((3, 4, 2))
    three = rows_of(answered(branches, (0.2, 0.3, 0.5)), [0, 1, 0, 1], (0.2, 0.3, 0.5), "abc")
    assert "fixed weights 0.2 / 0.3 / 0.5 of probabilities" in three
    assert not any("0.4 / 0.6" in rule for rule in three)
    two = rows_of(answered(branches[:2], (0.5, 0.5)), [0, 1, 0, 1], (0.5, 0.5))
    assert [rule for rule in two if "fixed" in rule] == ["fixed weights 0.4 / 0.6 of probabilities"]


def test_one_branch_has_nothing_to_compare():
    assert rows_of(answered(np.zeros((1, 4, 2)), (1.0,)), [0, 1, 0, 1], names=("a",)) == {}


def test_a_branch_that_learned_nothing_and_one_that_did_all_are_reported_in_words():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 400)
    knows = 6 * np.eye(4)[truth] + rng.normal(0, 1, (400, 4))
    guesses = rng.normal(0, 0.1, (400, 4))
    rows = rows_of(answered([guesses, knows], (0.4, 0.6)), truth)
    sentence = conclusion(list(rows.values()), 400)
    assert "Lower accuracy than the learned fusion: branch 1, a, alone (-7" in sentence
    assert "The branch 2, b, alone, gives the fused prediction on" in sentence
    assert "It hardly matters" in sentence
    gain = rows["branch 1, a, alone"].accuracy_gain
    assert gain.high < 0
    # The pairs are kept: the difference is known better than the guessing branch's own accuracy
    # would allow for two independent sets.
    same = rows["branch 2, b, alone"].accuracy_gain
    assert same.high - same.low <= 0.02


def test_several_collections_are_judged_by_the_auc_within_them():
    kinds = [("a", "fracture"), ("a", "non-affected"), ("b", "tumor-benign")] * 40
    kinds += [("b", "non-affected")] * 40
    labels = ("fracture", "non-affected", "tumor-benign")
    truth = np.array([labels.index(label) for _, label in kinds])
    data = SimpleNamespace(
        label_names=labels,
        labels=truth,
        records=[
            ImageRecord(None, label, str(n), source=source)
            for n, (source, label) in enumerate(kinds)
        ],
    )
    collection = [[4.0, 0, 0] if source == "a" else [0, 0, 4.0] for source, _ in kinds]
    knows = 2 * np.eye(3)[truth] + np.random.default_rng(0).normal(0, 1, (len(kinds), 3))
    evaluation = answered([collection, knows], (0.5, 0.5))
    groups = [record.patient_id for record in data.records]
    rows = compare_fusions(evaluation, ("a", "b"), (), truth, groups, 0, data)
    alone, learned = rows[0], rows[-1]
    assert alone.accuracy.value == 0.5  # of four labels, where chance is 0.25
    assert alone.auc.value == 0.5
    assert learned.auc == source_auc_interval(evaluation.logits, data, 0)
    assert learned.auc_gain is None
    assert alone.auc_gain.value == pytest.approx(0.5 - learned.auc.value)
    assert conclusion(rows, len(kinds)).startswith(
        "Lower AUC within the collections than the learned fusion: branch 1, a, alone (-"
    )


def fusion(rule, low, high):
    worth = Interval(value=0.9, low=0.88, high=0.92)
    gain = Interval(value=(low + high) / 2, low=low, high=high)
    return Fusion(
        rule=rule, accuracy=worth, macro_f1=worth, accuracy_gain=gain, macro_f1_gain=gain, changed=9
    )


@pytest.mark.parametrize(
    ("low", "high", "expected", "absent"),
    [
        (0.01, 0.03, "Higher accuracy than the learned fusion: average (+2.0 points", "No rule"),
        (-0.03, -0.01, "Lower accuracy than the learned fusion: average (-2.0 points", "Higher"),
        (-0.01, 0.01, "It hardly matters: their intervals stay within 1.0 points", "rule one out"),
        (-0.09, 0.05, "cannot rule one out: their intervals reach up to 9.0 points", "hardly"),
    ],
)
def test_the_words_follow_from_the_intervals(low, high, expected, absent):
    sentence = conclusion([fusion("average", low, high)], images=100)
    assert expected in sentence
    assert absent not in sentence
