"""What TensorRT tells of a network's face. Part of `standin_tensorrt`."""

import enum

import onnx


class DataType(enum.Enum):
    FLOAT = onnx.TensorProto.FLOAT
    HALF = onnx.TensorProto.FLOAT16
    INT8 = onnx.TensorProto.INT8
    INT32 = onnx.TensorProto.INT32
    INT64 = onnx.TensorProto.INT64
    BOOL = onnx.TensorProto.BOOL
    UINT8 = onnx.TensorProto.UINT8


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class ILogger:
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def log(self, severity, msg):
        raise NotImplementedError


class Tensor:
    """One input or output of an ONNX graph, as TensorRT tells of it."""

    def __init__(self, value, mode):
        tensor = value.type.tensor_type
        self.name, self.mode = value.name, mode
        self.dtype = DataType(tensor.elem_type)
        self.shape = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)


def tensors(model):
    """All of them in order, inputs first."""
    inputs = [Tensor(value, TensorIOMode.INPUT) for value in model.graph.input]
    return inputs + [Tensor(value, TensorIOMode.OUTPUT) for value in model.graph.output]
