"""The half-precision file: its types, its outputs, what it refuses, and its place in a bundle."""

import platform
import sys
from dataclasses import replace

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from orthoedge.compression.build_bundle import add_fp16
from orthoedge.compression.bundle_writer import write_bundle
from orthoedge.compression.quantization.fp16 import fp16_outputs, to_fp16
from orthoedge.compression.quantization.onnx_rules import check, lint
from orthoedge.compression.report.model_card import model_card
from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle
from orthoedge.runtime.engine import PRECISIONS
from orthoedge.runtime.errors import BundleError, ModelError
from orthoedge.targets.jetson.plan_builder import build_plan
from orthoedge.targets.verification import deviation


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(PHANTOM)


@pytest.fixture(scope="module")
def half(bundle):
    return to_fp16(bundle.model("fp32"))


def test_the_half_of_the_phantom_bundle_is_what_its_float32_file_gives(bundle, half):
    """It was added to the bundle after the command that wrote the rest."""
    assert bundle.model("fp16") == half


def changed(model, change):
    proto = onnx.load_from_string(model)
    change(proto.graph)
    return proto.SerializeToString()


def set_constant(graph, name, values):
    tensor = next(t for t in graph.initializer if t.name == name)
    tensor.CopyFrom(numpy_helper.from_array(values, name))


def first(graph, kind):
    return next(node for node in graph.node if node.op_type == kind)


def test_the_backbone_is_in_half_precision_and_the_head_and_map_in_float32(half):
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(half)).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    types |= {t.name: t.data_type for t in graph.initializer}
    convolutions = 0
    for node in graph.node:
        kinds = {types[name] for name in (*node.output, *node.input) if name in types}
        if node.name.startswith("explain/") and node.op_type != "Cast":
            assert TensorProto.FLOAT16 not in kinds
        elif node.op_type == "Conv":
            assert kinds == {TensorProto.FLOAT16}
            convolutions += 1
    assert convolutions == 45
    assert len(half) < 1.3e6  # of 2.5 MB


def test_its_answers_are_those_of_float32_but_for_rounding(bundle, half):
    outputs = fp16_outputs(half, bundle.golden_images())
    expected = bundle.golden_outputs("fp32")
    # Half precision keeps 11 bits, 5e-4; a dropped layer moves the logits by whole deviations.
    assert 1e-4 < deviation(outputs.logits, expected.logits) < 5e-3
    assert deviation(outputs.saliency_map, expected.saliency_map) < 0.05
    assert deviation(outputs.feature_vector, expected.feature_vector) < 0.02


@pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no tensorrt-rtx here"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its timing caches
def test_tensorrt_builds_it_without_a_warning(half):
    assert build_plan(half, "tensorrt_rtx").warnings == ()


def test_a_constant_beyond_half_precision_is_refused_by_name(bundle):
    bias = first(onnx.load_from_string(bundle.model("fp32")).graph, "Conv").input[2]

    def enlarge(graph):
        values = next(numpy_helper.to_array(t) for t in graph.initializer if t.name == bias)
        set_constant(graph, bias, np.full_like(values, 7e4))

    with pytest.raises(ModelError, match=f"fp16 model: {bias}: exceeds 65504"):
        to_fp16(changed(bundle.model("fp32"), enlarge))


def test_an_activation_beyond_half_precision_is_refused_by_name(bundle, half):
    multiply = first(onnx.load_from_string(half).graph, "Mul")

    def enlarge(graph):
        set_constant(graph, multiply.input[1], np.asarray(6e4, np.float16))

    with pytest.raises(ModelError, match=f"fp16 model: {multiply.output[0]}: exceeds 65504"):
        fp16_outputs(changed(half, enlarge), bundle.golden_images()[:1])


def test_a_network_that_half_precision_changes_ships_without_it_and_says_why(bundle, capsys):
    fp32, images = bundle.model("fp32"), bundle.golden_images()
    expected = bundle.golden_outputs("fp32")
    others = replace(expected, logits=expected.logits + 0.1 * expected.logits.std())
    bias = first(onnx.load_from_string(fp32).graph, "Conv").input[2]

    def enlarge(graph):
        values = next(numpy_helper.to_array(t) for t in graph.initializer if t.name == bias)
        set_constant(graph, bias, np.full_like(values, 7e4))

    for model, golden, why in (
        (fp32, others, "its logits differ by 0.1 standard deviations"),
        (changed(fp32, enlarge), expected, "exceeds 65504"),
    ):
        models, tolerance = {"fp32": model}, {}
        add_fp16(models, tolerance, images, golden)
        assert "fp16" not in models.keys() | tolerance.keys()
        assert why in "".join(capsys.readouterr())


def float32_weight(graph):
    name = first(graph, "Conv").input[1]
    values = next(numpy_helper.to_array(t) for t in graph.initializer if t.name == name)
    set_constant(graph, name, values.astype(np.float32))


def half_head(graph):
    node = next(node for node in graph.node if "saliency_map" in node.output)
    place = list(graph.node).index(node)
    for kind, source, name in (
        (TensorProto.FLOAT, "rounded", "explain/wide"),
        (TensorProto.FLOAT16, node.input[0], "explain/round"),
    ):
        result = "again" if source == "rounded" else "rounded"
        cast = helper.make_node("Cast", [source], [result], name, to=kind)
        graph.node.insert(place, cast)
    node.input[0] = "again"


FAULTS = {
    float32_weight: "not FLOAT16 in the fp16 model",
    half_head: "rounded: half precision where float32 is required",
}


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda f: f.__name__)
def test_a_fault_of_a_half_precision_file_is_named(half, spoil):
    broken = changed(half, spoil)
    with pytest.raises(ModelError):
        check(broken, "fp16")
    assert any(FAULTS[spoil] in line for line in lint(onnx.load_from_string(broken), "fp16"))


def test_a_file_of_another_precision_is_told(bundle, half):
    for model, precision in ((half, "fp32"), (half, "int8"), (bundle.model("fp32"), "fp16")):
        assert lint(onnx.load_from_string(model), precision) != []
    assert "quantized" in lint(onnx.load_from_string(bundle.model("int8")), "fp16")[0]


def test_a_bundle_holds_it_with_a_tolerance_of_its_own(bundle, tmp_path):
    manifest, images = bundle.manifest, bundle.golden_images()
    golden = {precision: bundle.golden_outputs(precision) for precision in PRECISIONS}
    models = {precision: bundle.model(precision) for precision in PRECISIONS}
    limits = {precision: manifest.golden.tolerance[precision] for precision in PRECISIONS}
    add_fp16(models, limits, images, golden["fp32"])
    manifest = msgspec.structs.replace(
        manifest, golden=msgspec.structs.replace(manifest.golden, tolerance=limits)
    )
    card = model_card(manifest, [], [])
    assert "`model.fp16.onnx` is the float32 network in half precision" in card
    bundle = write_bundle(tmp_path / "bundle", manifest, models, images, golden, card)
    assert bundle.model("fp16") == models["fp16"]
    assert bundle.manifest.calibration_for("fp16") == manifest.calibration["fp32"]
    np.testing.assert_array_equal(
        bundle.golden_outputs("fp16").logits, bundle.golden_outputs("fp32").logits
    )
    assert not (tmp_path / "bundle/golden/fp16.npz").exists()


def test_a_bundle_without_it_says_so(small_bundle):
    with pytest.raises(BundleError, match=r"holds no model\.fp16\.onnx: choose fp32 or int8"):
        small_bundle.model("fp16")
    assert "There is no `model.fp16.onnx`" in model_card(small_bundle.manifest, [], [])
