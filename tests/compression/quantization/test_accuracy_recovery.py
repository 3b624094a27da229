"""INT8 that fails where float32 passes: layers go back to float, then weights are tuned."""

import copy
from dataclasses import replace

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orthoedge.compression import search as timing
from orthoedge.compression.data_splits import read_parts
from orthoedge.compression.distillation.stages import open_school
from orthoedge.compression.evaluation.evaluator import Judge
from orthoedge.compression.export import export
from orthoedge.compression.quantization.accuracy_recovery import harden
from orthoedge.compression.search import Search
from orthoedge.training.run_folder import load_run

FREE = {
    "max_macro_f1_drop": 1.0,
    "max_recall_drop": {},
    "max_pointing_drop": 1.0,
    "max_ece": 1.0,
    "min_teacher_agreement": 0.0,
    "min_teacher_cosine": -1.0,
    "max_engine_rmse": 1.0,
    "max_engine_flips": 1000,
}


@pytest.fixture(scope="module")
def taught(tiny_run, tmp_path_factory):
    """Search, parts, teacher, and a student whose INT8 range of the image is a small part of it."""
    run = load_run(tiny_run)
    whole = msgspec.structs.replace(run.recipe.augment, crop=0)
    recipe = msgspec.structs.replace(run.recipe, augment=whole)
    parts, work = read_parts(run, recipe, None, None, None), tmp_path_factory.mktemp("work")
    school = open_school(run, recipe, "x86", parts.train, parts.val, work)
    few = parts.train.images[:16, None]
    search = Search(run, recipe, school, few, tuple(range(16)), parts.val, "x86", None)
    name = recipe.compress.students[0]
    network, start = search.start(name)
    network = school.teach(network, start, name, 0, recipe.compress.epochs)
    trial = search.trial(name, 0.0, 0, network)
    teacher = export(run.model, recipe.labels, recipe.preprocess)
    return search, parts, teacher, replace(trial, int8=clipping(trial.int8))


def clipping(int8):
    """The same file, in which almost every pixel is beyond the range of the first layer."""
    proto = onnx.load_from_string(int8)
    first = next(node for node in proto.graph.node if node.op_type == "QuantizeLinear")
    for tensor in proto.graph.initializer:
        if tensor.name == first.input[1]:
            narrow = numpy_helper.to_array(tensor) / np.float32(64)
            tensor.CopyFrom(numpy_helper.from_array(narrow, tensor.name))
    return proto.SerializeToString()


@pytest.fixture
def spoiled(taught, monkeypatch):
    """A function: limits of INT8 and settings in; search, judge and the student out."""
    monkeypatch.setattr(timing, "_ROUNDS", 3)
    search, parts, teacher, trial = taught

    def build(limits, **settings):
        old = search.recipe.compress
        gate = msgspec.structs.replace(
            old.gate,
            fp32=msgspec.structs.replace(old.gate.fp32, **FREE),
            int8=msgspec.structs.replace(old.gate.int8, **(FREE | limits)),
        )
        compress = msgspec.structs.replace(old, gate=gate, **settings)
        recipe = msgspec.structs.replace(search.recipe, compress=compress)
        own = replace(trial, network=copy.deepcopy(trial.network))
        return replace(search, recipe=recipe), Judge(teacher, parts, recipe, "x86"), own

    return build


def figures(metrics):
    """By the name of their limit; more is better."""
    return {
        "min_teacher_cosine": metrics.saliency_cosine,
        "min_teacher_agreement": metrics.teacher_agreement,
        "max_ece": -metrics.expected_calibration_error,
    }


def test_what_passes_is_left_alone(spoiled):
    search, judge, trial = spoiled({})
    hardened = harden(trial, search, judge)
    assert hardened.trial is trial
    assert (hardened.retreat, hardened.tuned) == (None, False)


def test_layers_go_back_to_float_until_int8_passes(spoiled, capsys):
    """A part of what the ranges cost is won back, in whichever figure they cost most."""
    search, judge, trial = spoiled({})
    exact = figures(judge.judge(trial.fp32, "fp32", "val").metrics)
    before = figures(judge.judge(trial.int8, "int8", "val").metrics)
    name = max(exact, key=lambda figure: exact[figure] - before[figure])
    gap = exact[name] - before[name]
    assert gap > 0.01, "the ranges were meant to be useless"
    wanted = before[name] + gap / 4
    limit = -wanted if name == "max_ece" else wanted
    search, judge, trial = spoiled({name: limit}, float_layers=3)
    hardened = harden(trial, search, judge)
    after = figures(judge.judge(hardened.trial.int8, "int8", "val").metrics)
    assert after[name] >= wanted
    assert hardened.retreat is not None
    assert hardened.retreat.rmse_after < hardened.retreat.rmse_before
    assert hardened.trial.fp32 == trial.fp32
    assert not hardened.tuned
    assert "INT8 passes" in capsys.readouterr().err


def test_where_the_layers_are_not_enough_the_weights_are_tuned(spoiled, capsys):
    search, judge, trial = spoiled({"min_teacher_cosine": 1.0}, float_layers=1, qat_epochs=1)
    hardened = harden(trial, search, judge)
    assert hardened.tuned
    assert hardened.trial.fp32 != trial.fp32
    assert len(hardened.retreat.layers) == 1
    assert "fine-tuning under simulated quantization" in capsys.readouterr().err


def test_engines_that_disagree_are_a_failure_too(spoiled, capsys):
    search, judge, trial = spoiled({"max_engine_rmse": 0.0}, float_layers=1, qat_epochs=0)
    hardened = harden(trial, search, judge)
    assert len(hardened.retreat.layers) == 1
    assert "logit RMSE between engines" in capsys.readouterr().err
