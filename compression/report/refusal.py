"""A refused student: what each exceeded limit would have to become, and its networks to look at."""

from __future__ import annotations

import math
import shlex
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from orthoedge.compression.gate import Check
from orthoedge.runtime.atomic_files import staging, write_atomic
from orthoedge.runtime.engine import Precision
from orthoedge.runtime.settings import plain

CANDIDATE = "candidate"
"""Folder next to the report; not a bundle, since it has no manifest."""

_STEPS = 1e4  # limits are suggested to four places, rounded so that the figure keeps them

# What a person accepts with the wider limit; `points` is 100 times the measured value.
_MEANING = {
    "max_macro_f1_drop": "a macro-F1 that is {points:.1f} points below the teacher's",
    "max_recall_drop": "that of 100 images of {label}, {points:.1f} fewer are recognised than by "
    "the teacher",
    "max_net_flips": "that of 100 images{of}, {points:.1f} more turn from right to wrong than from "
    "wrong to right",
    "max_auc_drop": "an AUC within a source that is {points:.1f} points below the teacher's",
    "max_alert_sensitivity_drop": "that of 100 images of an alert label, {points:.1f} fewer reach "
    "its operating point than with the teacher",
    "max_dice_drop": "outlines of lesions that agree less with their masks, by {points:.1f} points "
    "of Dice",
    "max_pointing_drop": "that of 100 maps, {points:.1f} fewer peak in the lesion than the "
    "teacher's",
    "max_ece": "probabilities that are {points:.1f} points off the share of right labels",
    "min_teacher_cosine": "maps that differ from the teacher's more: a cosine of {measured:.3f}, "
    "where 1 is the same map",
    "max_engine_rmse": "logits that differ between engines or processors by {rounded} "
    "standard deviations, so figures measured here may not hold on another machine",
    "max_engine_flips": "that {measured:.0f} of the clear decisions depend on the engine or "
    "processor",
}


def remedies(checks: Sequence[Check]) -> list[str]:
    """One line per exceeded limit: the setting to change, the value, and what that would accept."""
    failed = [check for check in checks if not check.passed and check.setting]
    needed: dict[str, list[float]] = {}  # net flips of several labels share a limit
    for check in failed:
        if math.isfinite(check.measured):
            rounded = math.ceil if check.at_most else math.floor
            needed.setdefault(check.setting, []).append(rounded(check.measured * _STEPS) / _STEPS)
    lines = []
    for check in failed:
        where = f"{check.precision} {check.name}"
        if math.isfinite(check.measured):
            value = (max if check.at_most else min)(needed[check.setting])
            option = shlex.quote(f"{check.setting}={plain(value, 10, group='')}")
            lines.append(f"{where}: `--set {option}` would accept {_meaning(check)}")
        else:
            lines.append(f"{where}: measured {check.measured}, which no value of the limit accepts")
    return lines


def keep_candidate(
    folder: Path, models: Mapping[Precision, bytes], checks: Sequence[Check]
) -> None:
    """Keep the networks of a refused student in `folder`/candidate, in place of an earlier one.

    No bundle can be mistaken for it: it has no manifest, and its files have other names.
    """
    target = folder / CANDIDATE
    with staging(folder, target) as temporary:
        for precision, model in models.items():
            write_atomic(temporary / f"refused.{precision}.onnx", model)
        write_atomic(temporary / "README.md", _readme(models, checks).encode())
        discard_candidate(folder)
        temporary.rename(target)


def discard_candidate(folder: Path) -> None:
    """Remove the networks of an earlier refusal."""
    shutil.rmtree(folder / CANDIDATE, ignore_errors=True)


def _meaning(check: Check) -> str:
    limit, label = [*check.setting.split(".", 4)[3:], ""][:2]
    if limit == "max_net_flips":  # one limit for all labels
        label = check.name.removesuffix("net flips").strip()
    return _MEANING[limit].format(
        measured=check.measured,
        rounded=plain(check.measured, 2),
        points=100 * check.measured,
        label=label,
        of=f" of {label}" if label else "",
    )


def _readme(models: Mapping[Precision, bytes], checks: Sequence[Check]) -> str:
    files = ", ".join(f"`refused.{precision}.onnx`" for precision in models)
    failed = "\n".join(f"- {check}" for check in checks if not check.passed)
    return (
        "# Refused by the gate\n\n"
        f"{files}: the networks that `orthoedge compress` refused, to be looked at. They are no "
        "bundle: they have no calibration, no golden outputs and no manifest, so no verb of "
        "orthoedge runs them. Do not use their output.\n\n"
        "Input: `image`, uint8 (N, 1, S, S), preprocessed as the file's metadata "
        "`orthoedge.preprocess` says. Outputs: `logits`, `saliency_map`, `feature_vector`, perhaps "
        "`lesion_mask`, with the labels of `orthoedge.labels`.\n\n"
        f"Exceeded limits, which ../report.md explains:\n\n{failed}\n"
    )
