"""TensorRT 10.3, JetPack 6.2's: flags for types exist, and a tensor's type is told in words."""

from tests.helpers.tensorrt_standin import tensorrt_api as standin_tensorrt
from tests.helpers.tensorrt_standin.tensorrt_api import *  # noqa: F403

globals().update(
    standin_tensorrt.make("10.3.0", True, ["FP16", "INT8", "TF32", "REFIT"], "Format/Datatype")
)
