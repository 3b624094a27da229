"""TensorRT's own parser and builder judge the models; nothing is claimed about a board."""

import platform
import sys

import pytest
from onnx import TensorProto, helper

from orthoedge.runtime.bundles import EMBEDDED, read_bundle
from orthoedge.runtime.errors import EngineError, MissingDependency
from orthoedge.targets import open_engine
from orthoedge.targets.jetson.build import build_plan

# The package of the same interface that builds without a GPU; on a Jetson it is `tensorrt`.
RTX = "tensorrt_rtx"
# Where it can be installed its absence is a failure and not a skip.
needs_rtx = pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no tensorrt-rtx here"
)


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("source", ["embedded", "tiny"])
def test_tensorrt_builds_every_model_of_a_bundle_without_a_warning(source, precision, request):
    path = EMBEDDED if source == "embedded" else request.getfixturevalue("tiny_bundle")
    plan = build_plan(read_bundle(path).model(precision), RTX)
    assert len(plan.data) > 10_000
    assert plan.warnings == ()


@needs_rtx
def test_what_tensorrt_warns_of_is_kept():
    """Inputs of 64-bit integers are one thing that its parser takes and warns of."""
    face = [helper.make_tensor_value_info(name, TensorProto.INT64, [1, 4]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Add", ["x", "x"], ["y"])], "", face[:1], face[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    plan = build_plan(model.SerializeToString(), RTX)
    assert any("Int64" in warning for warning in plan.warnings)


@needs_rtx
def test_tensorrt_refuses_what_is_no_model():
    with pytest.raises(EngineError, match="tensorrt refused"):
        build_plan(b"garbage", RTX)


def test_without_tensorrt_the_reason_is_told():
    with pytest.raises(MissingDependency, match="JetPack"):
        build_plan(b"", "tensorrt_not_here")


def test_running_on_jetson_is_refused_and_not_faked(small_bundle):
    with pytest.raises(EngineError, match="not part of this version"):
        open_engine(small_bundle, "jetson")
