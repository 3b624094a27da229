"""The sentences of a benchmark's report, and how its figures are written."""

from __future__ import annotations

import math

import msgspec

from orthoedge.benchmarks.machine import CROWDED, QUIET, Machine
from orthoedge.benchmarks.schema import Accuracy, Candidate, Interval, Quantiles, Report

NONE = "–"
SEEDS, ENSEMBLE = "seeds", "ensemble"
_TENTHS = 10  # samples from which a tenth of them is one
_SHOWN = {"cpu": "processor", "isa": "instruction sets", "memory_mb": "memory MB"}
_SHOWN |= {"packages": "versions"}


def figure(value: float) -> str:
    """Three digits that count, two below 0.1; never with an exponent."""
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 0.1:
        return f"{value:#.3g}"
    return f"{value:.{1 - math.floor(math.log10(abs(value)))}f}"


def interval(found: Interval | None) -> str:
    """A ratio, a time or a size with its interval."""
    if found is None:
        return NONE
    return f"{figure(found.value)} ({figure(found.low)} to {figure(found.high)})"


def share(found: Interval | None) -> str:
    """A share between 0 and 1 with its interval."""
    if found is None:
        return NONE
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def own(report: Report) -> tuple[str, str]:
    """Target and precision of the reference: what the report speaks of first."""
    for candidate in report.candidates:
        if candidate.name == report.reference:
            return candidate.target, candidate.precision
    return "", ""


def candidate_of(report: Report, name: str) -> Candidate | None:
    """The candidate of that name."""
    return next((one for one in report.candidates if one.name == name), None)


def is_pipeline(candidate: Candidate) -> bool:
    """Whether it goes from radiograph to finding; else it is a model alone."""
    return candidate.name in (f"{candidate.target} {candidate.precision}", SEEDS)


def accuracy_of(report: Report, candidate: Candidate) -> Accuracy | None:
    """What a pipeline, or its engine alone, is worth; None for what is compared with them."""
    own_names = [f"{candidate.target} {candidate.precision}{of}" for of in ("", " engine")]
    if candidate.name not in own_names:
        return None
    at = (candidate.target, candidate.precision)
    return next((one for one in report.accuracy if (one.target, one.precision) == at), None)


def ensemble_f1(report: Report) -> float | None:
    """Macro-F1 of the float32 ensemble, from a student's and its share; None: there is none."""
    for one in report.accuracy:
        if one.share_of_reference is not None:
            return one.macro_f1.value / one.share_of_reference.value
    return None


def headline(report: Report) -> str:
    """The verdict in one or two plain sentences."""
    target, precision = own(report)
    pipeline = candidate_of(report, f"{target} {precision}")
    if pipeline is None:
        return "Nothing was measured to the end."
    times = pipeline.latency
    return (
        f"One radiograph takes {figure(times.p50)} ms from memory to finding on {target} in "
        f"{precision} (median; nine in ten take at most {figure(times.p90)} ms)"
        f"{_beside_seeds(report, pipeline)}. {_worth(accuracy_of(report, pipeline))}"
    )


def faster_than_seeds(report: Report, candidate: Candidate) -> Interval | None:
    """How many times as long the seeds' way takes; None: it was not measured.

    A quotient of two ratios to the same reference, whose relative intervals are added as if they
    were independent. They share the reference's noise, which cancels, so this is rather too wide.
    """
    seeds = candidate_of(report, SEEDS)
    if seeds is None:
        return None
    over, under = seeds.ratio, candidate.ratio
    value = over.value / under.value
    up = math.hypot(math.log(over.high / over.value), math.log(under.value / under.low))
    down = math.hypot(math.log(over.value / over.low), math.log(under.high / under.value))
    return Interval(value=value, low=value * math.exp(-down), high=value * math.exp(up))


def cautions(report: Report) -> list[str]:
    """What a reader must know before a figure is quoted."""
    settings, found = report.settings, []
    if not report.complete:
        found.append("The run was interrupted: what had been measured until then is here.")
    if settings.mode == "quick":
        found.append("A quick run: few calls and wide intervals, not to be quoted.")
    if report.others_cores is not None and report.others_cores > CROWDED:
        found.append(
            f"Other programs kept {figure(report.others_cores)} cores busy: not to be quoted."
        )
    elif report.machine.load > QUIET:
        found.append(
            f"Others were at work before it began (load {figure(report.machine.load)}): not to be "
            "quoted."
        )
    if settings.isa_cap or settings.cpu_quota is not None:
        found.append(
            "The processor was kept to a class of processors. Its clock, caches and memory stayed "
            "its own, so this is the latency of no product."
        )
    if "phantom" in settings.labelled:
        found.append(
            "Accuracy is of rendered phantoms: it shows what is kept of what the ensemble knew, "
            "and says nothing about patients."
        )
    return found


def how(report: Report) -> list[str]:
    """How it was measured, a sentence each; the command is not among them."""
    asked = report.settings
    quota = "all cores" if asked.cpu_quota is None else f"{figure(asked.cpu_quota)} cores' time"
    return [
        f"{asked.processes} fresh processes opened every candidate; each called all of them in "
        f"turn, first {asked.warmup} times untimed. {asked.rounds} timed rounds in all; "
        "whose call takes more than 40 ms had a turn in every fourth.",
        f"{asked.threads} threads for every engine, {quota}, "
        f"{asked.isa_cap or 'every instruction set that the processor has'}; seed {asked.seed}.",
        f"Timed on: {asked.data}.",
        f"Accuracy on: {asked.labelled or 'nothing'}.",
        f"A ratio is the median over rounds of a turn's time over that of {report.reference} in "
        "the same round. Its 95 % interval is bootstrapped over the processes, then over rounds.",
        "Intervals of accuracy are bootstrapped over patients, or images where none are named.",
        f"Reading the clock twice takes {figure(asked.timer_ns)} ns; nothing is taken off for it.",
        _others(report.others_cores),
    ]


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """Name and value of every fact about the machine that is known."""
    facts = msgspec.structs.asdict(machine).items()
    return [(_SHOWN.get(name, name.replace("_", " ")), _said(value)) for name, value in facts]


def milliseconds(times: Quantiles | None) -> tuple[str, str, str, str]:
    """Median, p90, p99 and p99.9; what too few samples tell is left out."""
    if times is None:
        return NONE, NONE, NONE, NONE
    p99, p999 = (NONE if value is None else figure(value) for value in (times.p99, times.p999))
    p90 = figure(times.p90) if times.count >= _TENTHS else NONE
    return figure(times.p50), p90, p99, p999


def _others(cores: float | None) -> str:
    if cores is None:
        return "The system does not say what other programs did meanwhile."
    return f"Other programs kept {figure(cores)} cores busy meanwhile."


def _beside_seeds(report: Report, candidate: Candidate) -> str:
    times = faster_than_seeds(report, candidate)
    return "" if times is None else f", {interval(times)} times as fast as the seeds' way"


def _worth(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "Accuracy was not measured."
    words = f"Its macro-F1 is {share(accuracy.macro_f1)}"
    verdict = {
        "holds": "; it holds 99 % of the ensemble's.",
        "does not hold": "; it does not hold 99 % of the ensemble's.",
        "cannot tell": "; these images cannot tell whether it is 99 % of the ensemble's.",
        None: "; no trained ensemble was measured beside it.",
    }
    return words + verdict[accuracy.holds_99]


def _said(value: object) -> str:
    if value is None or value in ("", (), []):
        return "the system does not say"
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return figure(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
