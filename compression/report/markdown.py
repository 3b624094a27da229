"""The words of a compression's report: report.md, from the records alone."""

from __future__ import annotations

from collections.abc import Sequence

from orthoedge.benchmarks.machine import BUSY_CORES
from orthoedge.compression.report.schema import (
    Candidate,
    CompressionReport,
    PruneStep,
    Stage,
)
from orthoedge.compression.selection import pareto
from orthoedge.runtime.bundles.manifest import Metrics

FRONT, TRACE = "front.png", "trace.png"
_NONE = "–"


def markdown(report: CompressionReport) -> str:
    """report.md, from the report alone."""
    sections = (
        (report.gate, _gate),
        (report.stages, _stages),
        (report.retreat, _retreat),
        (report.candidates, _front),
        (report.trace, _trace),
        (report.agreement, _engines),
    )
    blocks = [f"# Compression of {report.recipe}", headline(report), _origin(report)]
    for reached, section in sections:
        blocks += section(report) if reached else []
    return "\n\n".join(blocks) + "\n"


def headline(report: CompressionReport) -> str:
    """What came of it, and what the network that was compressed is beside its teacher."""
    return " ".join([_verdict(report), *_comparison(report)])


def _verdict(report: CompressionReport) -> str:
    checks, failed = len(report.gate), sum(not check.passed for check in report.gate)
    if failed:
        words = f"The gate failed: {failed} of {checks} checks"
    else:
        words = f"The gate passed: {checks} checks" if checks else "The gate was not reached"
    written = "no bundle was written" if report.bundle is None else f"the bundle is {report.bundle}"
    return f"**{words}; {written}.**"


def _comparison(report: CompressionReport) -> list[str]:
    if len(report.stages) < 2:
        return []
    teacher, last = report.stages[0], report.stages[-1]
    gain = "" if last.speedup is None else f", {last.speedup:.1f} times faster"
    return [
        f"{_chosen(report)} in {last.precision}, beside the teacher ({' + '.join(report.teacher)}) "
        f"in {teacher.precision}: macro-F1 {last.metrics.macro_f1:.3f} against "
        f"{teacher.metrics.macro_f1:.3f}; {_megabytes(last.bytes)} against "
        f"{_megabytes(teacher.bytes)}; p50 {_ms(last.p50_ms)} against {_ms(teacher.p50_ms)}{gain}."
    ]


def _chosen(report: CompressionReport) -> str:
    for candidate in report.candidates:
        if candidate.chosen:
            cut = f", {_percent(candidate.pruned)} of its channels cut," if candidate.pruned else ""
            return f"{candidate.student}{cut}"
    return "The student"


def _origin(report: CompressionReport) -> str:
    words = (
        f"Everything was timed on {report.target} with {report.threads} thread(s): "
        f"{report.machine}. Students, cuts and retreat were chosen on the validation part; the "
        "ablation and the gate are of the test part. In brackets: 95 % intervals."
    )
    if report.data == "phantoms":
        words += (
            " All images are rendered phantoms: the figures show what the compression keeps of "
            "what the teacher knew, and say nothing about patients."
        )
    return words


def _gate(report: CompressionReport) -> list[str]:
    rows = [
        (
            check.name,
            check.precision,
            f"{check.measured:.4f}",
            f"{'≤' if check.at_most else '≥'} {check.limit:g}",
            "pass" if check.passed else "**FAIL**",
        )
        for check in report.gate
    ]
    header = ("check", "precision", "measured", "limit", "verdict")
    return ["## Gate", "A drop is the teacher's figure less this one.", _table(header, rows)]


def _stages(report: CompressionReport) -> list[str]:
    recalls = tuple(f"recall.{label}" for label in report.alert_labels)
    scores = ("accuracy", "macro_f1", *recalls, "pointing_game", "expected_calibration_error")
    names = ("accuracy", "macro-F1", *(f"recall, {x}" for x in report.alert_labels))
    answers = [
        (stage.name, stage.precision, *(_score(stage.metrics, score) for score in scores))
        for stage in report.stages
    ]
    kept = ("flipped", "correlation", "KL", "cosine")
    costs = ("file", "MACs", "parameters", "p50", "speed-up")
    return [
        "## What each step wins and loses",
        f"On {report.stages[0].metrics.images} {report.data} of the test part. Pointing: share of "
        "maps that peak in the lesion's box; ECE: expected calibration error after temperature.",
        _table(("stage", "precision", *names, "pointing", "ECE"), answers),
        "The same beside the teacher's answers, and what it costs. Flipped: images with another "
        "label than the teacher's; correlation: of the logits; KL: divergence from the teacher's "
        "probabilities in nats; cosine: of the maps of the teacher's label.",
        _table(("stage", "precision", *kept, *costs), [_kept_and_cost(s) for s in report.stages]),
        _quiet(report.bystanders),
    ]


def _quiet(bystanders: float | None) -> str:
    """How far the times of the stages can be trusted."""
    words = "The stages were timed in turn, in one run"
    if bystanders is None:
        return f"{words}."
    words += f"; other processes kept {bystanders:.2f} cores busy meanwhile"
    if bystanders > BUSY_CORES:
        words += ", so times and ratios are not to be quoted: time them on a quiet machine"
    return f"{words}."


def _kept_and_cost(stage: Stage) -> Sequence[object]:
    metrics = stage.metrics
    flipped = 1 - metrics.teacher_agreement
    return (
        stage.name,
        stage.precision,
        f"{_percent(flipped)} ({round(flipped * metrics.images)})",
        f"{metrics.logit_correlation:.4f}",
        f"{metrics.teacher_divergence:.4f}",
        f"{metrics.saliency_cosine:.3f}",
        *_costs(stage),
        _ms(stage.p50_ms),
        _NONE if stage.speedup is None else f"{stage.speedup:.1f}×",
    )


def _retreat(report: CompressionReport) -> list[str]:
    retreat = report.retreat
    assert retreat is not None
    names = ", ".join(f"`{layer}`" for layer in retreat.layers)
    return [
        "## Retreat",
        f"{len(retreat.layers)} layer(s) went back to float, the most sensitive first: {names}. "
        "The error of the logits (RMSE over standard deviation) went from "
        f"{retreat.rmse_before:.4f} to {retreat.rmse_after:.4f}, validation macro-F1 went from "
        f"{retreat.macro_f1_before:.3f} to {retreat.macro_f1_after:.3f}, and p50 from "
        f"{_ms(retreat.p50_before)} to {_ms(retreat.p50_after)}.",
    ]


def _front(report: CompressionReport) -> list[str]:
    best = pareto(report.candidates)
    rows = [
        (
            candidate.student + (" (chosen)" if candidate.chosen else ""),
            _percent(candidate.pruned),
            _percent(candidate.accuracy, (candidate.accuracy_low, candidate.accuracy_high)),
            f"{candidate.macro_f1:.3f}",
            f"{_ms(candidate.p50_ms)} [{candidate.p50_low:.3f}, {candidate.p50_high:.3f}]",
            *_costs(candidate),
            "yes" if candidate in best else "",
        )
        for candidate in sorted(report.candidates, key=lambda c: (c.p50_ms, -c.accuracy))
    ]
    budget = f"a budget of {report.budget_ms:g} ms" if report.budget_ms else "no budget"
    header = ("student", "channels cut", "accuracy", "macro-F1", "p50")
    return [
        "## Candidates",
        f"INT8 files on {report.candidates[0].images} {report.data} of the validation part, with "
        f"{budget}. On the front is what no other candidate beats in both accuracy and p50.",
        _table((*header, "file", "MACs", "parameters", "on the front"), rows),
        f"![Accuracy against p50]({FRONT})",
    ]


def _trace(report: CompressionReport) -> list[str]:
    header = ("student", "channels cut", "MACs", "p50", "ratio", "kept", "accuracy", "macro-F1")
    return [
        "## Cuts",
        "A cut is kept only if the measured p50 falls; the next one starts from what was kept. "
        "Ratio: p50 after over p50 before, timed in turn. Accuracy and macro-F1 are of the "
        "validation part, after recovery, in float32.",
        _table(header, [_cut(step) for step in report.trace]),
        f"![What each cut was worth]({TRACE})",
    ]


def _cut(step: PruneStep) -> Sequence[object]:
    return (
        step.student,
        _percent(step.share),
        f"{_millions(step.macs_before)} → {_millions(step.macs)}",
        f"{step.p50_before:.3f} → {_ms(step.p50_after)}",
        f"{step.ratio:.3f} [{step.ratio_low:.3f}, {step.ratio_high:.3f}]",
        "yes" if step.kept else "no",
        _NONE if step.accuracy is None else _percent(step.accuracy),
        _NONE if step.macro_f1 is None else f"{step.macro_f1:.3f}",
    )


def _engines(report: CompressionReport) -> list[str]:
    rows = [
        (one.engine, f"not run: {one.skipped}", *3 * [_NONE])
        if one.skipped
        else (one.engine, one.images, f"{one.logit_rmse:.4f}", one.label_changes, one.flips)
        for one in report.agreement
    ]
    header = ("engine", "images", "logit RMSE", "labels changed", "clear decisions changed")
    return [
        "## Other engines on the same INT8 file",
        "Against OpenVINO with every instruction of this processor. RMSE is over the standard "
        "deviation of the logits; a decision is clear if nothing that decides is near a threshold.",
        _table(header, rows),
    ]


def _costs(of: Stage | Candidate) -> tuple[str, str, str]:
    return _megabytes(of.bytes), _millions(of.macs), _millions(of.parameters)


def _score(metrics: Metrics, name: str) -> str:
    """A score with its interval; F1 and calibration error plain, as the gate's limits are."""
    field, _, label = name.partition(".")
    value = metrics.recall[label] if label else getattr(metrics, field)
    if value is None:
        return _NONE
    interval = metrics.intervals.get(name)
    if field in ("macro_f1", "expected_calibration_error"):
        return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
    return _percent(value, interval)


def _percent(share: float, interval: tuple[float, float] | None = None) -> str:
    ends = "" if interval is None else f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]"
    return f"{100 * share:.1f} %{ends}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.2f} M"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.2f} MB"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.3f} ms"


def _table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    ruler = ["---", *["---:"] * (len(header) - 1)]
    lines = [[str(cell).replace("|", "\\|") for cell in row] for row in (header, ruler, *rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
