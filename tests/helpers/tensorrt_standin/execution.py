# ruff: noqa: A002 - the names are NVIDIA's
"""What TensorRT does with a plan: tell of it, and run it. Part of `standin_tensorrt`."""

import json

import numpy as np
import onnx

from orthoedge.targets.portable.engine import load_onnxruntime
from tests.helpers.tensorrt_standin import gpu
from tests.helpers.tensorrt_standin.model import DataType, ILogger, tensors


class EngineInspector:
    def __init__(self, engine, datatype):
        self._engine, self._datatype = engine, datatype

    def get_layer_information(self, layer_index, format):
        node = self._engine.model.graph.node[layer_index]
        if self._engine.verbosity != "DETAILED":
            return json.dumps(node.name)
        types = {t.name: DataType(t.data_type).name for t in self._engine.model.graph.initializer}
        face = [
            {"Name": name, self._datatype: types.get(name, "FLOAT").capitalize()}
            for name in node.input
        ]
        return json.dumps({"Name": node.name, "LayerType": node.op_type, "Inputs": face})


class ICudaEngine:
    """A plan that was deserialized."""

    def __init__(self, plan, logger, datatype):
        head, _, body = plan.partition(b"\n")
        settings = json.loads(head)
        self.shapes, self.verbosity = settings["shapes"], settings["verbosity"]
        self.logger, self._datatype, self.bytes = logger, datatype, body
        self.model = onnx.load_from_string(body)
        self._tensors = {tensor.name: tensor for tensor in tensors(self.model)}
        self.num_io_tensors = len(self._tensors)
        self.num_layers = len(self.model.graph.node)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return self._tensors[name].mode

    def get_tensor_dtype(self, name):
        return self._tensors[name].dtype

    def get_tensor_shape(self, name):
        return self._tensors[name].shape

    def create_engine_inspector(self):
        return EngineInspector(self, self._datatype)

    def create_execution_context(self):
        if gpu.FAULTS.context:
            return IExecutionContext(self)
        self.logger.log(ILogger.ERROR, "[executionContext.cpp] out of device memory")
        return None


class IExecutionContext:
    def __init__(self, engine):
        self.engine, self._shape, self._addresses = engine, {}, {}
        self._first, self._calls = True, 0
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        self._session = ort.InferenceSession(
            engine.bytes, options, disabled_optimizers=["WeightBiasQuantization"]
        )

    def _error(self, text):
        self.engine.logger.log(ILogger.INFO, "[executionContext.cpp] something of no interest")
        self.engine.logger.log(ILogger.ERROR, f"[executionContext.cpp] {text}")
        self.engine.logger.log(ILogger.ERROR, "[api.cpp] what came of it")
        return False

    def set_input_shape(self, name, shape):
        if self.engine.shapes.get(name) != list(shape):
            return self._error(f"{name}: {tuple(shape)} is not in the optimization profile")
        self._shape[name] = tuple(shape)
        return True

    def get_tensor_shape(self, name):
        shape = self._shape.get(name, self.engine.get_tensor_shape(name))
        batch = next(iter(self._shape.values()), (-1,))[0]
        return tuple(batch if side == -1 and at == 0 else side for at, side in enumerate(shape))

    def set_tensor_address(self, name, memory):
        if not gpu.FAULTS.address or name not in self.engine._tensors or memory % 256:
            return self._error(f"{name} at {memory:#x} is planted, unknown or not aligned")
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        self._calls += 1
        if self._calls > gpu.FAULTS.enqueues:
            return self._error("enqueueV3 was planted to fail")
        if missing := sorted(set(self.engine._tensors) - set(self._addresses)):
            return self._error(f"no address is set for {missing}")
        places = {
            name: (address, self.get_tensor_shape(name), _numpy(self.engine.get_tensor_dtype(name)))
            for name, address in self._addresses.items()
        }
        try:
            gpu.enqueue(stream_handle, lambda: self._work(places), self._first)
        except gpu.Failed as failed:
            return self._error(f"CUDA error {failed.args[0].name}")
        self._first = False
        return True

    def _work(self, places):
        gpu.count_run()
        inputs = {value.name: gpu.at(*places[value.name]) for value in self._session.get_inputs()}
        outputs = [value.name for value in self._session.get_outputs()]
        for name, answer in zip(outputs, self._session.run(outputs, inputs), strict=True):
            gpu.at(*places[name])[...] = answer


def _numpy(dtype):
    return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(dtype.value))
