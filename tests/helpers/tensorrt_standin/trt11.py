"""TensorRT 11: networks are always typed, and the flags for it are gone."""

from tests.helpers.tensorrt_standin import tensorrt_api as standin_tensorrt
from tests.helpers.tensorrt_standin.tensorrt_api import *  # noqa: F403

globals().update(standin_tensorrt.make("11.4.0", False, ["TF32", "REFIT"], "Datatype"))
