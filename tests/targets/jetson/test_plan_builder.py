"""TensorRT's own parser and builder judge the models; nothing is claimed about a board."""

import json
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import SimpleNamespace

import pytest
from onnx import TensorProto, helper

from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.targets import precisions_of
from orthoedge.targets.jetson.plan_builder import NOT_REPORTED, Layer, build_plan, layers
from tests.helpers.tensorrt_standin import tensorrt_api as standin_tensorrt

# The package of the same interface that builds without a GPU; on a Jetson it is `tensorrt`.
RTX = "tensorrt_rtx"
# Where it can be installed its absence is a failure and not a skip.
needs_rtx = pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no tensorrt-rtx here"
)
# It calls timing caches deprecated: this one package does nothing with them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@needs_rtx
@pytest.mark.parametrize("source", ["embedded", "small"])
def test_tensorrt_builds_every_model_of_a_bundle_without_a_warning(source, request):
    if source == "embedded":
        bundle = read_bundle(EMBEDDED)
    else:
        bundle = request.getfixturevalue("small_bundle")
    models = {bundle.manifest.key_for("jetson", p) for p in precisions_of(bundle, "jetson")}
    assert len(models) >= 2
    for name in models:
        plan = build_plan(bundle.model(name), RTX)
        assert len(plan.data) > 10_000, name
        assert plan.warnings == (), name
        assert plan.timing_cache == b"", "tensorrt-rtx times nothing, so nothing may be kept of it"


def int64_model():
    io = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "", io[:1], io[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@needs_rtx
def test_what_tensorrt_warns_of_is_kept():
    """Inputs of 64-bit integers are one thing that its parser takes and warns of."""
    plan = build_plan(int64_model().SerializeToString(), RTX)
    assert any("Int64" in warning for warning in plan.warnings)
    assert not any("\n" in warning for warning in plan.warnings)


@needs_rtx
def test_a_model_without_an_input_is_refused():
    with pytest.raises(EngineError, match="found no input"):
        build_plan(b"", RTX)


@needs_rtx
def test_tensorrt_refuses_what_is_no_model():
    with pytest.raises(EngineError, match=r"^tensorrt refused the model: .*\w") as refusal:
        build_plan(b"garbage", RTX)
    assert "\n" not in str(refusal.value)


@needs_rtx
def test_a_builder_that_gives_no_plan_is_told_with_its_reason():
    """A second input has no shape in the profile: the parser takes it, the builder does not."""
    io = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xyz"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "y"], ["z"])], "", io[:2], io[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(EngineError, match=r"builder returned no plan: .*Dynamic input tensor y"):
        build_plan(model.SerializeToString(), RTX)


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_nvidias_own_tool_finds_no_part_that_tensorrt_cannot_run(precision, tmp_path):
    assert "Graph is fully supported by TensorRT" in inspected_capability(
        read_bundle(EMBEDDED).model(precision), tmp_path
    )


@needs_rtx
def test_nvidias_own_tool_does_find_such_parts(tmp_path):
    io = [helper.make_tensor_value_info(name, TensorProto.STRING, [1]) for name in "xy"]
    nodes = [helper.make_node("StringNormalizer", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "", io[:1], io[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    report = inspected_capability(model.SerializeToString(), tmp_path)
    assert "fully supported" not in report
    assert "StringNormalizer" in report


def inspected_capability(model, folder):
    """What `polygraphy inspect capability` prints."""
    (folder / "model.onnx").write_bytes(model)
    return subprocess.run(
        [Path(sysconfig.get_path("scripts"), "polygraphy"), "inspect", "capability", "model.onnx"],
        cwd=folder,
        env=os.environ | {"POLYGRAPHY_USE_TENSORRT_RTX": "1"},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ).stdout


def test_types_are_always_the_models_and_float32_is_never_tf32(modules, small_bundle, monkeypatch):
    """The stand-in for 10.3 gives no plan unless it is set to type strongly; 11 always does."""
    cleared = []
    monkeypatch.setattr(
        standin_tensorrt.IBuilderConfig, "clear_flag", lambda _, f: cleared.append(f)
    )
    build_plan(small_bundle.model("int8"), modules.tensorrt)
    assert [flag.name for flag in cleared] == ["TF32"]


def test_timings_are_given_on_and_grow(modules, small_bundle):
    first = build_plan(small_bundle.model("fp32"), modules.tensorrt).timing_cache
    second = build_plan(small_bundle.model("int8"), modules.tensorrt, first).timing_cache
    assert first
    assert second.startswith(first)
    assert len(second) > len(first)


def test_without_tensorrt_the_reason_is_told():
    with pytest.raises(MissingDependency, match="JetPack"):
        build_plan(b"", "tensorrt_not_here")


def inspected(*records):
    """Layers of an engine whose inspector says this."""
    inspector = SimpleNamespace(get_layer_information=lambda index, form: records[index])
    engine = SimpleNamespace(num_layers=len(records), create_engine_inspector=lambda: inspector)
    trt = SimpleNamespace(LayerInformationFormat=SimpleNamespace(JSON="json"))
    return layers(engine, trt)


def layer(weights=None, **tensor):
    record = {"Name": "conv", "LayerType": "CaskConvolution", "Inputs": [{"Name": "x"} | tensor]}
    return json.dumps(record | ({} if weights is None else {"Weights": weights}))


@pytest.mark.parametrize(
    ("record", "precision"),
    [
        # TensorRT 10: format and type in one text, in a sentence or a word.
        (
            layer(
                **{"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format."}
            ),
            "int8",
        ),
        (layer(**{"Format/Datatype": "Row major linear FP32"}), "fp32"),
        (layer(**{"Format/Datatype": "Half"}), "fp16"),
        (layer(**{"Format/Datatype": "UInt8"}), "uint8"),
        # TensorRT 11: two fields.
        (layer(Datatype="Float", Format="Row major linear FP32 format (kLINEAR)"), "fp32"),
        (layer(DataType="Int8", Format="kCHW32"), "int8"),
        # A fused layer that quantizes its input by itself works in its weights' type.
        (layer({"Type": "Int8", "Count": 864}, Datatype="Float"), "int8"),
        (layer({"Type": "Float", "Count": 0}, Datatype="Half"), "fp16"),
        # An unknown type is passed on, and a missing one is not guessed.
        (layer(Datatype="E8M0"), "E8M0"),
        (layer(), NOT_REPORTED),
        (layer({"Count": 4}), NOT_REPORTED),
    ],
)
def test_a_layers_precision_is_what_the_inspector_says(record, precision):
    assert inspected(record) == (Layer("conv", "CaskConvolution", precision),)


def test_all_types_that_a_layer_reads_are_named():
    inputs = [{"Datatype": "Int8"}, {"Datatype": "Float"}, {"Datatype": "Int8"}]
    (found,) = inspected(json.dumps({"Name": "add", "LayerType": "kgen", "Inputs": inputs}))
    assert found.precision == "fp32+int8"


def test_an_engine_that_tells_only_names_or_nothing_is_not_guessed_about():
    assert inspected('"conv + relu"', "", "{}", "not JSON") == (
        Layer("conv + relu", NOT_REPORTED, NOT_REPORTED),
        *[Layer(NOT_REPORTED, NOT_REPORTED, NOT_REPORTED)] * 3,
    )
