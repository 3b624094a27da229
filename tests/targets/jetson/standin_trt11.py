"""TensorRT 11: networks are always typed, and the flags for it are gone."""

import standin_tensorrt
from standin_tensorrt import *  # noqa: F403

globals().update(standin_tensorrt.make("11.4.0", False, ["TF32", "REFIT"], "Datatype"))
