"""From what the processes left to the candidates of the report."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Sequence

import numpy as np

from orthoedge.benchmarks.baselines.benchmark_app import FloorRun
from orthoedge.benchmarks.schema import Candidate, Missing
from orthoedge.benchmarks.timing.candidates import About
from orthoedge.benchmarks.timing.latency import Samples, quantiles, ratio_over_processes
from orthoedge.benchmarks.timing.worker import Timed
from orthoedge.runtime.engine import Precision

FLOOR = "floor"


def reference_of(found: Sequence[Timed], preferred: str) -> str:
    """The candidate that all ratios are to: `preferred`, or the first that could be timed."""
    names = [about.name for about in _abouts(found)]
    return preferred if preferred in names else next(iter(names), "")


def candidate_rows(found: Sequence[Timed], reference: str) -> tuple[Candidate, ...]:
    """A row for each candidate, with its ratio to `reference` over the processes that have both."""
    return tuple(_row(about, found, reference) for about in _abouts(found))


def missing_rows(found: Sequence[Timed]) -> tuple[Missing, ...]:
    """What could not be opened, once and not once for each process."""
    return tuple({one.what: one for timed in found for one in timed.told.missing}.values())


def floor_row(runs: Sequence[FloorRun], precision: Precision, threads: int) -> Candidate:
    """OpenVINO's benchmark application; its ratio is to the bare engine in processes of its own."""
    application = [np.array([[run.application_ms]]) for run in runs]
    bare = [np.array([[run.bare_ms]]) for run in runs]
    return Candidate(
        name=FLOOR,
        what=f"OpenVINO's benchmark_app, alone: medians of {len(runs)} runs; the ratio is to the "
        "bare engine, alone too, in a fresh process right after each",
        target="x86",
        engine="benchmark_app",
        version=importlib.metadata.version("openvino"),
        precision=precision,
        isa="not reported",
        threads=threads,
        latency=quantiles(np.concatenate(application).ravel()),
        ratio=ratio_over_processes(application, bare),
        energy_mj=None,
    )


def _abouts(found: Sequence[Timed]) -> list[About]:
    """Each candidate once, students before what they are compared with."""
    abouts = {about.name: about for timed in found for about in timed.told.opened}
    return list(abouts.values())


def _row(about: About, found: Sequence[Timed], reference: str) -> Candidate:
    both = [timed.samples for timed in found if {about.name, reference} <= set(timed.samples)]
    had = [~np.isnan(samples[about.name][:, 0]) for samples in both]  # rounds with a turn
    own: list[Samples] = [
        samples[about.name][rounds] for samples, rounds in zip(both, had, strict=True)
    ]
    beside = [samples[reference][rounds] for samples, rounds in zip(both, had, strict=True)]
    energies = [timed.told.energy_mj.get(about.name) for timed in found]
    return Candidate(
        name=about.name,
        what=about.what,
        target=about.target,
        engine=about.engine,
        version=about.version,
        precision=about.precision,
        isa=about.isa,
        threads=about.threads,
        latency=quantiles(np.concatenate([samples.ravel() for samples in own])),
        ratio=ratio_over_processes(own, beside),
        energy_mj=next((energy for energy in energies if energy is not None), None),
    )
