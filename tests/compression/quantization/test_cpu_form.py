"""INT8 for CPU engines: the same network in codes that two engines run as integers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from orthoedge.compression.quantization.cpu_form import for_cpus
from orthoedge.compression.quantization.float_fallback import layers, restore_float
from orthoedge.compression.quantization.onnx_rules import check
from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle
from orthoedge.runtime.errors import ModelError
from orthoedge.targets import open_model
from orthoedge.targets.onnx_graph import OnnxGraphIndex
from orthoedge.targets.portable.engine import load_onnxruntime


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(PHANTOM)


@pytest.fixture(scope="module")
def model(bundle):
    return for_cpus(bundle.model("int8"), bundle.model("fp32"), bundle.golden_images())


def activations(model):
    """Source, step and zero point of every activation's pair."""
    index = OnnxGraphIndex(onnx.load_from_string(model).graph)
    for node in index.producer.values():
        if node.op_type == "QuantizeLinear":
            source = index.producer.get(node.input[0])
            step, zero = (numpy_helper.to_array(index.constants[name]) for name in node.input[1:])
            yield node.input[0], source.op_type, float(step), zero


def test_all_codes_are_unsigned_and_those_after_relu_use_all_of_them(bundle, model):
    before = {name: step for name, _, step, _ in activations(bundle.model("int8"))}
    for name, source, step, zero in activations(model):
        assert zero.dtype == np.uint8
        if source == "Relu":
            assert zero == 0
            assert step == pytest.approx(before[name] * 127 / 255, rel=1e-6)


def test_the_weights_keep_their_codes(bundle, model):
    graphs = [onnx.load_from_string(m).graph for m in (bundle.model("int8"), model)]
    before, now = (
        {n.name: index.weight_codes(n).raw_data for n in graph.node if n.name in names}
        for graph, names in ((g, set(layers(bundle.model("int8")))) for g in graphs)
        for index in [OnnxGraphIndex(graph)]
    )
    assert before == now


def test_sums_and_biases_are_in_codes_too(model):
    graph = onnx.load_from_string(model).graph
    index = OnnxGraphIndex(graph)
    sums = [n for n in graph.node if n.op_type == "Add" and not n.name.startswith("explain/")]
    assert len(sums) == 10
    for node in sums:
        steps = {index.producer[name].input[1] for name in node.input}
        values = {float(numpy_helper.to_array(index.constants[name])) for name in steps}
        assert len(values) == 1  # so that a sum of codes is exact
    for node in graph.node:
        if node.op_type == "Conv" and index.weight_codes(node) is not None:
            bias = index.producer[node.input[2]]
            assert index.constants[bias.input[0]].data_type == TensorProto.INT32


def test_onnx_runtime_computes_every_layer_but_the_last_in_integers(model, tmp_path):
    """The last one's output, which becomes the map, is float in every INT8 file."""
    ort = load_onnxruntime()
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    kinds = [node.op_type for node in nodes if not node.name.startswith("explain/")]
    assert kinds.count("QLinearAdd") == 10
    assert kinds.count("QLinearConv") == 44
    assert [kind for kind in kinds if kind.endswith("Conv")][44:] == ["FusedConv"]


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_it_is_as_close_to_float_as_the_signed_file(bundle, model, target):
    """On the golden images alone, so within half of the signed file's error."""
    images, size = bundle.golden_images(), bundle.manifest.graph.size
    exact = bundle.golden_outputs("fp32").logits

    def error(file):
        logits = open_model(file, size, target, "int8").run(images).logits
        return np.sqrt(((logits - exact) ** 2).mean())

    assert error(model) < 1.5 * error(bundle.model("int8"))


def test_layers_that_fell_back_to_float_stay_float(bundle):
    name = layers(bundle.model("int8"))[3]
    changed = restore_float(bundle.model("int8"), bundle.model("fp32"), (name,))
    model = for_cpus(changed, bundle.model("fp32"), bundle.golden_images()[:2])
    graph = onnx.load_from_string(model).graph
    node = next(node for node in graph.node if node.name == name)
    assert OnnxGraphIndex(graph).weight_codes(node) is None
    outputs = open_model(model, 224, "x86", "int8").run(bundle.golden_images()[:1])
    assert np.isfinite(outputs.logits).all()


def test_a_tensorrt_rule_is_not_asked_of_it_and_the_others_are(model):
    with pytest.raises(ModelError, match="INT8 only"):
        check(model, "int8")
    broken = onnx.load_from_string(model)
    broken.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    with pytest.raises(ModelError, match="int8_cpu model: logits: not FLOAT"):
        check(broken.SerializeToString(), "int8_cpu")


def network(rng, activation):
    """A residual network of two blocks in both forms, and images: `activation` after the sum."""
    floats = {
        "stem": rng.normal(0, 0.3, (8, 1, 3, 3)),
        "first": rng.normal(0, 0.2, (8, 8, 3, 3)),
        "second": rng.normal(0, 0.2, (8, 8, 3, 3)),
        "head_t": rng.normal(0, 1, (8, 3)),
    }
    floats |= {f"{name}_bias": rng.normal(0, 0.5, 8) for name in ("stem", "first", "second")}
    constants = {name: value.astype(np.float32) for name, value in floats.items()}
    constants |= {"scale": np.float32(1 / 127.5), "one": np.float32(1), "axes": np.array([2, 3])}

    def make(integer):
        own, nodes = dict(constants), []

        def add(kind, inputs, output, name="", **attributes):
            nodes.append(helper.make_node(kind, inputs, [output], name or output, **attributes))
            return output

        def rounded(source, step):
            if not integer:
                return source
            own[f"{source}_step"], own["zero"] = np.float32(step), np.int8(0)
            pair = [f"{source}_step", "zero"]
            add("QuantizeLinear", [source, *pair], f"{source}_q", f"Q_{source}")
            return add("DequantizeLinear", [f"{source}_q", *pair], f"{source}_dq", f"DQ_{source}")

        def convolve(source, name, output):
            weight = name
            if integer:
                step = np.abs(own[name]).max((1, 2, 3)) / 63
                codes = np.rint(own.pop(name) / step[:, None, None, None]).astype(np.int8)
                own[f"{name}_codes"], own[f"{name}_steps"] = codes, step.astype(np.float32)
                own[f"{name}_zeros"] = np.zeros(8, np.int8)
                inputs = [f"{name}_{part}" for part in ("codes", "steps", "zeros")]
                weight = add("DequantizeLinear", inputs, f"{name}_dq", axis=0)
            return add("Conv", [source, weight, f"{name}_bias"], output, pads=[1, 1, 1, 1])

        add("Cast", ["image"], "float", to=TensorProto.FLOAT)
        add("Mul", ["float", "scale"], "scaled")
        source = rounded(add("Sub", ["scaled", "one"], "x"), 1 / 127)
        tensor = add("Relu", [convolve(source, "stem", "stemmed")], "block0")
        for number, name in enumerate(("first", "second"), 1):
            source = rounded(tensor, 12 / 127)
            tensor = add("Add", [convolve(source, name, f"{name}_out"), tensor], f"sum{number}")
            if activation:
                tensor = add("Relu", [tensor], f"block{number}")
        add("ReduceMean", [tensor, "axes"], "feature_vector", "explain/mean", keepdims=0)
        add("MatMul", ["feature_vector", "head_t"], "logits", "explain/logits")
        add("Slice", [tensor, "from", "to", "channel"], "part", "explain/part")
        own |= {"from": np.array([0]), "to": np.array([3]), "channel": np.array([1])}
        add("Relu", ["part"], "saliency_map", "explain/map")
        shapes = {"logits": ["n", 3], "saliency_map": ["n", 3, 32, 32], "feature_vector": ["n", 8]}
        graph = helper.make_graph(
            nodes,
            "residual",
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, 32, 32])],
            [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in own.items()],
        )
        opset = [helper.make_opsetid("", 18)]
        return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()

    return make(True), make(False), rng.integers(0, 256, (6, 1, 32, 32), dtype=np.uint8)


@pytest.mark.parametrize("activation", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_sums_of_drawn_residual_networks_agree_in_both_engines(seed, activation):
    """With and without an activation after the sum, as in ResNet and in MobileNet."""
    int8, fp32, images = network(np.random.default_rng(seed), activation)
    model = for_cpus(int8, fp32, images)
    exact = open_model(fp32, 32, "portable", "fp32").run(images)
    outputs = [open_model(model, 32, target, "int8").run(images) for target in ("x86", "portable")]
    deviation = exact.logits.std()
    for found in outputs:
        assert np.sqrt(((found.logits - exact.logits) ** 2).mean()) < 0.05 * deviation
    # Less than a tenth of what rounding costs: engines round the same sums.
    assert np.abs(outputs[0].logits - outputs[1].logits).max() < 0.01 * deviation
