"""Distillation: train a student on the teacher's softened logits and saliency maps.

Hinton, Vinyals and Dean (2015) for the logits; for the maps, the cosine between the two networks'
Grad-CAM++ maps of the teacher's label, which the closed form makes differentiable.
"""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

from orthoedge.benchmarks.metrics.classification import confusion, macro_f1
from orthoedge.compression.distillation.teacher_cache import DistillationBatch, TeacherCache
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.errors import DataError
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import list_sha256
from orthoedge.training.evaluation.by_source import source_auc
from orthoedge.training.loop.precision import training_precision
from orthoedge.training.model.batch_norm import (
    fix_batch_norms,
    release_batch_norms,
    start_running_statistics,
)
from orthoedge.training.model.ensemble import Ensemble, ModelOutput
from orthoedge.training.progress import log_progress, track
from orthoedge.training.recipe import Compress, Recipe
from orthoedge.training.step import NEVER, lesion_loss

RANDOM = "random"
"""In the place of the SHA-256 of a student's first weights: it has none of its own."""


@dataclass(frozen=True)
class Kept:
    """What a student keeps as it learns, as pretrained weights are kept."""

    stages: int
    """First stages of the backbone that keep their weights."""
    norms: bool
    """Batch normalizations keep one set of statistics, and are folded into the convolutions."""


NOTHING = Kept(stages=0, norms=False)
_DAMAGED = RuntimeError, LookupError, EOFError, ValueError, TypeError, OSError, UnpicklingError


def train_student(
    student: Ensemble,
    start: str,
    cache: TeacherCache,
    epochs: int,
    state: Path,
    name: str,
    kept: Kept,
) -> Ensemble:
    """Train a student in place and return it with its best weights by validation macro-F1.

    Args:
        student: one branch; its structure must be the same on every call with this `state`.
        start: SHA-256 of the student's weights, or `RANDOM`.
        cache: images, the teacher's outputs, settings.
        epochs: passes over the training split; 0 returns the student as it is.
        state: file from which a killed run resumes.
        name: of the stage, for progress messages.
        kept: what it does not learn anew.

    Raises:
        DataError: `state` belongs to other settings.
    """
    if epochs == 0:
        return student.eval()
    recipe, settings = cache.recipe, cache.recipe.compress
    torch.set_num_threads(recipe.threads or os.cpu_count() or 1)
    fabric = Fabric(accelerator="cpu", devices=1, precision=training_precision(recipe))  # type: ignore[arg-type]
    student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    first = islice(cache.epoch(1, name), 4)
    student.requires_grad_(True)  # an earlier stage may have frozen some
    if kept.norms:
        fix_batch_norms(student, (batch.images for batch in first))
    student.freeze(kept.stages)
    optimizer = torch.optim.Adam(student.parameters(), lr=settings.lr, fused=True)
    identity = _identity(cache, start, epochs, name, kept)
    done, best, best_weights = _resume(state, student, optimizer, identity)
    if done == 0 and not kept.norms:
        start_running_statistics(student, (batch.images for batch in first))
    started = time.monotonic()
    kind = "AUC" if recipe.source_labels else "macro-F1"
    for epoch in range(done + 1, epochs + 1):
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        student.train()
        total, seen = 0.0, 0
        batches = track(cache.epoch(epoch, name), f"{name} {epoch}/{epochs}", cache.steps)
        for step, batch in enumerate(batches):
            for group in optimizer.param_groups:
                progress = (epoch - 1) * cache.steps + step
                group["lr"] = _rate(settings.lr, progress, epochs * cache.steps)
            with fabric.autocast():
                explained = student.explain(batch.images)
            loss = distillation_loss(explained, batch, settings)
            if recipe.map_weight:
                rows = torch.arange(len(batch.truth))
                shown = explained.saliency_map[rows, batch.truth]
                loss = loss + recipe.map_weight * lesion_loss(shown, batch.lesion)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            count = len(batch.truth)
            total, seen = total + float(loss.detach()) * count, seen + count
        score = _validate(student, cache.val, recipe)
        if score >= best:
            best, best_weights = score, {k: v.clone() for k, v in student.state_dict().items()}
        content = {
            "identity": identity,
            "epoch": epoch,
            "best": best,
            "best_weights": best_weights,
            "student": student.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        _save(state, content)
        remaining = (time.monotonic() - started) / (epoch - done) * (epochs - epoch)
        log_progress(
            f"{name} {epoch}/{epochs}  loss {total / seen:.3f}  {kind} {score:.3f}  "
            f"best {best:.3f}  {remaining / 60:.1f} min left"
        )
    student.load_state_dict(best_weights)
    release_batch_norms(student)
    return student.eval()


def _identity(cache: TeacherCache, start: str, epochs: int, name: str, kept: Kept) -> str:
    """Hash of everything that a saved state depends on, not of the gate or of later cuts."""
    val = list_sha256(cache.val.records)  # selects the best epoch
    compress = msgspec.to_builtins(cache.recipe.compress)
    used = ("views", "lr", "batch", "softening", "soft_weight", "saliency_weight")
    settings = {key: compress[key] for key in used}
    used_too = (settings, start, epochs, name, kept.stages, kept.norms)
    return sha256(json.dumps([cache.identity, val, *used_too]).encode())


def distillation_loss(student: ModelOutput, batch: DistillationBatch, settings: Compress) -> Tensor:
    """Softened logits, true labels and saliency agreement of one batch, with gradients."""
    t, truth = settings.softening, batch.truth
    soft = F.kl_div(
        F.log_softmax(student.logits / t, 1),
        F.log_softmax(batch.logits / t, 1),
        reduction="batchmean",
        log_target=True,
    )
    own = student.logits.masked_fill(~batch.allowed, NEVER)
    # The factor t² keeps the gradient's size independent of t (Hinton et al., section 2).
    loss = settings.soft_weight * t * t * soft
    loss = loss + (1 - settings.soft_weight) * F.cross_entropy(own, truth)
    if settings.saliency_weight > 0:
        rows, label = torch.arange(len(truth)), batch.logits.argmax(1)
        target_map = batch.maps[rows, label].unsqueeze(1)  # (B, 1, h, w)
        student_map = student.saliency_map[rows, label].unsqueeze(1)
        if target_map.shape != student_map.shape:
            target_map = F.interpolate(
                target_map, student_map.shape[2:], mode="bilinear", align_corners=False
            )
        similarity = F.cosine_similarity(
            student_map.flatten(1), target_map.flatten(1), dim=1, eps=1e-6
        )
        loss = loss + settings.saliency_weight * (1 - similarity).mean()
    return loss


def _rate(peak: float, step: int, steps: int) -> float:
    """Half a cosine from `peak` to 0, after a warm-up over the first twentieth."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return peak * (step + 1) / warmup
    return float(peak * 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, steps - warmup))))


@torch.inference_mode()
def logits_of(student: Ensemble, data: RadiographDataset) -> npt.NDArray[np.float32]:
    """Logits (N, C) on N images without augmentation; the student is in evaluation mode after."""
    student.eval()
    return np.concatenate(
        [
            student(torch.from_numpy(data.images[start : start + 64, None])).numpy()
            for start in range(0, len(data), 64)
        ]
    )


def _validate(student: Ensemble, val: RadiographDataset, recipe: Recipe) -> float:
    """Macro-F1 on images without augmentation; with `source_labels`, the AUC within the sources."""
    logits = logits_of(student, val)
    if recipe.source_labels:
        return source_auc(logits, val)
    return macro_f1(confusion(val.labels, logits.argmax(1), len(recipe.labels)))


def _save(state: Path, content: dict[str, Any]) -> None:
    """Write a state, atomically; an OSError of a full disk is raised as it is."""
    # Into memory first: torch reports any fault of a file as a RuntimeError of its own.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomic(state, buffer.getvalue())


def _resume(
    state: Path, student: Ensemble, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[int, float, dict[str, Tensor]]:
    if not state.exists():
        return 0, -1.0, {}
    try:
        content = torch.load(state, weights_only=True)
        if content["identity"] != identity:
            raise DataError(f"{state}: written with other settings; remove {state.parent}")
        student.load_state_dict(content["student"])
        optimizer.load_state_dict(content["optimizer"])
        return content["epoch"], content["best"], content["best_weights"]
    except _DAMAGED as error:
        raise DataError(f"{state}: damaged; remove {state.parent}") from error
