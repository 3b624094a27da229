"""A plan may have the output `lesion_mask`, and no other one more."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from orthoedge.runtime.errors import EngineError
from orthoedge.targets.portable.engine import OnnxRuntimeEngine
from tests.conftest import FEATURES, SIZE
from tests.helpers.jetson.open_plans import IMAGES, open_plan


def masked(model, name="lesion_mask", channels=1):
    """The same network with one more output: a convolution of its features and a sigmoid."""
    proto = onnx.load_from_string(model)
    weight = np.random.default_rng(3).normal(0, 1, (channels, FEATURES, 1, 1)).astype(np.float32)
    proto.graph.initializer.append(numpy_helper.from_array(weight, "mask_weight"))
    proto.graph.node.append(helper.make_node("Conv", ["features", "mask_weight"], ["mask_logits"]))
    proto.graph.node.append(helper.make_node("Sigmoid", ["mask_logits"], [name]))
    shape = ["n", channels, SIZE // 8, SIZE // 8]
    proto.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    return proto.SerializeToString()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_mask_is_that_of_the_reference_engine(modules, small_bundle, precision):
    model = masked(small_bundle.model(precision))
    engine = open_plan(model, SIZE, precision, modules)
    expected = OnnxRuntimeEngine(model, SIZE, precision).run(IMAGES[:2]).lesion_mask
    mask = engine.run(IMAGES[:2]).lesion_mask
    assert mask.shape == (2, 1, SIZE // 8, SIZE // 8)
    np.testing.assert_allclose(mask, expected, atol=1e-6)
    assert (
        open_plan(small_bundle.model(precision), SIZE, precision, modules)
        .run(IMAGES[:1])
        .lesion_mask
        is None
    )


@pytest.mark.parametrize("changed", [{"name": "another"}, {"channels": 2}])
def test_another_output_is_refused(gpu, small_bundle, changed):
    with pytest.raises(EngineError, match=r"another|lesion_mask of shape"):
        open_plan(masked(small_bundle.model("fp32"), **changed))
