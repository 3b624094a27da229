"""TensorRT's own parser and builder judge the models; nothing is claimed about a board."""

import platform
import sys

import pytest

from orthoedge.runtime.bundles import read_bundle
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
def test_tensorrt_builds_both_models_of_a_bundle(tiny_bundle, precision):
    plan = build_plan(read_bundle(tiny_bundle).model(precision), RTX)
    assert len(plan) > 10_000


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
