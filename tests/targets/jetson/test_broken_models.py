"""Our lint, TensorRT's parser and builder, and ONNX Runtime judge the files of `broken_table`."""

import platform
import subprocess
import sys

import numpy as np
import onnx
import pytest

from orthoedge.compression.quantization.onnx_rules import check
from orthoedge.runtime.bundles.bundle import PHANTOM
from orthoedge.runtime.errors import EngineError, ModelError
from orthoedge.targets.jetson.onnx_rules import lint
from orthoedge.targets.jetson.plan_builder import build_plan
from orthoedge.targets.portable.engine import OnnxRuntimeEngine
from tests.helpers.jetson import broken_pairs
from tests.helpers.jetson.broken_table import REFUSES, ROWS, TAKES

# The package of the same interface that builds without a GPU; on a Jetson it is `tensorrt`.
RTX = "tensorrt_rtx"
RUNS_RTX = (platform.machine(), sys.platform) == ("x86_64", "linux")
# It calls timing caches deprecated: this one package does nothing with them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def int8():
    return (PHANTOM / "model.int8.onnx").read_bytes()


@pytest.fixture(scope="module")
def image():
    return np.load(PHANTOM / "golden/images.npy")[:1]


@every_row
def test_each_engine_says_of_a_broken_file_what_the_table_says(int8, image, row):
    model = spoilt(int8, row.spoil)
    with pytest.raises(ModelError) as refused:
        check(model, "int8")
    assert row.lint in str(refused.value)
    assert onnxruntime(model, image) == row.onnxruntime
    if not RUNS_RTX:
        return
    if row.tensorrt != TAKES:
        with pytest.raises(EngineError, match=row.tensorrt):
            build_plan(model, RTX)
        return
    warnings = build_plan(model, RTX).warnings
    assert bool(warnings) == bool(row.warning)
    assert all(row.warning in line for line in warnings)


def test_what_tensorrt_takes_has_a_reason_not_to_be_shipped():
    assert [row.name for row in ROWS if row.tensorrt == TAKES and not row.why] == []


def test_a_scale_in_half_precision_breaks_tensorrts_rule_too(int8):
    """The rules of all engines name its type first; these hold for a file of any origin."""
    model = onnx.load_from_string(spoilt(int8, broken_pairs.activation(np.float16(0.1))))
    assert [line for line in lint(model) if "a scale of FLOAT16, expected FLOAT" in line]


def test_a_cut_file_is_refused_by_all(int8, image):
    cut = int8[:-1]
    with pytest.raises(ModelError, match="int8 model: Error parsing"):
        check(cut, "int8")
    assert onnxruntime(cut, image) == REFUSES
    if RUNS_RTX:
        with pytest.raises(EngineError, match="Failed to parse"):
            build_plan(cut, RTX)


def test_a_scale_that_depends_on_the_image_is_refused_before_it_ends_the_process(int8, image):
    """TensorRT-RTX dies of it by a signal, which is why a plan is built in a child."""
    model = spoilt(int8, broken_pairs.scale_of_the_image)
    with pytest.raises(ModelError, match="no constant scale"):
        check(model, "int8")
    assert onnxruntime(model, image) == TAKES
    if RUNS_RTX:
        build = "import sys; from orthoedge.targets.jetson.plan_builder import build_plan; "
        build += f"build_plan(sys.stdin.buffer.read(), '{RTX}')"
        done = subprocess.run([sys.executable, "-c", build], input=model, capture_output=True)
        assert done.returncode < 0


def test_the_rules_of_tensorrt_hold_without_those_of_other_engines(int8):
    assert lint(onnx.load_from_string(int8)) == []
    eight_bits = onnx.load_from_string(int8)
    broken_pairs.weight_code(eight_bits, -128)
    assert lint(eight_bits) == []
    with pytest.raises(ModelError, match="7 bits"):
        check(eight_bits.SerializeToString(), "int8")


@pytest.mark.parametrize("spoil", [broken_pairs.four_bit_weight, broken_pairs.eight_bit_float])
def test_a_later_operator_set_would_not_let_other_types_in(int8, spoil):
    broken = lint(onnx.load_from_string(spoilt(int8, spoil)))
    assert any("where TensorRT takes INT8 only" in line for line in broken)


def spoilt(int8, spoil):
    model = onnx.load_from_string(int8)
    spoil(model)
    broken_pairs.drop_unread(model)
    return model.SerializeToString()


def onnxruntime(model, image):
    try:
        OnnxRuntimeEngine(model, image.shape[-1], "int8", threads=1).run(image)
    except EngineError:
        return REFUSES
    return TAKES
