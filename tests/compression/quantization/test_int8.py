"""One INT8 file: most layers in integers, head and map in float32, outputs near the float ones."""

import numpy as np
import onnx
import pytest

from orthoedge.compression.quantization.float_fallback import layers
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.compression.quantization.onnx_rules import lint
from orthoedge.runtime.errors import ModelError
from orthoedge.targets import open_model
from tests.helpers.conv_model import (
    LAYERS,
    constant,
    conv_model,
    error,
    logits_of,
    pictures,
    weight_codes,
)


@pytest.fixture(scope="module")
def images():
    return pictures(24)


@pytest.fixture(scope="module")
def fp32():
    return conv_model()


@pytest.fixture(scope="module")
def int8(fp32, images):
    return quantize(fp32, images)


def test_every_convolution_but_the_maps_is_in_integers(int8):
    assert layers(int8) == LAYERS
    assert lint(onnx.load_from_string(int8), "int8") == []


def test_weights_use_seven_bits_and_depthwise_ones_eight(int8):
    """Beyond 7 bits processors without VNNI saturate when they add two products in 16 bits.

    Depthwise convolutions multiply channel by channel and never add such pairs.
    """
    largest = {layer: np.abs(weight_codes(int8, layer)[0]).max() for layer in LAYERS}
    assert largest == {"stem": 64, "wide": 64, "depthwise": 127, "pointwise": 64}


def test_answers_stay_near_on_images_that_set_no_range(int8, fp32):
    # 0.03 on the calibration images; a wrong scale moves the logits by whole deviations.
    assert error(int8, fp32, pictures(24, seed=9)) < 0.1


def test_the_features_give_the_logits_as_in_float(int8, images):
    """The head is not quantized: W and b of the float model explain the INT8 logits exactly."""
    features = open_model(int8, images.shape[-1], "portable", "int8").run(images).feature_vector
    expected = features @ constant(int8, "head") + constant(int8, "bias")
    np.testing.assert_allclose(logits_of(int8, images), expected, atol=1e-5)


def test_a_file_with_another_face_is_refused_before_the_work(fp32, images):
    model = onnx.load_from_string(fp32)
    del model.graph.output[2]
    with pytest.raises(ModelError, match="fp32 model: inputs and outputs"):
        quantize(model.SerializeToString(), images)
