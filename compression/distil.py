"""Distillation: the student learns the teacher's softened logits and where the teacher looks.

Hinton, Vinyals and Dean (2015) for the logits; for the maps, the cosine between the two networks'
Grad-CAM++ maps of the teacher's label, which the closed form makes differentiable.
"""

from __future__ import annotations

import io
import json
import os
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import msgspec
import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F
from tqdm import tqdm

from orthoedge.benchmarks.metrics import confusion, macro_f1
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.files import sha256, write_atomic
from orthoedge.training.data.batches import batches, steps_per_epoch
from orthoedge.training.data.radiographs import Radiographs
from orthoedge.training.ensemble import Ensemble, Explained
from orthoedge.training.hardware import training_precision
from orthoedge.training.norms import start_running_statistics
from orthoedge.training.recipe import Compress, Recipe


@dataclass(frozen=True)
class Teaching:
    """What distillation needs beside the student."""

    teacher: Engine
    """The float32 ensemble, exported and running in an engine."""
    train: Radiographs
    val: Radiographs
    recipe: Recipe
    origin: str
    """SHA-256 of the teacher's weights and of those that the student starts from."""

    def identity(self, epochs: int, name: str) -> str:
        """Hash of all that a state kept on disk depends on; the gate and the cut are not of it."""
        compress = msgspec.to_builtins(self.recipe.compress)
        used = ("student", "crop", "lr", "batch", "softening", "soft_weight", "saliency_weight")
        recipe = msgspec.to_builtins(self.recipe) | {
            "compress": {key: compress[key] for key in used}
        }
        return sha256(json.dumps([recipe, self.origin, epochs, name]).encode())


def distil(student: Ensemble, teaching: Teaching, epochs: int, state: Path, name: str) -> Ensemble:
    """Train a student in place and return it with its best weights by validation macro-F1.

    Args:
        student: one branch; its structure must be the same on every call with this `state`.
        teaching: teacher, data, settings.
        epochs: passes over the training images.
        state: file that keeps what a killed run continues from.
        name: of the stage, for the progress lines.

    Raises:
        DataError: `state` belongs to other settings.
    """
    settings = teaching.recipe.compress
    torch.set_num_threads(teaching.recipe.threads or os.cpu_count() or 1)
    fabric = Fabric(accelerator="cpu", devices=1, precision=training_precision(teaching.recipe))  # type: ignore[arg-type]
    student = student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(student.parameters(), lr=settings.lr, fused=True)
    identity = teaching.identity(epochs, name)
    done, best, best_weights = _resume(state, student, optimizer, identity)
    recipe = msgspec.structs.replace(teaching.recipe, batch=settings.batch)
    if done == 0:
        first = islice(batches(teaching.train, recipe, 0), 4)
        start_running_statistics(student, (images for images, _ in first))
    steps = steps_per_epoch(len(teaching.train), settings.batch)
    started = time.monotonic()
    for epoch in range(done + 1, epochs + 1):
        torch.manual_seed(recipe.seed * 1_000_003 + epoch)
        student.train()
        total, seen = 0.0, 0
        bar = tqdm(
            batches(teaching.train, recipe, epoch),
            f"{name} {epoch}/{epochs}",
            steps,
            unit="batch",
            disable=not sys.stderr.isatty(),
            leave=False,
        )
        for step, (images, truth) in enumerate(bar):
            for group in optimizer.param_groups:
                group["lr"] = _rate(settings.lr, (epoch - 1) * steps + step, epochs * steps)
            outputs = teaching.teacher.run(images.numpy())
            taught = torch.from_numpy(outputs.logits), torch.from_numpy(outputs.saliency_map)
            with fabric.autocast():
                explained = student.explain(images)
            loss = distillation_loss(explained, *taught, truth, settings)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total, seen = total + float(loss.detach()) * len(truth), seen + len(truth)
        score = _validate(student, teaching.val, len(recipe.labels))
        if score >= best:
            best, best_weights = score, {k: v.clone() for k, v in student.state_dict().items()}
        _save(state, student, optimizer, identity, epoch, best, best_weights)
        left = (time.monotonic() - started) / (epoch - done) * (epochs - epoch)
        print(
            f"{name} {epoch}/{epochs}  loss {total / seen:.3f}  macro-F1 {score:.3f}  "
            f"best {best:.3f}  {left / 60:.1f} min left",
            file=sys.stderr,
            flush=True,
        )
    student.load_state_dict(best_weights)
    return student.eval()


def distillation_loss(
    student: Explained,
    teacher_logits: Tensor,
    teacher_maps: Tensor,
    truth: Tensor,
    settings: Compress,
) -> Tensor:
    """Softened logits, true labels and saliency agreement of one batch.

    Args:
        student: with gradients.
        teacher_logits: float32 (B, C).
        teacher_maps: float32 (B, C, h, w).
        truth: int64 (B,).
        settings: the weights of the terms.
    """
    t = settings.softening
    soft = F.kl_div(
        F.log_softmax(student.logits / t, 1),
        F.log_softmax(teacher_logits / t, 1),
        reduction="batchmean",
        log_target=True,
    )
    # The factor t² keeps the gradient's size independent of t (Hinton et al., section 2).
    loss = settings.soft_weight * t * t * soft
    loss = loss + (1 - settings.soft_weight) * F.cross_entropy(student.logits, truth)
    if settings.saliency_weight > 0:
        rows, label = torch.arange(len(truth)), teacher_logits.argmax(1)
        wanted = teacher_maps[rows, label].unsqueeze(1)  # (B, 1, h, w)
        got = student.saliency_map[rows, label].unsqueeze(1)
        if wanted.shape != got.shape:
            wanted = F.interpolate(wanted, got.shape[2:], mode="bilinear", align_corners=False)
        agreement = F.cosine_similarity(got.flatten(1), wanted.flatten(1), dim=1, eps=1e-6)
        loss = loss + settings.saliency_weight * (1 - agreement).mean()
    return loss


def _rate(peak: float, step: int, steps: int) -> float:
    """Half a cosine from `peak` to 0, after a warm-up over the first twentieth."""
    warmup = max(1, steps // 20)
    if step < warmup:
        return peak * (step + 1) / warmup
    return float(peak * 0.5 * (1 + np.cos(np.pi * (step - warmup) / max(1, steps - warmup))))


@torch.inference_mode()
def _validate(student: Ensemble, val: Radiographs, classes: int) -> float:
    student.eval()
    chosen = [
        student(torch.from_numpy(val.images[start : start + 64, None])).argmax(1).numpy()
        for start in range(0, len(val), 64)
    ]
    return macro_f1(confusion(val.labels, np.concatenate(chosen), classes))


def _save(
    state: Path,
    student: Ensemble,
    optimizer: torch.optim.Optimizer,
    identity: str,
    epoch: int,
    best: float,
    best_weights: dict[str, Tensor],
) -> None:
    buffer = io.BytesIO()
    content = {
        "identity": identity,
        "epoch": epoch,
        "best": best,
        "best_weights": best_weights,
        "student": student.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    torch.save(content, buffer)
    write_atomic(state, buffer.getvalue())


def _resume(
    state: Path, student: Ensemble, optimizer: torch.optim.Optimizer, identity: str
) -> tuple[int, float, dict[str, Tensor]]:
    if not state.exists():
        return 0, -1.0, {}
    content = torch.load(state, weights_only=True)
    if content["identity"] != identity:
        raise DataError(f"{state}: left by a run with other settings; remove {state.parent}")
    student.load_state_dict(content["student"])
    optimizer.load_state_dict(content["optimizer"])
    return content["epoch"], content["best"], content["best_weights"]
