"""The Pareto front of cost against quality."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def pareto_front(items: Iterable[Item], key: Callable[[Item], tuple[float, float]]) -> list[Item]:
    """Items that no other one beats in one number without losing in the other, the cheapest first.

    Args:
        items: in the order in which the first of several equal ones represents all.
        key: cost, of which less is better, and quality, of which more is better.
    """
    front: list[Item] = []
    best = float("-inf")
    for item in sorted(items, key=lambda item: (key(item)[0], -key(item)[1])):
        quality = key(item)[1]
        if quality > best:
            front.append(item)
            best = quality
    return front
