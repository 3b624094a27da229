"""INT8 that fails where float32 passes: layers fall back to float, then weights are trained."""

import copy
from dataclasses import replace

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from orthoedge.compression import candidates as timing
from orthoedge.compression.candidates import make_candidate
from orthoedge.compression.context import Sources, prepare_context
from orthoedge.compression.distillation.stages import distil, initial_student
from orthoedge.compression.distillation.train_student import NOTHING
from orthoedge.compression.evaluation.evaluator import Evaluator
from orthoedge.compression.quantization.accuracy_recovery import recover_accuracy
from orthoedge.training.run_folder import load_run

pytestmark = pytest.mark.slow  # compress runs the same gate on the bundle of `tiny`

FREE = {
    "max_macro_f1_drop": 1.0,
    "max_recall_drop": {},
    "max_pointing_drop": 1.0,
    "max_ece": 1.0,
    "max_net_flips": 1.0,
    "max_auc_drop": 1.0,
    "max_alert_sensitivity_drop": 1.0,
    "max_dice_drop": 1.0,
    "min_teacher_cosine": -1.0,
    "max_engine_rmse": 1.0,
    "max_engine_flips": 1000,
}


@pytest.fixture(scope="module")
def prepared(tiny_run, tmp_path_factory):
    """Context, and a student whose INT8 range of the image is a small part of the real range."""
    run = load_run(tiny_run)
    compress = msgspec.structs.replace(run.recipe.compress, quantization_images=16)
    recipe = msgspec.structs.replace(run.recipe, compress=compress)
    sources = Sources(None, None, None, None, "not stated")
    context = prepare_context(run, recipe, "x86", sources, tmp_path_factory.mktemp("work"))
    name = recipe.compress.students[0]
    network, start = initial_student(context, name)
    network = distil(context, network, start, name, 0, recipe.compress.epochs, NOTHING)
    candidate = make_candidate(context, name, 0.0, 0, network)
    return context, replace(candidate, int8=clipping(candidate.int8))


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
def spoiled(prepared, monkeypatch):
    """A function: limits of INT8 and settings in; context, evaluator and the student out."""
    monkeypatch.setattr(timing, "_ROUNDS", 3)
    context, candidate = prepared

    def build(limits, **settings):
        old = context.recipe.compress
        gate = msgspec.structs.replace(
            old.gate,
            fp32=msgspec.structs.replace(old.gate.fp32, **FREE),
            int8=msgspec.structs.replace(old.gate.int8, **(FREE | limits)),
        )
        compress = msgspec.structs.replace(old, gate=gate, **settings)
        recipe = msgspec.structs.replace(context.recipe, compress=compress)
        changed = replace(context, recipe=recipe)
        own = replace(candidate, network=copy.deepcopy(candidate.network))
        return changed, Evaluator(changed), own

    return build


def figures(metrics):
    """More is better."""
    return {
        "cosine": metrics.saliency_cosine,
        "ECE": -metrics.expected_calibration_error,
        **metrics.recall,
    }


def limit_at(name, target, teacher):
    """The limit that a figure just keeps at `target`."""
    if name == "cosine":
        return {"min_teacher_cosine": target}
    if name == "ECE":
        return {"max_ece": -target}
    return {"max_recall_drop": {name: teacher.recall[name] - target}}


def test_what_passes_is_left_alone(spoiled):
    context, evaluator, candidate = spoiled({})
    recovered = recover_accuracy(context, evaluator, candidate)
    assert recovered.candidate is candidate
    assert (recovered.float_fallback, recovered.qat) == (None, False)


def test_layers_fall_back_to_float_until_int8_passes(spoiled, capsys):
    """A part of the loss is recovered, in the figure that the narrow range damages most."""
    context, evaluator, candidate = spoiled({})
    exact = figures(evaluator.evaluate(candidate.fp32, "fp32", "val").metrics)
    before = figures(evaluator.evaluate(candidate.int8, "int8", "val").metrics)
    name = max(exact, key=lambda figure: exact[figure] - before[figure])
    gap = exact[name] - before[name]
    assert gap > 0.01, "the narrow range must do damage"
    target = before[name] + gap / 4
    limits = limit_at(name, target, evaluator.evaluate_teacher("val"))
    context, evaluator, candidate = spoiled(limits, float_layers=3)
    recovered = recover_accuracy(context, evaluator, candidate)
    after = figures(evaluator.evaluate(recovered.candidate.int8, "int8", "val").metrics)
    assert after[name] >= target
    assert recovered.float_fallback is not None
    assert recovered.float_fallback.rmse_after < recovered.float_fallback.rmse_before
    assert recovered.candidate.fp32 == candidate.fp32
    assert not recovered.qat
    assert "INT8 passes" in capsys.readouterr().err


def test_where_the_layers_are_not_enough_the_weights_are_trained(spoiled, capsys):
    context, evaluator, candidate = spoiled(
        {"min_teacher_cosine": 1.0}, float_layers=1, qat_epochs=1
    )
    recovered = recover_accuracy(context, evaluator, candidate)
    assert recovered.qat
    assert recovered.candidate.fp32 != candidate.fp32
    assert len(recovered.float_fallback.layers) == 1
    assert "quantization-aware training" in capsys.readouterr().err


def test_engines_that_disagree_are_a_failure_too(spoiled, capsys):
    context, evaluator, candidate = spoiled({"max_engine_rmse": 0.0}, float_layers=1, qat_epochs=0)
    recovered = recover_accuracy(context, evaluator, candidate)
    assert len(recovered.float_fallback.layers) == 1
    assert "logit RMSE between engines" in capsys.readouterr().err
