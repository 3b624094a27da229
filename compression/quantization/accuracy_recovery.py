"""Recover accuracy where INT8 fails the gate and float32 passes it.

Sensitive layers fall back to float; if they are not enough, weights are trained for INT8 (QAT).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orthoedge.compression.candidates import Candidate, make_candidate, time_engines, weights_sha256
from orthoedge.compression.context import CompressionContext
from orthoedge.compression.distillation.stages import kept_by
from orthoedge.compression.distillation.train_student import NOTHING, train_student
from orthoedge.compression.evaluation.engine_agreement import logit_rmse
from orthoedge.compression.evaluation.evaluator import Evaluator
from orthoedge.compression.gate import Check
from orthoedge.compression.quantization.float_fallback import restore_float, sensitivity
from orthoedge.compression.quantization.qat import fake_quantized
from orthoedge.compression.report.schema import FloatFallback
from orthoedge.training.progress import log_progress

_SENSITIVITY_IMAGES = 64  # enough to rank the layers


@dataclass(frozen=True)
class Recovered:
    """The candidate that goes to the gate, and what was changed in it."""

    candidate: Candidate
    float_fallback: FloatFallback | None
    qat: bool


def recover_accuracy(
    context: CompressionContext, evaluator: Evaluator, candidate: Candidate
) -> Recovered:
    """Make INT8 keep every limit on the validation split that float32 keeps there, if possible.

    The most sensitive layers fall back to float, one more at a time. If the recipe's maximum is not
    enough, the student is fine-tuned with fake quantization, and float fallback is tried again.
    """
    settings = context.recipe.compress
    recovered, record, lost = _fall_back(context, evaluator, candidate)
    if not lost or settings.qat_epochs == 0:
        return Recovered(recovered, record, False)
    name, start = candidate.name, weights_sha256(candidate.network)
    log_progress(f"{name}: quantization-aware training")
    with fake_quantized(candidate.network) as network:
        state = context.work / f"{name}-qat.pt"
        epochs, stage = settings.qat_epochs, f"{name} qat"
        kept = NOTHING if candidate.step else kept_by(context, start)
        train_student(network, start, context.whole, epochs, state, stage, kept)
    trained = make_candidate(
        context, candidate.student, candidate.share, candidate.step, candidate.network
    )
    recovered, record, _ = _fall_back(context, evaluator, trained)
    return Recovered(recovered, record, True)


def _fall_back(
    context: CompressionContext, evaluator: Evaluator, candidate: Candidate
) -> tuple[Candidate, FloatFallback | None, Sequence[Check]]:
    """Change layers until no limit is lost; returns the limits that are lost in the end."""
    lost = _lost(evaluator, candidate)
    if not lost:
        return candidate, None, lost
    images = context.quantization_images[:_SENSITIVITY_IMAGES]
    ranking = list(sensitivity(candidate.int8, candidate.fp32, images))
    changed, names = candidate, tuple[str, ...]()
    for count in range(1, min(context.recipe.compress.float_layers, len(ranking) - 1) + 1):
        names = tuple(ranking[:count])
        changed = replace(candidate, int8=restore_float(candidate.int8, candidate.fp32, names))
        lost = _lost(evaluator, changed)
        log_progress(f"{names[-1]} falls back to float: {f'{lost[0]}' if lost else 'INT8 passes'}")
        if not lost:
            break
    record = _record(context, evaluator, candidate, changed, names) if names else None
    return changed, record, lost


def _lost(evaluator: Evaluator, candidate: Candidate) -> list[Check]:
    """Limits that INT8 fails and float32 keeps or does not have, on the validation split."""
    failed = {c.name for c in evaluator.gate(candidate.fp32, "fp32", "val") if not c.passed}
    checks = evaluator.gate(candidate.int8, "int8", "val")
    return [check for check in checks if not check.passed and check.name not in failed]


def _record(
    context: CompressionContext,
    evaluator: Evaluator,
    before: Candidate,
    after: Candidate,
    layers: tuple[str, ...],
) -> FloatFallback:
    models = {"before": before.int8, "after": after.int8}
    results = {name: evaluator.evaluate(m, "int8", "val") for name, m in models.items()}
    engines = {name: result.engine for name, result in results.items()}
    times = time_engines(engines, context.splits.val.images[:1, None])
    exact = evaluator.outputs(before.fp32, "fp32", "val")
    rmse = {n: logit_rmse(exact, evaluator.outputs(m, "int8", "val")) for n, m in models.items()}
    return FloatFallback(
        layers=layers,
        rmse_before=rmse["before"],
        rmse_after=rmse["after"],
        macro_f1_before=results["before"].metrics.macro_f1,
        macro_f1_after=results["after"].metrics.macro_f1,
        p50_before=times["before"].p50,
        p50_after=times["after"].p50,
    )
