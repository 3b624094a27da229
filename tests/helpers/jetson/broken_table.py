"""What our lint, TensorRT's parser and builder, and ONNX Runtime each say to a broken INT8 file.

The lint refuses every row. Where TensorRT refuses and ONNX Runtime takes, the file is ONNX and
TensorRT's rules are narrower; where TensorRT takes, `why` says what is wrong all the same: some of
these it reads otherwise than the file says, all but one without a word.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx

from tests.helpers.jetson import broken_graphs as graphs
from tests.helpers.jetson import broken_pairs as pairs

TAKES, REFUSES = "takes", "refuses"


@dataclass(frozen=True)
class Row:
    name: str
    spoil: Callable[[onnx.ModelProto], None]
    lint: str
    """What the lint's first line holds."""
    tensorrt: str
    """What its error holds; TAKES where it builds the file."""
    onnxruntime: str
    """TAKES where it answers."""
    why: str = ""
    warning: str = ""
    """What TensorRT's only warning holds."""


POSITIVE = "a scale that is not positive and finite"
ALL_POSITIVE = "Scale coefficients must all be positive"
PER_CHANNEL = "expected one weight scale per output channel"
NON_ZERO = "Non-zero zero point is not supported"
ONE_OPSET = "where every engine takes ai.onnx 18"
DLA = "UINT8 zero_point only on DLA"

ROWS = [
    Row(
        "uint8 activation",
        pairs.activation(zero=np.uint8(0)),
        "UINT8 where TensorRT takes INT8 only",
        TAKES,
        TAKES,
        "ONNX takes uint8; TensorRT reads it as int8 and clips what is above 127",
        warning=DLA,
    ),
    Row("uint8 weight", pairs.unsigned_weight, "UINT8 where", "input type of UINT8", TAKES),
    Row("int32 bias", pairs.integer_bias, "a bias in INT32", "has type Int32", TAKES),
    Row("zero point 3", pairs.activation(zero=np.int8(3)), "other than 0", NON_ZERO, TAKES),
    Row("weight's zero point", pairs.shifted_weight, "other than 0", NON_ZERO, TAKES),
    Row(
        "no zero points",
        pairs.without_zeros,
        "no constant zero point",
        TAKES,
        TAKES,
        "ONNX's default type is uint8, TensorRT computes in int8",
    ),
    Row(
        "no zero point in front",
        pairs.without_zero,
        "no constant zero point",
        TAKES,
        REFUSES,
        "uint8 in front and int8 behind: TensorRT computes in int8",
    ),
    Row("scale 0", pairs.activation(0), POSITIVE, ALL_POSITIVE, TAKES),
    Row("scale NaN", pairs.activation(np.nan), "not finite", ALL_POSITIVE, TAKES),
    Row("negative scale", pairs.activation(-0.1), POSITIVE, ALL_POSITIVE, TAKES),
    Row("endless scale", pairs.activation(np.inf), "not finite", TAKES, TAKES, "both divide by it"),
    Row("weight's scale 0", pairs.weight_scale(0), POSITIVE, ALL_POSITIVE, TAKES),
    Row(
        "scale per channel of an activation",
        pairs.scale_per_channel,
        "16 scales for an activation",
        TAKES,
        TAKES,
        "NVIDIA's guide knows one scale per activation; such a file builds all the same",
    ),
    Row(
        "other scale behind",
        pairs.other_scale_behind,
        "no QuantizeLinear with the same scale",
        TAKES,
        TAKES,
        "both obey the file, and the file is wrong by a factor of 2",
    ),
    Row(
        "one scale for a weight",
        pairs.one_scale_for_a_weight,
        PER_CHANNEL,
        TAKES,
        TAKES,
        "both obey the file, and most channels keep a few codes",
    ),
    Row(
        "scales along the input",
        pairs.scale_along_the_input,
        PER_CHANNEL,
        TAKES,
        TAKES,
        "NVIDIA's guide asks for scales along the output; such a file builds all the same",
    ),
    Row("one scale too few", pairs.cut_scales, PER_CHANNEL, "number of scales", REFUSES),
    Row("one channel too few", pairs.cut_weight, "a weight of", "misalign with the", REFUSES),
    Row(
        "four-bit weight",
        pairs.four_bit_weight,
        ONE_OPSET,
        "no plan",
        TAKES,
        "4 bits need a later operator set, which ONNX Runtime has",
    ),
    Row("8-bit floats", pairs.eight_bit_float, ONE_OPSET, "no plan", TAKES, "as for four bits"),
    Row(
        "quantized head",
        pairs.quantized_head,
        "head or map reads quantized values",
        TAKES,
        TAKES,
        "both obey the file, and explanation and decision no longer agree by construction",
    ),
    Row(
        "cast for QuantizeLinear",
        pairs.cast_for_quantize,
        "no QuantizeLinear with the same scale",
        TAKES,
        TAKES,
        "both obey the file, and it cuts fractions off",
    ),
    Row(
        "no DequantizeLinear",
        pairs.without_dequantize,
        "has unsupported type",
        "must be of same type",
        REFUSES,
    ),
    Row(
        "double precision",
        graphs.double_precision,
        "DOUBLE, in which TensorRT does not compute",
        TAKES,
        TAKES,
        "TensorRT computes it in float32",
    ),
    Row(
        "output said to be half",
        graphs.output_said_to_be_half,
        "logits: not FLOAT",
        TAKES,
        REFUSES,
        "TensorRT goes by what the graph makes",
    ),
    Row(
        "input said to be float",
        graphs.input_said_to_be_float,
        "image: not UINT8",
        TAKES,
        REFUSES,
        "a sound file of another face, so our engines refuse to feed it",
    ),
    Row(
        "other input name",
        graphs.other_input_name,
        "inputs and outputs (('input',)",
        TAKES,
        REFUSES,
        "a sound file of another face",
    ),
    Row("output of nobody", graphs.output_of_nobody, "inputs and outputs", "null tensor", REFUSES),
    Row(
        "unsorted",
        graphs.unsorted,
        "before it is made",
        TAKES,
        TAKES,
        "both sort it, though ONNX asks for sorted files",
    ),
    Row("cycle", graphs.cycle, "reads loop before", "Failed to sort", REFUSES),
    Row("made twice", graphs.made_twice, "single static assignment", "Failed to sort", REFUSES),
    Row("unknown operator", graphs.unknown_operator, "No Op", "Plugin not found", REFUSES),
    Row(
        "operator of a domain of its own",
        graphs.own_domain,
        ONE_OPSET,
        TAKES,
        REFUSES,
        "TensorRT goes by the operator's name and takes another's for ONNX's",
    ),
    Row(
        "unknown attribute",
        graphs.unknown_attribute,
        "Unrecognized attribute",
        TAKES,
        REFUSES,
        "TensorRT does not look at it",
    ),
    Row(
        "opset 99",
        graphs.opset(99),
        ONE_OPSET,
        TAKES,
        REFUSES,
        "TensorRT takes operators of the future for those that it knows",
    ),
    Row("stored elsewhere", graphs.stored_elsewhere, "another file", "initializer", REFUSES),
    Row(
        "missing constant", graphs.missing_constant, "before it is made", "not registered", REFUSES
    ),
    Row(
        "endless bias",
        graphs.endless_bias,
        "not finite",
        TAKES,
        TAKES,
        "nobody else looks at values",
    ),
]
