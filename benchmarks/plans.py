"""How long each part of a run takes, by mode."""

from __future__ import annotations

from typing import Literal, NamedTuple

Mode = Literal["quick", "standard", "full"]


class Plan(NamedTuple):
    """Counts and seconds; of turns, what is said is the least."""

    processes: int
    """Fresh ones that time all candidates."""
    seconds: float
    """Of turns in each."""
    rounds: int
    """In each, at least."""
    warmup: int
    """Untimed calls of each candidate in each."""
    floor_runs: int
    floor_s: int
    stages_s: float
    """Of each target and precision."""
    starts: int
    """Processes from their start to a finding, of each target and precision."""
    energy_s: float
    """Of each candidate, in the first process."""
    every_precision: bool
    """Whether stages and footprint are measured of all precisions, or of INT8 alone."""


PLANS: dict[Mode, Plan] = {
    "quick": Plan(
        processes=3,
        seconds=5,
        rounds=5,
        warmup=3,
        floor_runs=3,
        floor_s=1,
        stages_s=2,
        starts=3,
        energy_s=1,
        every_precision=False,
    ),
    "standard": Plan(
        processes=24,
        seconds=10,
        rounds=10,
        warmup=5,
        floor_runs=6,
        floor_s=3,
        stages_s=8,
        starts=10,
        energy_s=5,
        every_precision=True,
    ),
    "full": Plan(
        processes=40,
        seconds=30,
        rounds=20,
        warmup=10,
        floor_runs=12,
        floor_s=10,
        stages_s=30,
        starts=20,
        energy_s=20,
        every_precision=True,
    ),
}
