"""Text of a compression's report.md."""

from __future__ import annotations

from collections.abc import Sequence

from orthoedge.benchmarks.machine import BUSY_CORES
from orthoedge.compression.gate import Check
from orthoedge.compression.report.model_card_tables import score
from orthoedge.compression.report.refusal import CANDIDATE, remedies
from orthoedge.compression.report.schema import CandidateRecord, CompressionReport, Stage
from orthoedge.compression.selection import candidate_front
from orthoedge.runtime.settings import plain
from orthoedge.training.evaluation.markdown import table

FRONT, TRACE = "front.png", "trace.png"
_NONE = "–"


def markdown(report: CompressionReport) -> str:
    """Text of report.md; steps that were not reached have no section."""
    sections = (
        (report.gate, _gate),
        (report.stages, _stages),
        (any(stage.flips for stage in report.stages), _flips),
        (report.float_fallback, _float_fallback),
        (report.candidates, _candidates),
        (report.trace, _trace),
        (report.engine_consistency, _engines),
        (report.cpu_gate, _cpu_file),
    )
    blocks = [f"# Compression of {report.recipe}", _headline(report), _setup(report)]
    for reached, section in sections:
        blocks += section(report) if reached else []
    return "\n\n".join(blocks) + "\n"


def _headline(report: CompressionReport) -> str:
    checks, failed = len(report.gate), sum(not check.passed for check in report.gate)
    if failed:
        verdict = f"The gate failed: {failed} of {checks} checks"
    else:
        verdict = f"The gate passed: {checks} checks" if checks else "The gate was not reached"
    bundle = "no bundle was written" if report.bundle is None else f"the bundle is {report.bundle}"
    headline = f"**{verdict}; {bundle}.**"
    if len(report.stages) < 2:
        return headline
    teacher, last = report.stages[0], report.stages[-1]
    student = "The student"
    for candidate in report.candidates:
        if candidate.chosen:
            cut = f", {candidate.pruned:.1%} of its channels cut," if candidate.pruned else ""
            student = f"{candidate.student}{cut}"
    gain = "" if last.speedup is None else f", {last.speedup:.1f} times faster"
    return (
        f"{headline} {student} in {last.precision}, compared with the teacher "
        f"({' + '.join(report.teacher)}) in {teacher.precision}: macro-F1 "
        f"{last.metrics.macro_f1:.3f} against {teacher.metrics.macro_f1:.3f}; "
        f"{_millions(last.bytes, 'MB')} against {_millions(teacher.bytes, 'MB')}; "
        f"p50 {_ms(last.p50_ms)} against {_ms(teacher.p50_ms)}{gain}."
    )


def _setup(report: CompressionReport) -> str:
    phantoms = (
        " All images are rendered phantoms: the figures show what the compression preserves of the "
        "teacher, and say nothing about patients."
    )
    return (
        f"All times were measured on {report.target} with {report.threads} thread(s): "
        f"{report.machine}. Students, cuts and float fallback were selected on the validation "
        "split; the stages and the gate use the test split. Brackets hold 95 % intervals."
        + (phantoms if report.data == "phantoms" else "")
    )


def _gate(report: CompressionReport) -> list[str]:
    explained = (
        "A drop is the teacher's value minus the student's. Net flips are the images that turn "
        "from right to wrong minus those from wrong to right, as a share; they fail if they exceed "
        "the limit and their 95 % interval, in brackets, lies above 0."
    )
    blocks = ["## Gate", explained, _checks(report.gate)]
    if any(check.setting and not check.passed for check in report.gate):
        lines = remedies(report.gate)
        kept = f"The refused networks are in `{CANDIDATE}/`; they are no bundle."
        intro = "What would have to change for these figures to pass, and what that would accept:"
        blocks += [f"### Exceeded limits\n\n{intro}", "\n".join(f"- {x}" for x in lines), kept]
    return blocks


def _checks(checks: Sequence[Check]) -> str:
    rows = [
        (
            check.name,
            check.precision,
            f"{check.measured:.4f}"
            + (" [{:.4f}, {:.4f}]".format(*check.interval) if check.interval else ""),
            f"{'≤' if check.at_most else '≥'} {plain(check.limit)}",
            "pass" if check.passed else "**FAIL**",
        )
        for check in checks
    ]
    return table(("check", "precision", "measured", "limit", "verdict"), rows)


def _stages(report: CompressionReport) -> list[str]:
    recalls = tuple(f"recall.{label}" for label in report.alert_labels)
    keys = ("accuracy", "macro_f1", *recalls, "pointing_game", "expected_calibration_error")
    names = ("accuracy", "macro-F1", *(f"recall, {x}" for x in report.alert_labels))
    results, agreement = [], []
    for stage in report.stages:
        name, metrics = (stage.name, stage.precision), stage.metrics
        results.append((*name, *(score(metrics, key, missing=_NONE) for key in keys)))
        changed = 1 - metrics.teacher_agreement
        agreement.append(
            (
                *name,
                f"{changed:.1%} ({round(changed * metrics.images)})",
                f"{metrics.logit_correlation:.4f}",
                f"{metrics.teacher_divergence:.4f}",
                f"{metrics.saliency_cosine:.3f}",
                *_size(stage),
                _ms(stage.p50_ms),
                _NONE if stage.speedup is None else f"{stage.speedup:.1f}×",
            )
        )
    cores = report.background_load
    load = "" if cores is None else f"; other processes kept {cores:.2f} cores busy"
    if cores is not None and cores > BUSY_CORES:
        load += ", so do not quote times and ratios: measure again on an idle machine"
    header = ("stage", "precision", "label changed", "correlation", "KL", "cosine")
    costs = ("file", "MACs", "parameters", "p50", "speed-up")
    return [
        "## Stages",
        f"On {report.stages[0].metrics.images} {report.data} of the test split. Pointing: share of "
        "maps that peak in the lesion's box; ECE: expected calibration error after temperature "
        "scaling.",
        table(("stage", "precision", *names, "pointing", "ECE"), results),
        "Agreement with the teacher on the same images, and cost. Label changed: images with a "
        "different label than the teacher's; correlation: of the logits; KL: divergence from the "
        "teacher's probabilities in nats; cosine: of the maps of the teacher's label.",
        table((*header, *costs), agreement),
        f"The stages were timed interleaved in one run{load}.",
    ]


def _flips(report: CompressionReport) -> list[str]:
    rows = [
        (stage.name, stage.precision, *(str(flips) for flips in stage.flips))
        for stage in report.stages[1:]  # the first is the teacher itself
        if stage.flips
    ]
    labels = (flips.label or "all" for flips in report.stages[-1].flips)
    return [
        "## Flips",
        "Images that the teacher gets right and the stage wrong, minus those that it gets wrong "
        "and the stage right, with 95 % intervals over patients; below 0 is a gain.",
        table(("stage", "precision", *labels), rows),
    ]


def _float_fallback(report: CompressionReport) -> list[str]:
    fallback = report.float_fallback
    assert fallback is not None
    names = ", ".join(f"`{layer}`" for layer in fallback.layers)
    return [
        "## Float fallback",
        f"{len(fallback.layers)} layer(s) run in float, the most sensitive first: {names}. "
        "The error of the logits (RMSE over standard deviation) went from "
        f"{fallback.rmse_before:.4f} to {fallback.rmse_after:.4f}, validation macro-F1 from "
        f"{fallback.macro_f1_before:.3f} to {fallback.macro_f1_after:.3f}, and p50 from "
        f"{_ms(fallback.p50_before)} to {_ms(fallback.p50_after)}.",
    ]


def quality_name(report: CompressionReport) -> str:
    """What the Pareto front of the candidates sets against p50."""
    return "accuracy" if report.candidates[0].auc is None else "AUC within the collections"


def _candidates(report: CompressionReport) -> list[str]:
    front = candidate_front(report.candidates)
    rows = [
        (
            candidate.student + (" (chosen)" if candidate.chosen else ""),
            f"{candidate.pruned:.1%}",
            _quality(candidate),
            f"{candidate.macro_f1:.3f}",
            f"{_ms(candidate.p50_ms)} [{candidate.p50_low:.3f}, {candidate.p50_high:.3f}]",
            *_size(candidate),
            "yes" if candidate in front else "",
        )
        for candidate in sorted(report.candidates, key=lambda c: (c.p50_ms, -c.quality.value))
    ]
    budget = f"a budget of {plain(report.budget_ms)} ms" if report.budget_ms else "no budget"
    quality = quality_name(report)
    header = ("student", "channels cut", quality, "macro-F1", "p50")
    return [
        "## Candidates",
        f"INT8 files on {report.candidates[0].images} {report.data} of the validation split, with "
        f"{budget}. No other candidate beats one on the Pareto front in both {quality} and p50.",
        table((*header, "file", "MACs", "parameters", "on the front"), rows),
        f"![{quality} against p50]({FRONT})",
    ]


def _quality(candidate: CandidateRecord) -> str:
    if candidate.auc is not None:
        return f"{candidate.auc.value:.3f} [{candidate.auc.low:.3f}, {candidate.auc.high:.3f}]"
    low, high = 100 * candidate.accuracy_low, 100 * candidate.accuracy_high
    return f"{candidate.accuracy:.1%} [{low:.1f}, {high:.1f}]"


def _trace(report: CompressionReport) -> list[str]:
    rows = [
        (
            step.student,
            f"{step.share:.1%}",
            f"{_millions(step.macs_before)} → {_millions(step.macs)}",
            f"{step.p50_before:.3f} → {_ms(step.p50_after)}",
            f"{step.ratio:.3f} [{step.ratio_low:.3f}, {step.ratio_high:.3f}]",
            "yes" if step.accepted else "no",
            _NONE if step.accuracy is None else f"{step.accuracy:.1%}",
            _NONE if step.macro_f1 is None else f"{step.macro_f1:.3f}",
        )
        for step in report.trace
    ]
    header = ("student", "channels cut", "MACs", "p50", "ratio", "accepted", "accuracy", "macro-F1")
    return [
        "## Cuts",
        "A cut is accepted only if the measured p50 falls; the next cut starts from the last "
        "accepted one. Ratio: p50 after over p50 before, timed interleaved. Accuracy and macro-F1 "
        "are of the validation split, after distilling again, in float32.",
        table(header, rows),
        f"![MACs, p50 and accuracy of each cut]({TRACE})",
    ]


def _cpu_file(report: CompressionReport) -> list[str]:
    taken = " and ".join(report.cpu_targets)
    verdict = (
        f"The bundle has `model.int8_cpu.onnx`, which {taken} run in the place of "
        "`model.int8.onnx`."
        if taken
        else "The bundle has no `model.int8_cpu.onnx`: it exceeds a limit, so that every target "
        "runs `model.int8.onnx`."
    )
    engines = (str(engine) for engine in report.cpu_engine_consistency)
    return ["## INT8 for CPU engines", verdict, _checks(report.cpu_gate), *engines]


def _engines(report: CompressionReport) -> list[str]:
    rows = [
        (e.engine, f"not run: {e.skipped}", *3 * [_NONE])
        if e.skipped
        else (e.engine, e.images, f"{e.logit_rmse:.4f}", e.label_changes, e.decision_flips)
        for e in report.engine_consistency
    ]
    header = ("engine", "images", "logit RMSE", "labels changed", "clear decisions changed")
    return [
        "## Other engines on the same INT8 file",
        "Compared with OpenVINO using all instructions of this processor. RMSE is over the "
        "standard deviation of the logits; a decision is clear if no value is near a threshold."
        + _nearness(report),
        table(header, rows),
    ]


def _nearness(report: CompressionReport) -> str:
    near = [
        (e.near_log_odds, e.near_ood_score)
        for e in report.engine_consistency
        if e.near_log_odds is not None and e.near_ood_score is not None
    ]
    if not near:
        return ""
    log_odds, score = (max(values) for values in zip(*near, strict=True))
    return (
        " Near means within five standard deviations of the engines' usual difference: at most "
        f"{plain(log_odds, 2)} in log-odds ({log_odds / 4:.1%} at a probability of 50 %), and "
        f"{plain(score, 2)} in units of the out-of-distribution threshold."
    )


def _size(of: Stage | CandidateRecord) -> tuple[str, str, str]:
    return _millions(of.bytes, "MB"), _millions(of.macs), _millions(of.parameters)


def _millions(count: int, unit: str = "M") -> str:
    return f"{count / 1e6:.2f} {unit}"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.3f} ms"
