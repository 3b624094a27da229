"""Checks of an untrusted ONNX file before an engine opens it: external data and absurd shapes.

An engine that follows a tensor's reference to another file would run weights that no hash of the
bundle covers. Field numbers are those of onnx.proto, the wire format is protobuf's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from orthoedge.runtime.errors import BundleError

_LARGEST_SIDE = 2**16  # of an input or output; a classifier needs far less
_MOST_SIDES = 64
_PER_BYTE = 8  # elements; the smallest types are packed

# Nested messages by field number: every path to a tensor or a shape.
_INNER = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 11: "value", 12: "value", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "value": {2: "type"},
    "type": {1: "typed"},
    "typed": {2: "shape"},
    "shape": {1: "dimension"},
}
_DIMENSIONS, _EXTERNAL_DATA, _DATA_LOCATION = 1, 13, 14  # of a tensor


def check_onnx(model: bytes) -> None:
    """Refuse a model with tensors in other files or with impossible shapes.

    Raises:
        BundleError: such a model, or not an ONNX file.
    """
    waiting = [("model", memoryview(model))]
    try:
        while waiting:
            kind, message = waiting.pop()
            if kind == "tensor":
                _check_tensor(message)
                continue
            inner = _INNER.get(kind, {})
            for number, value in _fields(message):
                if isinstance(value, memoryview):
                    if number in inner:
                        waiting.append((inner[number], value))
                elif kind == "dimension" and number == 1 and not 0 <= value <= _LARGEST_SIDE:
                    raise BundleError(f"an input or output of {value} elements along one side")
    except IndexError as error:
        raise BundleError("not an ONNX file, or a damaged one") from error


def _check_tensor(message: memoryview) -> None:
    sides: list[int] = []
    for number, value in _fields(message):
        if number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value):
            raise BundleError("a tensor in another file; a bundle holds all of its weights itself")
        if number == _DIMENSIONS:
            sides += [value] if isinstance(value, int) else _varints(value)
    if (
        len(sides) > _MOST_SIDES
        or any(side < 0 for side in sides)
        or math.prod(sides) > _PER_BYTE * len(message)
    ):
        raise BundleError(f"a tensor of stated shape {sides}, which does not fit its data")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Iterate over (number, value) of each field: an integer for a varint, else the bytes."""
    at, size = 0, len(message)
    while at < size:
        key = message[at]
        at += 1
        if key >= 0x80:
            key, at = _varint(message, at - 1)
        if key & 7 == 0:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if key & 7 == 2:
            length = message[at]
            at += 1
            if length >= 0x80:
                length, at = _varint(message, at - 1)
        else:
            length = {1: 8, 5: 4}.get(key & 7, -1)
        if not 0 <= length <= size - at:
            raise IndexError
        yield key >> 3, message[at : at + length]
        at += length


def _varints(message: memoryview) -> list[int]:
    values, at = [], 0
    while at < len(message):
        value, at = _varint(message, at)
        values.append(value)
    return values


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    """Decode a signed 64-bit integer, and return it with the offset of its end."""
    value = message[at]
    at += 1
    if value < 0x80:
        return value, at
    value &= 0x7F
    for shift in range(7, 70, 7):
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            value &= 2**64 - 1
            return value - 2**64 if value >= 2**63 else value, at
    raise IndexError
