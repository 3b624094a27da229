"""Quantization-aware fine-tuning: a student trains while its convolutions round as INT8 will.

Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (CVPR 2018). Afterwards the student is an ordinary float network again, whose weights
have learned to bear the rounding; it is exported and quantized as any other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from orthoedge.training.model.ensemble import Ensemble, normalise

_RANGE = "input_range"
_PROBE = 192  # pixels: a multiple of 64, so that a last map has more than one cell


@contextmanager
def fake_quantized(student: Ensemble) -> Iterator[Ensemble]:
    """Let the convolutions of a student compute as in INT8, with gradients straight through.

    Weights are symmetric per output channel: 7 bits, but 8 for depthwise ones, as `quantize` has
    them. Batch normalization may stay a layer of its own: folding it multiplies a channel's weights
    and their step by the same number. Inputs are symmetric per tensor in 8 bits; their range is
    the largest value that training mode has shown, as `quantize` takes it. Head, map, sums and what
    lies behind a pooling (squeeze-and-excite) stay as they are.

    Inside, `student.state_dict()` has other names and holds the ranges too, so a state kept there
    resumes there exactly; `student.parameters()` are the float weights.

    Args:
        student: changed in place; on leaving, also by an exception, it has its own names again.
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
        self.codes = 127 if depthwise else 63.5  # NNCF gets 7 bits by doubling the step of 8

    def forward(self, weight: Tensor) -> Tensor:
        step = (weight.detach().abs().amax((1, 2, 3)) / self.codes).clamp_min(1e-12)
        zero = torch.zeros(len(weight), dtype=torch.int32, device=weight.device)
        largest = math.ceil(self.codes)
        return torch.fake_quantize_per_channel_affine(weight, step, zero, 0, -largest, largest)


def _round_input(module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
    (x,) = inputs
    moving: Tensor = getattr(module, _RANGE)
    if module.training:
        moving.copy_(torch.maximum(moving, x.detach().abs().amax()))
    if not moving > 0:  # no batch in training mode yet
        return x
    zero = torch.zeros((), dtype=torch.int32, device=x.device)
    rounded = torch.fake_quantize_per_tensor_affine(x.float(), moving / 127, zero, -128, 127)
    return rounded.to(x.dtype)


@torch.no_grad()
def _convolutions(student: Ensemble) -> list[nn.Conv2d]:
    """Those that see a map: NNCF leaves the ones behind a pooling, which see one cell, in float."""
    seen: dict[nn.Conv2d, None] = {}

    def note(module: nn.Module, inputs: tuple[Tensor]) -> None:
        assert isinstance(module, nn.Conv2d)
        if inputs[0].shape[2:].numel() > 1:
            seen[module] = None

    found = [module for module in student.modules() if isinstance(module, nn.Conv2d)]
    hooks = [module.register_forward_pre_hook(note) for module in found]
    before = student.training
    device = next(student.parameters()).device
    blank = torch.zeros(1, 1, _PROBE, _PROBE, dtype=torch.uint8, device=device)
    student.eval().features(normalise(blank))
    student.train(before)
    for hook in hooks:
        hook.remove()
    return list(seen)
