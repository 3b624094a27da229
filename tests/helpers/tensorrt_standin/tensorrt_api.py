# ruff: noqa: A002 - the names are NVIDIA's
"""TensorRT without a GPU, in both generations of its Python API: plans replay ONNX Runtime.

`standin_trt10` is what 10.3 (JetPack 6.2) documents, `standin_trt11` what 11 left of it. A plan
is the ONNX file itself; `execute_async_v3` puts ONNX Runtime's inference on the stand-in's stream
(`standin_gpu`), where it reads and writes the memory at the addresses that were set.
"""

import enum
import json

import onnx

from tests.helpers.tensorrt_standin import gpu
from tests.helpers.tensorrt_standin.execution import ICudaEngine
from tests.helpers.tensorrt_standin.model import DataType, ILogger, TensorIOMode, tensors


class ProfilingVerbosity(enum.Enum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class LayerInformationFormat(enum.Enum):
    ONELINE = 0
    JSON = 1


class INetworkDefinition:
    def __init__(self, strongly_typed):
        self.strongly_typed = strongly_typed
        self.model = None

    def _of(self, mode):
        return [tensor for tensor in tensors(self.model) if tensor.mode == mode]

    @property
    def num_inputs(self):
        return len(self._of(TensorIOMode.INPUT))

    @property
    def num_outputs(self):
        return len(self._of(TensorIOMode.OUTPUT))

    def get_input(self, index):
        return self._of(TensorIOMode.INPUT)[index]

    def get_output(self, index):
        return self._of(TensorIOMode.OUTPUT)[index]


class ParserError:
    def __init__(self, text):
        self._text = text

    def desc(self):
        return self._text


class OnnxParser:
    def __init__(self, network, logger):
        self._network, self._errors = network, []

    def parse(self, model):
        try:
            found = onnx.load_from_string(model)
            onnx.checker.check_model(found, full_check=True)
        except Exception as error:
            self._errors.append(ParserError(f"In node -1 with name: ,\n {error}"))
            return False
        self._network.model = found
        return True

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class IOptimizationProfile:
    def __init__(self):
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        assert min == opt == max, "this stand-in takes one shape"
        self.shapes[input] = tuple(opt)


class ITimingCache:
    MARK = b"standin timings\n"

    def __init__(self, data):
        assert not data or data.startswith(self.MARK), "a damaged timing cache reached TensorRT"
        self.data = data or self.MARK

    def serialize(self):
        return memoryview(self.data)


class IBuilderConfig:
    def __init__(self):
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.profiles, self.timings, self._cleared = [], None, set()

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def clear_flag(self, flag):
        self._cleared.add(flag)

    def set_flag(self, flag):
        self._cleared.discard(flag)

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        self.timings = cache
        return True

    def get_timing_cache(self):
        return self.timings


def make(version, strong_flag, builder_flags, datatype):
    """The names of one generation that are not the same in both."""
    creation = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1} if strong_flag else {}

    class Builder:
        def __init__(self, logger):
            self._logger = logger

        def create_network(self, flags=0):
            return INetworkDefinition(not strong_flag or bool(flags & 1 << 1))

        def create_builder_config(self):
            return IBuilderConfig()

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            if not network.strongly_typed:
                self._logger.log(ILogger.ERROR, "this stand-in wants types from the ONNX file")
                return None
            settings = {
                "version": version,
                "shapes": config.profiles[0].shapes,
                "verbosity": config.profiling_verbosity.name,
            }
            model = network.model.SerializeToString()
            if config.timings is not None:
                config.timings.data += b"one more kernel\n"
            return memoryview(json.dumps(settings).encode() + b"\n" + model)

    class Runtime:
        def __init__(self, logger):
            if gpu.FAULTS.devices == 0:
                raise TypeError("pybind11::init(): factory function returned nullptr")
            self._logger = logger

        def deserialize_cuda_engine(self, serialized_engine):
            gpu.BOOKS.deserialized += 1
            start = json.dumps({"version": version})[:-1].encode()
            if gpu.FAULTS.deserialize and bytes(serialized_engine).startswith(start):
                return ICudaEngine(bytes(serialized_engine), self._logger, datatype)
            self._logger.log(ILogger.ERROR, "[runtime.cpp] the engine is of another version")
            return None

    return {
        "__version__": version,
        "NetworkDefinitionCreationFlag": enum.IntEnum("NetworkDefinitionCreationFlag", creation),
        "BuilderFlag": enum.IntEnum("BuilderFlag", builder_flags),
        "DataType": DataType,
        "ILogger": ILogger,
        "TensorIOMode": TensorIOMode,
        "Builder": Builder,
        "Runtime": Runtime,
    }
