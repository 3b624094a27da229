"""Where INT8 fails the gate and float32 passes: layers retreat to float, weights are tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from orthoedge.compression.distillation.train_student import distil
from orthoedge.compression.evaluation.engine_agreement import logit_rmse
from orthoedge.compression.evaluation.evaluator import Judge
from orthoedge.compression.gate import Check
from orthoedge.compression.quantization.float_fallback import retreat, sensitivity
from orthoedge.compression.quantization.qat import fake_quantized
from orthoedge.compression.report.schema import Retreat
from orthoedge.compression.search import Search, Trial, time_engines, weights_sha256
from orthoedge.targets import open_model
from orthoedge.training.progress import log_progress

_PROBES = 64  # images that rank the layers


@dataclass(frozen=True)
class Hardened:
    """What goes on to the gate."""

    trial: Trial
    retreat: Retreat | None
    tuned: bool


def harden(trial: Trial, search: Search, judge: Judge) -> Hardened:
    """Make INT8 pass on the validation part what float32 passes there, if it can be done.

    The most sensitive layers go back to float, one more at a time. Where the recipe's most are not
    enough, the student is fine-tuned under simulated quantization, and the same begins again.

    Args:
        trial: the chosen one.
        search: settings and school.
        judge: of networks; the teacher's limits are those on the validation part.
    """
    if not _lost(trial, judge):
        return Hardened(trial, None, False)
    settings = search.recipe.compress
    found, record, lost = _retreat(trial, search, judge)
    if not lost or settings.qat_epochs == 0:
        return Hardened(found, record, False)
    log_progress(f"{trial.name}: fine-tuning under simulated quantization")
    before = weights_sha256(trial.network)
    with fake_quantized(trial.network) as network:
        distil(
            network,
            before,
            search.school.whole,
            settings.qat_epochs,
            search.school.work / f"{trial.name}-tune.pt",
            f"{trial.name} tune",
        )
    tuned = search.trial(trial.student, trial.share, trial.step, trial.network)
    if not _lost(tuned, judge):
        return Hardened(tuned, None, True)
    found, record, _ = _retreat(tuned, search, judge)
    return Hardened(found, record, True)


def _retreat(
    trial: Trial, search: Search, judge: Judge
) -> tuple[Trial, Retreat | None, Sequence[Check]]:
    images = search.ranges[:_PROBES]
    ranking = list(sensitivity(trial.int8, trial.fp32, images))
    lost: Sequence[Check] = _lost(trial, judge)
    found, names = trial, tuple[str, ...]()
    for count in range(1, min(search.recipe.compress.float_layers, len(ranking) - 1) + 1):
        names = tuple(ranking[:count])
        found = replace(trial, int8=retreat(trial.int8, trial.fp32, names))
        lost = _lost(found, judge)
        log_progress(f"{names[-1]} goes back to float: {f'{lost[0]}' if lost else 'INT8 passes'}")
        if not lost:
            break
    if not names:
        return trial, None, lost
    return found, _record(trial, found, names, search, judge), lost


def _lost(trial: Trial, judge: Judge) -> list[Check]:
    """Limits that INT8 fails and float32 keeps, on the validation part."""
    kept = {check.name for check in judge.gate(trial.fp32, "fp32", "val") if check.passed}
    found = judge.gate(trial.int8, "int8", "val")
    return [check for check in found if not check.passed and check.name in kept]


def _record(
    before: Trial, after: Trial, layers: tuple[str, ...], search: Search, judge: Judge
) -> Retreat:
    size, target = search.recipe.preprocess.size, search.target
    engines = {
        "before": open_model(before.int8, size, target, "int8"),
        "after": open_model(after.int8, size, target, "int8"),
    }
    times = time_engines(engines, search.val.images[:1, None])
    exact = judge.run(before.fp32, "fp32", "val")
    f1 = [judge.judge(trial.int8, "int8", "val").metrics.macro_f1 for trial in (before, after)]
    return Retreat(
        layers=layers,
        rmse_before=logit_rmse(exact, judge.run(before.int8, "int8", "val")),
        rmse_after=logit_rmse(exact, judge.run(after.int8, "int8", "val")),
        macro_f1_before=f1[0],
        macro_f1_after=f1[1],
        p50_before=times["before"].p50,
        p50_after=times["after"].p50,
    )
