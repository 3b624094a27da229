"""The scale of the pixels that every network sees."""

from __future__ import annotations

from torch import Tensor

_SCALE = 1 / 127.5
"""Pixels enter a network as x / 127.5 - 1 (mean and deviation 0.5), inside the exported graph."""


def normalise(images: Tensor) -> Tensor:
    """Scale uint8 (B, 1, S, S) to float32, -1 to 1."""
    return images.float() * _SCALE - 1
