"""The whole chain: a trained run in; a report, and a bundle or the reason why not, out."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from orthoedge.benchmarks.machine import BackgroundLoad, describe_machine
from orthoedge.compression.build_bundle import ship
from orthoedge.compression.bundle_writer import check_free
from orthoedge.compression.data_splits import kind_of_data, read_parts
from orthoedge.compression.distillation.ablation import ablate
from orthoedge.compression.distillation.stages import open_school
from orthoedge.compression.evaluation.evaluator import Judge, balanced
from orthoedge.compression.export import export
from orthoedge.compression.prune import check_prunable
from orthoedge.compression.quantization.accuracy_recovery import Hardened, harden
from orthoedge.compression.report import write_report
from orthoedge.compression.report.schema import CompressionReport, Stage
from orthoedge.compression.search import Search, Trial, time_engines
from orthoedge.compression.search_results import measure_trials
from orthoedge.compression.selection import choose
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import PRECISIONS, Precision
from orthoedge.runtime.errors import GateFailed
from orthoedge.targets.cpu import available_cores
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.flops import count_macs
from orthoedge.training.progress import log_progress
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run


@dataclass(frozen=True)
class Sources:
    """What a compression takes beside the run and its recipe."""

    cache: Path | None
    """Folder that keeps preprocessed images, as training's; None: memory alone."""
    weights: Path | None
    """Safetensors that the student starts from, or a folder of STUDENT.safetensors.

    None: the teacher's own where the teacher is that very network, random ones elsewhere.
    """
    calibration: Path | None
    """Radiographs to calibrate on; None: half of the run's validation part."""
    test: Path | None
    """Radiographs to measure on; None: the run's test part."""
    data_licence: str
    """For the manifest; ignored for phantoms."""


def report_folder(out: Path) -> Path:
    """Where the report of the bundle `out` lies, whether the bundle was written or not."""
    return out.with_name(f"{out.name}.report")


def compress(
    run: Run, recipe: Recipe, out: Path, target: str, sources: Sources, ablation: bool
) -> Bundle:
    """Distil, prune, choose, quantize, calibrate, gate and bundle.

    What a killed call has finished is kept in `<out>.work` and used again by the next. The report
    goes to `<out>.report`.

    Args:
        run: the teacher, with its split.
        recipe: the run's, with any overrides of `compress`.
        out: bundle folder; must not exist.
        target: whose measured latency decides, and whose engine calibrates.
        sources: data and weights.
        ablation: teach the chosen student with less, too, to show what each part is worth.

    Raises:
        RecipeError: a student is unknown or cannot be pruned, or none is within the budget.
        DataError: data or weights do not fit, or `<out>.work` was left by other settings.
        GateFailed: the student lost more than the recipe allows; the report says what.
        BundleError: `out` exists.
    """
    check_free(out)
    # A run on crops teaches on whole squares all the same: it is exported for them.
    whole = msgspec.structs.replace(recipe.augment, crop=0)
    recipe = msgspec.structs.replace(recipe, augment=whole)
    for student in recipe.compress.students:  # before anything that takes time
        check_prunable(student, recipe.compress.prune)
        Ensemble((student,), len(recipe.labels), head=recipe.head)
    work = out.with_name(f"{out.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    parts = read_parts(run, recipe, sources.cache, sources.calibration, sources.test)
    log_progress(
        f"teacher {' + '.join(run.model.names)}; {len(parts.train)} training, {len(parts.val)} "
        f"validation, {len(parts.calibration)} calibration and {len(parts.test)} test images"
    )
    school = open_school(run, recipe, target, parts.train, parts.val, work)
    indices = balanced(parts.train, recipe.compress.quantization_images, recipe.seed)
    search = Search(
        run,
        recipe,
        school,
        parts.train.images[indices, None],
        tuple(map(int, indices)),
        parts.val,
        target,
        sources.weights,
    )
    trials, trace = search.trials()
    measured = measure_trials(trials, recipe, parts.val, target, work)
    teacher = export(run.model, recipe.labels, recipe.preprocess)
    judge = Judge(teacher, parts, recipe, target)
    limit = recipe.compress.gate.int8.max_macro_f1_drop
    taught = judge.judge_teacher("val").metrics.macro_f1
    chosen = choose(measured, recipe.compress.budget_ms, taught, limit)
    trial = trials[measured.index(chosen)]
    log_progress(f"chosen: {trial.name}")
    hardened = harden(trial, search, judge)
    judged = {
        precision: judge.judge(getattr(hardened.trial, precision), precision, "test")
        for precision in PRECISIONS
    }
    agreement = judge.agreement(hardened.trial.int8, "int8", "test")
    checks = [
        check
        for precision in PRECISIONS
        for check in judge.gate(getattr(hardened.trial, precision), precision, "test")
    ]
    for line in checks:
        log_progress(str(line))
    failed = [line for line in checks if not line.passed]
    stages, bystanders = _stages(teacher, search, judge, trials, trial, hardened, ablation)
    report = CompressionReport(
        recipe=recipe.name,
        target=target,
        threads=available_cores(),
        machine=describe_machine().cpu,
        teacher=run.model.names,
        alert_labels=recipe.compress.alert_labels,
        data=kind_of_data(parts.train),
        budget_ms=recipe.compress.budget_ms,
        candidates=tuple(msgspec.structs.replace(c, chosen=c is chosen) for c in measured),
        trace=tuple(trace),
        stages=stages,
        bystanders=bystanders,
        retreat=hardened.retreat,
        agreement=tuple(agreement),
        gate=tuple(checks),
        bundle=None if failed else str(out),
    )
    tell = partial(write_report, report_folder(out), report)
    if failed:
        tell()
        raise GateFailed(
            f"{len(failed)} of {len(checks)} limits of the gate are not kept, first: {failed[0]}; "
            f"no bundle was written, see {report_folder(out) / 'report.md'}"
        )
    # The bundle comes last: a call killed before it can be repeated, where `out` exists it cannot.
    bundle = ship(
        out, search, judge, hardened, judged, checks, agreement, sources.data_licence, tell
    )
    shutil.rmtree(work)
    return bundle


def _stages(
    teacher: bytes,
    search: Search,
    judge: Judge,
    trials: list[Trial],
    chosen: Trial,
    hardened: Hardened,
    ablation: bool,
) -> tuple[tuple[Stage, ...], float | None]:
    """The ablation, all timed in one run, and how busy others were: what each step was worth."""
    whole = next(t for t in trials if t.student == chosen.student and t.step == 0)
    rows: list[tuple[str, Precision, bytes, Ensemble]] = [
        ("teacher", "fp32", teacher, search.run.model)
    ]
    if ablation:
        rows += [(n, "fp32", model, whole.network) for n, model in ablate(search, chosen.student)]
    rows.append(("+ saliency" if ablation else "student", "fp32", whole.fp32, whole.network))
    if chosen.step:
        rows.append(("+ pruning", "fp32", chosen.fp32, chosen.network))
    rows.append(("+ INT8", "int8", hardened.trial.int8, hardened.trial.network))
    judged = {name: judge.judge(model, precision, "test") for name, precision, model, _ in rows}
    engines = {name: part.engine for name, part in judged.items()}
    bystanders = BackgroundLoad()
    times = time_engines(engines, judge.parts.test.images[:1, None])
    crowd = bystanders.cores()
    stages = []
    for name, precision, model, network in rows:
        macs, parameters = count_macs(network, judge.recipe.preprocess.size)
        stages.append(
            Stage(
                name=name,
                precision=precision,
                metrics=judged[name].metrics,
                bytes=len(model),
                macs=macs,
                parameters=parameters,
                p50_ms=times[name].p50,
                speedup=None if name == "teacher" else times["teacher"].p50 / times[name].p50,
            )
        )
    return tuple(stages), crowd
