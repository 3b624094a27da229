"""Plans to open on the stand-ins, and the board they are for."""

import numpy as np
from onnx import TensorProto, helper

from orthoedge.targets.jetson.device import Device
from orthoedge.targets.jetson.engine import TensorRtEngine
from orthoedge.targets.jetson.plan_builder import build_plan
from orthoedge.targets.jetson.tensorrt_module import Modules

SIZE = 32
IMAGES = np.random.default_rng(2).integers(0, 256, (8, 1, SIZE, SIZE), dtype=np.uint8)
TEN = Modules("tests.helpers.tensorrt_standin.trt10", "tests.helpers.tensorrt_standin.cudart")
ORIN = Device("Stand-in", "8.7", 8, 7168, "13.0", "12.6", "10.3.0")


def open_plan(model, size=SIZE, precision="fp32", modules=TEN):
    plan = build_plan(model, modules.tensorrt)
    return TensorRtEngine(plan.data, size, precision, ORIN, modules)


def with_face(changes, wide=TensorProto.FLOAT):
    """ONNX bytes with the common face, but for `changes`: name -> (new name, type, shape).

    `wide` is the type that it computes in.
    """
    face = {
        "image": ("image", TensorProto.UINT8, ["n", 1, SIZE, SIZE]),
        "logits": ("logits", TensorProto.FLOAT, ["n", 3]),
        "saliency_map": ("saliency_map", TensorProto.FLOAT, ["n", 3, 4, 4]),
        "feature_vector": ("feature_vector", TensorProto.FLOAT, ["n", 8]),
    } | changes
    (image, kind, shape), *outputs = face.values()
    nodes = [
        helper.make_node("Cast", [image], ["wide"], to=wide),
        helper.make_node("ReduceMean", ["wide"], ["mean"], keepdims=0),
    ]
    for name, output, sides in outputs:
        fixed = [1 if side == "n" else side for side in sides]
        shape_name = f"shape of {name}"
        nodes += [
            helper.make_node("Constant", [], [shape_name], value_ints=fixed),
            helper.make_node("Cast", ["mean"], [f"cast {name}"], to=output),
            helper.make_node("Expand", [f"cast {name}", shape_name], [name]),
        ]
    graph = helper.make_graph(
        nodes,
        "face",
        [helper.make_tensor_value_info(image, kind, shape)],
        [helper.make_tensor_value_info(*output) for output in outputs],
    )
    found = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return found.SerializeToString()
