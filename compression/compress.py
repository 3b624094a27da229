"""The whole chain: from a trained run to a report and, if the gate passes, a bundle.

distil -> prune -> export -> quantize -> choose -> recover accuracy -> calibrate -> gate -> bundle

Candidates and repairs are selected on the validation split; the gate uses the test split, on which
nothing was selected.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from orthoedge.benchmarks.machine import BackgroundLoad, describe_machine
from orthoedge.compression.build_bundle import build_bundle
from orthoedge.compression.bundle_writer import check_free
from orthoedge.compression.candidates import Candidate, measure_candidates, time_engines
from orthoedge.compression.context import CompressionContext, Sources, prepare_context
from orthoedge.compression.distillation.ablation import ablate
from orthoedge.compression.evaluation.evaluator import Evaluator, TestResults
from orthoedge.compression.evaluation.mask_overlap import EngineOutliner
from orthoedge.compression.prune import check_prunable
from orthoedge.compression.quantization.accuracy_recovery import recover_accuracy
from orthoedge.compression.quantization.cpu_form import for_cpus
from orthoedge.compression.report import write_report
from orthoedge.compression.report.refusal import (
    CANDIDATE,
    discard_candidate,
    keep_candidate,
    remedies,
)
from orthoedge.compression.report.schema import SCHEMA, CompressionReport, Stage
from orthoedge.compression.search import search_candidates
from orthoedge.compression.selection import TeacherScores, choose
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.errors import GateFailed
from orthoedge.targets.cpu import available_cores
from orthoedge.training.evaluation.by_source import source_auc
from orthoedge.training.masks.evaluate import evaluate_masks
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.flops import count_macs
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run


def report_folder(out: Path) -> Path:
    """Folder of the report of bundle `out`, which exists even if the gate fails."""
    return out.with_name(f"{out.name}.report")


def compress(
    run: Run, recipe: Recipe, out: Path, target: str, sources: Sources, ablation: bool
) -> Bundle:
    """Compress a run's network into a bundle.

    Finished steps of a killed call are kept in `<out>.work`, and the next call reuses them. The
    report goes to `<out>.report`.

    The run is the teacher, with its split; `recipe` is its recipe with any overrides of `compress`.
    The measured latency of `target` decides, and its engine calibrates. `ablation` also trains the
    chosen student with fewer terms of the loss.

    Raises:
        ConfigError: a student is unknown or cannot be pruned, or none is within the budget.
        DataError: data or weights do not fit, or `<out>.work` was left by other settings.
        GateFailed: the student lost more than the recipe allows; the report has the details, and
            `candidate` next to it the networks.
        BundleError: `out` exists.
    """
    check_free(out)
    for student in recipe.compress.students:  # before anything that takes time
        check_prunable(student, recipe.compress.prune)
        Ensemble(
            (student,), len(recipe.labels), head=recipe.head, output_stride=recipe.output_stride
        )
    context = prepare_context(run, recipe, target, sources, out.with_name(f"{out.name}.work"))
    splits, settings = context.splits, recipe.compress
    log_progress(
        f"teacher {' + '.join(run.model.names)}; {len(splits.train)} training, {len(splits.val)} "
        f"validation, {len(splits.calibration)} calibration and {len(splits.test)} test images"
    )

    candidates, trace = search_candidates(context)
    records = measure_candidates(context, candidates)
    evaluator = Evaluator(context)
    teacher = _score_teacher(context, evaluator)
    best = choose(records, settings.budget_ms, teacher, settings.gate.int8)
    chosen = candidates[records.index(best)]
    log_progress(f"chosen: {chosen.name}")
    recovered = recover_accuracy(context, evaluator, chosen)
    final = recovered.candidate
    int8_cpu = for_cpus(final.int8, final.fp32, context.quantization_images)
    results = evaluator.test(final.fp32, final.int8, int8_cpu)
    for check in (*results.checks, *results.cpu_checks):
        log_progress(str(check))
    log_progress(_taken(results))

    whole = next(c for c in candidates if c.student == chosen.student and c.step == 0)
    stages, load = _measure_stages(context, evaluator, (whole, chosen, final), ablation)
    report = CompressionReport(
        schema=SCHEMA,
        recipe=recipe.name,
        target=target,
        threads=available_cores(),
        machine=describe_machine().cpu,
        teacher=run.model.names,
        alert_labels=settings.alert_labels,
        data=splits.kind,
        budget_ms=settings.budget_ms,
        candidates=tuple(msgspec.structs.replace(c, chosen=c is best) for c in records),
        trace=tuple(trace),
        stages=stages,
        background_load=load,
        float_fallback=recovered.float_fallback,
        engine_consistency=tuple(results.consistency["int8"]),
        gate=tuple(results.checks),
        cpu_targets=results.cpu_targets,
        cpu_engine_consistency=tuple(results.consistency.get("int8_cpu", ())),
        cpu_gate=tuple(results.cpu_checks),
        bundle=None if results.failed else str(out),
    )
    folder = report_folder(out)
    write = partial(write_report, folder, report)
    if final.network.has_mask:
        network = EngineOutliner(results.evaluations["int8"].engine)
        what = f"{final.name} in INT8"
        for line in evaluate_masks(network, splits.test, context.recipe, folder, what):
            log_progress(f"{what}: {line}")
    if results.failed:
        for line in remedies(results.checks):
            log_progress(line)
        keep_candidate(folder, {"fp32": final.fp32, "int8": final.int8}, results.checks)
        write()
        raise GateFailed(
            f"{len(results.failed)} of {len(results.checks)} limits of the gate are exceeded, "
            f"first: {results.failed[0]}; no bundle was written, see {folder / 'report.md'}, and "
            f"{folder / CANDIDATE} for the networks; finished steps are kept for another call"
        )
    discard_candidate(folder)
    # The bundle comes last: a killed call can be repeated only as long as `out` does not exist.
    bundle = build_bundle(context, out, recovered, int8_cpu, results, write)
    shutil.rmtree(context.work)
    return bundle


def _score_teacher(context: CompressionContext, evaluator: Evaluator) -> TeacherScores:
    """Scores of the teacher on the split that the candidates are compared on."""
    val, auc = context.splits.val, None
    if context.recipe.source_labels:
        auc = source_auc(evaluator.outputs(context.teacher, "fp32", "val").logits, val)
    return TeacherScores(evaluator.evaluate_teacher("val").macro_f1, auc)


def _taken(results: TestResults) -> str:
    """Say which targets take the INT8 file for CPU engines."""
    if results.cpu_targets:
        return f"model.int8_cpu.onnx is for {' and '.join(results.cpu_targets)}"
    failed = next(check for check in results.cpu_checks if not check.passed)
    return f"no model.int8_cpu.onnx: {failed}"


def _measure_stages(
    context: CompressionContext,
    evaluator: Evaluator,
    candidates: Sequence[Candidate],
    ablation: bool,
) -> tuple[tuple[Stage, ...], float | None]:
    """Evaluate and time each stage from teacher to INT8 in one run.

    The candidates are the whole student, the chosen one, and the one after accuracy recovery.
    Returned with the cores that other processes kept busy meanwhile; None: unknown.
    """
    whole, chosen, final = candidates
    rows: list[tuple[str, Precision, bytes, Ensemble]] = [
        ("teacher", "fp32", context.teacher, context.run.model)
    ]
    if ablation:
        rows += [(n, "fp32", model, whole.network) for n, model in ablate(context, chosen.student)]
    rows.append(("+ saliency" if ablation else "student", "fp32", whole.fp32, whole.network))
    if chosen.step:
        rows.append(("+ pruning", "fp32", chosen.fp32, chosen.network))
    rows.append(("+ INT8", "int8", final.int8, final.network))
    evaluations = {name: evaluator.evaluate(model, p, "test") for name, p, model, _ in rows}
    engines = {name: evaluation.engine for name, evaluation in evaluations.items()}
    load = BackgroundLoad()
    times = time_engines(engines, context.splits.test.images[:1, None])
    busy = load.cores()
    stages = []
    for name, precision, model, network in rows:
        macs, parameters = count_macs(network, context.size)
        stages.append(
            Stage(
                name=name,
                precision=precision,
                metrics=evaluations[name].metrics,
                bytes=len(model),
                macs=macs,
                parameters=parameters,
                p50_ms=times[name].p50,
                speedup=None if name == "teacher" else times["teacher"].p50 / times[name].p50,
                flips=evaluations[name].flips,
            )
        )
    return tuple(stages), busy
