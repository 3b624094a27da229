"""A small convolutional network as an ONNX file with the common interface, written node by node."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from orthoedge.targets import open_model

SIDE, WIDTH, CLASSES = 32, 16, 3
LAYERS = ("stem", "wide", "depthwise", "pointwise")
LOUD = 10  # a channel that is seldom zero


def conv_model(spread=1.0):
    """ONNX bytes of stem, max pooling, 3×3, depthwise and 1×1 convolutions, and the head and map.

    Args:
        spread: how much larger than its neighbours one channel is that the layer `pointwise`
            reads; its weights undo it, so float32 outputs are the same for every spread. In INT8
            the other channels are left with fewer steps of the range the larger it is.
    """
    rng = np.random.default_rng(0)
    shapes = {
        "stem": (WIDTH, 1, 3, 3),
        "wide": (WIDTH, WIDTH, 3, 3),
        "depthwise": (WIDTH, 1, 3, 3),
        "pointwise": (2 * WIDTH, WIDTH, 1, 1),
    }
    constants, nodes = {}, []
    for name, shape in shapes.items():
        fan_in = np.prod(shape[1:])
        constants[f"{name}.weight"] = rng.normal(0, np.sqrt(2 / fan_in), shape)
        constants[f"{name}.bias"] = rng.normal(0, 0.1, shape[0])
    constants["depthwise.weight"][LOUD] *= spread
    constants["depthwise.bias"][LOUD] *= spread
    constants["pointwise.weight"][:, LOUD] /= spread
    constants |= {
        "scale": 1 / 127.5,
        "one": 1.0,
        "head": rng.normal(0, 1, (2 * WIDTH, CLASSES)),
        "bias": np.zeros(CLASSES),
        "head_map": rng.normal(0, 1, (CLASSES, 2 * WIDTH, 1, 1)),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["cast"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "scale"], ["scaled"], "scaled"),
        helper.make_node("Sub", ["scaled", "one"], ["x"], "normalised"),
        *_conv("stem", "x", "stemmed"),
        helper.make_node(
            "MaxPool", ["stemmed"], ["pooled"], "pool", kernel_shape=[2, 2], strides=[2, 2]
        ),
        *_conv("wide", "pooled", "widened"),
        helper.make_node("Add", ["widened", "pooled"], ["sum"], "residual"),
        *_conv("depthwise", "sum", "deep", group=WIDTH),
        *_conv("pointwise", "deep", "features"),
        helper.make_node(
            "ReduceMean", ["features", "axes"], ["feature_vector"], "explain/mean", keepdims=0
        ),
        helper.make_node("MatMul", ["feature_vector", "head"], ["product"], "explain/head"),
        helper.make_node("Add", ["product", "bias"], ["logits"], "explain/bias"),
        helper.make_node("Conv", ["features", "head_map"], ["cam"], "explain/map"),
        helper.make_node("Relu", ["cam"], ["saliency_map"], "explain/relu"),
    ]
    floats = {name: np.asarray(value, np.float32) for name, value in constants.items()}
    cells = SIDE // 4
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, SIDE, SIDE])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
            for name, shape in (
                ("logits", [CLASSES]),
                ("saliency_map", [CLASSES, cells, cells]),
                ("feature_vector", [2 * WIDTH]),
            )
        ],
        [
            *(numpy_helper.from_array(value, name) for name, value in floats.items()),
            numpy_helper.from_array(np.array([2, 3]), "axes"),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    return model.SerializeToString()


def _conv(name, source, result, group=1):
    side = 1 if name == "pointwise" else 3
    stride = 2 if name == "stem" else 1
    inputs = [source, f"{name}.weight", f"{name}.bias"]
    yield helper.make_node(
        "Conv",
        inputs,
        [f"{name}.out"],
        name,
        group=group,
        kernel_shape=[side, side],
        pads=[side // 2] * 4,
        strides=[stride, stride],
    )
    yield helper.make_node("Relu", [f"{name}.out"], [result], f"{name}.relu")


def pictures(count, seed=0):
    """uint8 (count, 1, SIDE, SIDE): gratings, about equally bright so that none is clipped."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE * 2 * np.pi
    waves = rng.integers(1, 6, (count, 2, 1, 1))
    phase, contrast = rng.uniform(0, 6, (count, 1, 1)), rng.uniform(110, 127, (count, 1, 1))
    image = 127.5 + contrast * np.sin(waves[:, 0] * x + waves[:, 1] * y + phase)
    return image.astype(np.uint8)[:, None]


def logits_of(model, images):
    """Logits of the reference engine, (n, C); any precision."""
    return open_model(model, images.shape[-1], "portable", "int8").run(images).logits


def error(model, reference, images):
    """Root mean square of the logits' difference over their standard deviation."""
    expected = logits_of(reference, images)
    return float(np.sqrt(((logits_of(model, images) - expected) ** 2).mean()) / expected.std())


def parser_warnings(model):
    """Warnings of TensorRT's parser about a file; fails if the parser refuses it."""
    import tensorrt_rtx as trt

    class Recorder(trt.ILogger):
        def __init__(self):
            super().__init__()
            self.lines = []

        def log(self, severity, message):
            if severity <= trt.ILogger.Severity.WARNING:
                self.lines.append(message)

    heard = Recorder()
    network = trt.Builder(trt.Logger(trt.Logger.ERROR)).create_network(0)
    parser = trt.OnnxParser(network, heard)
    assert parser.parse(model), parser.get_error(0).desc()
    return heard.lines


def constant(model, name):
    """Value of an initializer of ONNX bytes."""
    tensors = {t.name: t for t in onnx.load_from_string(model).graph.initializer}
    return numpy_helper.to_array(tensors[name])


def weight_codes(model, layer):
    """Integers of a quantized layer's weight, and the step per output channel to multiply by."""
    graph = onnx.load_from_string(model).graph
    made = {out: node for node in graph.node for out in node.output}
    pair = made[next(node for node in graph.node if node.name == layer).input[1]]
    codes, step = (constant(model, name) for name in pair.input[:2])
    return codes.astype(int), step.reshape(-1, *[1] * (codes.ndim - 1))
