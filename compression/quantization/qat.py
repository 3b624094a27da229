"""Quantization-aware training (QAT): convolutions round as in INT8 while a student trains.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (CVPR 2018). Afterwards the student is an ordinary float network again, whose weights
tolerate the rounding; it is exported and quantized like any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.pixels import normalise

_RANGE = "input_range"
_PROBE_SIZE = 192  # pixels; a multiple of 64, so that the last map has more than one cell


@contextmanager
def fake_quantized(student: Ensemble) -> Iterator[Ensemble]:
    """Simulate INT8 in the convolutions of a student, with straight-through gradients.

    Weights are symmetric per output channel, with 7 bits, or 8 for depthwise ones, as in
    `quantize`. Batch normalization may stay a separate layer: folding it multiplies a channel's
    weights and their step by the same number. Inputs are symmetric per tensor in 8 bits; their
    range is the largest value seen in training mode, as in `quantize`. Head, map, sums and layers
    behind a pooling (squeeze-and-excite) are unchanged.

    Inside the context, `student.state_dict()` has different names and includes the ranges, so a
    state saved there resumes exactly; `student.parameters()` are the float weights. The student is
    changed in place, and restored on exit, also after an exception.
    """
    convolutions = _convolutions(student)
    hooks = []
    for module in convolutions:
        rounding = _RoundedWeight(depthwise=1 < module.groups == module.in_channels)
        parametrize.register_parametrization(module, "weight", rounding)
        module.register_buffer(_RANGE, module.weight.new_zeros(()))
        hooks.append(module.register_forward_pre_hook(_round_input))
    try:
        yield student
    finally:
        for module, hook in zip(convolutions, hooks, strict=True):
            hook.remove()
            delattr(module, _RANGE)
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=False)


class _RoundedWeight(nn.Module):
    def __init__(self, depthwise: bool) -> None:
        super().__init__()
        self.codes = 127 if depthwise else 63.5  # NNCF gets 7 bits by doubling the 8-bit step

    def forward(self, weight: Tensor) -> Tensor:
        step = (weight.detach().abs().amax((1, 2, 3)) / self.codes).clamp_min(1e-12)
        zero = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        largest = math.ceil(self.codes)
        return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -largest, largest)


def _round_input(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    (x,) = inputs
    largest: Tensor = getattr(module, _RANGE)
    if module.training:
        largest.copy_(torch.maximum(largest, x.detach().abs().amax()))
    if not largest > 0:  # no batch in training mode yet
        return x
    zero = torch.zeros((), dtype=torch.int32, device=x.device)
    rounded = torch.fake_quantize_per_tensor_affine(x.float(), largest / 127, zero, -128, 127)
    return rounded.to(x.dtype)


@torch.no_grad()
def _convolutions(student: Ensemble) -> list[nn.Conv2d]:
    """Convolutions over a map; NNCF leaves those behind a pooling, with one cell, in float."""
    over_maps: dict[nn.Conv2d, None] = {}

    def record(module: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(module, nn.Conv2d)
        if inputs[0].shape[2:].numel() > 1:
            over_maps[module] = None

    convolutions = [module for module in student.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_pre_hook(record) for module in convolutions]
    before = student.training
    device = next(student.parameters()).device
    blank = torch.zeros(1, 1, _PROBE_SIZE, _PROBE_SIZE, dtype=torch.uint8, device=device)
    student.eval().features(normalise(blank))
    student.train(before)
    for hook in hooks:
        hook.remove()
    return list(over_maps)
