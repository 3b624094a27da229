"""Sentences and numbers of a benchmark's report as text."""

from __future__ import annotations

import math

import msgspec

from orthoedge.benchmarks.machine import BUSY_CORES, IDLE_LOAD, Machine
from orthoedge.benchmarks.schema import BASELINE, Accuracy, Candidate, Interval, Quantiles, Report
from orthoedge.runtime.settings import plain

NONE = "–"
ENSEMBLE = "ensemble"
_TINY = 1e-9
_TENTHS = 10  # samples of which the slowest is a tenth
_SHOWN = {"cpu": "processor", "isa": "instruction sets", "memory_mb": "memory MB"}
_SHOWN |= {"packages": "versions"}


def figure(value: float) -> str:
    """Three significant digits, two below 0.1; never with an exponent."""
    if not math.isfinite(value) or 0 < abs(value) < _TINY:
        return plain(value, 2)
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 0.1:
        return f"{value:#.3g}"
    return f"{value:.{1 - math.floor(math.log10(abs(value)))}f}"


def interval(value: Interval | None) -> str:
    """A ratio, a time or a size with its interval."""
    if value is None:
        return NONE
    return f"{figure(value.value)} ({figure(value.low)} to {figure(value.high)})"


def share(value: Interval | None) -> str:
    """A share between 0 and 1 with its interval."""
    if value is None:
        return NONE
    return f"{value.value:.3f} ({value.low:.3f} to {value.high:.3f})"


def own(report: Report) -> tuple[str, str]:
    """Target and precision of the reference, which the headline is about."""
    for candidate in report.candidates:
        if candidate.name == report.reference:
            return candidate.target, candidate.precision
    return "", ""


def candidate_of(report: Report, name: str) -> Candidate | None:
    """The candidate of that name."""
    return next((row for row in report.candidates if row.name == name), None)


def accuracy_of(report: Report, candidate: Candidate) -> Accuracy | None:
    """Accuracy of a pipeline or its engine; None for what they are compared with."""
    key = f"{candidate.target} {candidate.precision}"
    rows = report.accuracy if candidate.name in (key, f"{key} engine") else ()
    return next((row for row in rows if row.key == key), None)


def ensemble_f1(report: Report) -> float | None:
    """Macro-F1 of the float32 ensemble, from a student's and its share; None: there is none."""
    for row in report.accuracy:
        if row.share_of_reference is not None:
            return row.macro_f1.value / row.share_of_reference.value
    return None


def headline(report: Report) -> str:
    """The verdict in one or two sentences."""
    target, precision = own(report)
    pipeline = candidate_of(report, f"{target} {precision}")
    if pipeline is None:
        return "Nothing was measured to the end."
    times, speedup = pipeline.latency, speedup_over_baseline(report, pipeline)
    faster = f", {interval(speedup)} times as fast as the PyTorch baseline" if speedup else ""
    return (
        f"One radiograph takes {figure(times.p50)} ms from memory to finding on {target} in "
        f"{precision} (median; nine in ten take at most {figure(times.p90)} ms){faster}. "
        + _accuracy_sentence(accuracy_of(report, pipeline))
    )


def speedup_over_baseline(report: Report, candidate: Candidate) -> Interval | None:
    """Time of the PyTorch baseline over that of a pipeline; None: the baseline was not measured.

    Without a comparison in the report, this is the quotient of two ratios to the same reference,
    whose relative intervals are added as if they were independent. They share the reference's
    noise, which cancels, so the interval is too wide rather than too narrow.
    """
    for comparison in report.comparisons:
        if (comparison.numerator, comparison.denominator) == (BASELINE, candidate.name):
            return comparison.figure
    baseline = candidate_of(report, BASELINE)
    if baseline is None:
        return None
    over, under = baseline.ratio, candidate.ratio
    value = over.value / under.value
    up = math.hypot(math.log(over.high / over.value), math.log(under.value / under.low))
    down = math.hypot(math.log(over.value / over.low), math.log(under.high / under.value))
    return Interval(value=value, low=value * math.exp(-down), high=value * math.exp(up))


def cautions(report: Report) -> list[str]:
    """Reasons not to quote a figure without a remark."""
    settings, lines = report.settings, []
    if not report.complete:
        lines.append("The run was interrupted: the report holds the results up to then.")
    if settings.mode == "quick":
        lines.append("A quick run: few calls and wide intervals. Do not quote it.")
    if report.background_load is not None and report.background_load > BUSY_CORES:
        busy = f"Other programs kept {figure(report.background_load)} cores busy."
        lines.append(f"{busy} Do not quote these figures.")
    elif report.machine.load > IDLE_LOAD:
        load = figure(report.machine.load)
        busy = f"Other programs were running before the start (load {load})."
        lines.append(f"{busy} Do not quote these figures.")
    if settings.isa_limit:
        lines.append(
            "The processor was limited to an instruction-set class. Its clock, caches and memory "
            "stay its own, so this is the latency of no product."
        )
    if "phantom" in settings.labelled:
        lines.append(
            "Accuracy is measured on rendered phantoms: it shows how much of the ensemble's "
            "accuracy the student keeps, and nothing about patients."
        )
    return lines


def how(report: Report) -> list[str]:
    """How the report was measured, a sentence each, without the command."""
    settings = report.settings
    return [
        f"{settings.processes} fresh processes loaded every candidate and timed all of them "
        f"interleaved, after {settings.warmup} untimed calls of each. {settings.rounds} rounds in "
        "all; calls of more than 40 ms were timed in every fourth.",
        f"{settings.threads} threads for every engine, "
        f"{settings.isa_limit or 'all instruction sets of the processor'}; seed {settings.seed}.",
        f"Timed on: {settings.data}.",
        f"Accuracy on: {settings.labelled or 'nothing'}.",
        f"A ratio is the median over rounds of a candidate's time over that of {report.reference} "
        "in the same round. Its 95 % interval is bootstrapped over processes, then over rounds.",
        "Intervals of accuracy are bootstrapped over patients, or over images without patients.",
        f"Reading the clock twice takes {figure(settings.timer_ns)} ns, which is not subtracted.",
        "The load of other programs is not known: psutil is not installed."
        if report.background_load is None
        else f"Other programs kept {figure(report.background_load)} cores busy during the run.",
    ]


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """Name and value of every property of the machine."""
    facts = msgspec.structs.asdict(machine).items()
    return [(_SHOWN.get(name, name.replace("_", " ")), _written(value)) for name, value in facts]


def milliseconds(times: Quantiles | None) -> tuple[str, str, str, str]:
    """Median, p90, p99 and p99.9, without those that have too few samples."""
    if times is None:
        return NONE, NONE, NONE, NONE
    p99, p999 = (NONE if value is None else figure(value) for value in (times.p99, times.p999))
    p90 = figure(times.p90) if times.count >= _TENTHS else NONE
    return figure(times.p50), p90, p99, p999


def _accuracy_sentence(accuracy: Accuracy | None) -> str:
    if accuracy is None:
        return "Accuracy was not measured."
    sentence = f"Its macro-F1 is {share(accuracy.macro_f1)}"
    verdict = {
        "holds": "; it holds 99 % of the ensemble's.",
        "does not hold": "; it does not hold 99 % of the ensemble's.",
        "cannot tell": "; these images cannot tell whether it is 99 % of the ensemble's.",
        None: "; no trained ensemble was measured for comparison.",
    }
    return sentence + verdict[accuracy.holds_99]


def _written(value: object) -> str:
    if value is None or value in ("", (), []):
        return "not known on this system"
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    if isinstance(value, float):
        return figure(value)
    return f"{value:,}" if isinstance(value, int) else str(value)
