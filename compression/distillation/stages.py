"""The stages of distilling one student: initial weights, crops around lesions, whole images."""

from __future__ import annotations

import copy

import torch

from orthoedge.compression.context import CompressionContext
from orthoedge.compression.distillation.train_student import (
    NOTHING,
    RANDOM,
    Kept,
    logits_of,
    train_student,
)
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.hub import weights_files
from orthoedge.training.model.label_offsets import add_label_offsets, fit_label_offsets
from orthoedge.training.model.weights import load_weights
from orthoedge.training.progress import log_progress


def initial_student(context: CompressionContext, student: str) -> tuple[Ensemble, str]:
    """Build a student by its timm name; return it with the SHA-256 of its weights, or `RANDOM`.

    Raises:
        DataError: the weights do not fit the student.
    """
    recipe, run = context.recipe, context.run
    torch.manual_seed(recipe.seed)
    network = Ensemble(
        (student,), len(recipe.labels), head=recipe.head, output_stride=recipe.output_stride
    )
    if recipe.mask.stride and run.model.names == (student,):
        network.add_decoder(recipe.mask.stride, recipe.mask.channels)
    network.region = copy.deepcopy(run.model.region)
    weights = context.sources.weights
    if weights is not None and weights.is_dir():
        weights = weights / f"{student}.safetensors"
        weights = weights if weights.is_file() else None
    if weights is not None:
        (file,) = weights_files((weights,), (student,))
        report = load_weights(network, file)
        log_progress(report.line())
        if any(name.startswith("decoder.") for name in report.missed):
            drop_decoder(network, "the weights that the student starts from have none")
        return network, report.sha256
    if run.model.names == (student,):
        network.load_state_dict(run.model.state_dict())
        log_progress(f"{student} is the teacher's own network and starts from its weights")
        return network, run.sha256
    log_progress(f"{student} starts from random weights")
    return network, RANDOM


def drop_decoder(network: Ensemble, why: str) -> None:
    """Remove a decoder of masks that does not fit the features, in place, and say so."""
    if network.decoder is not None:
        network.decoder = None
        log_progress(f"no decoder of lesion masks: {why}")


def kept_by(context: CompressionContext, start: str) -> Kept:
    """What a new student keeps of the weights that it starts from: nothing of random ones."""
    recipe = context.recipe
    if start == RANDOM:  # folded at its start, a network is not normalized and hardly learns
        return NOTHING
    return Kept(recipe.frozen_stages, recipe.batch_norm == "fixed")


def distil(
    context: CompressionContext,
    student: Ensemble,
    start: str,
    name: str,
    crop_epochs: int,
    epochs: int,
    kept: Kept,
) -> Ensemble:
    """Distil the teacher into a student, in place. A killed call resumes after its last epoch.

    Crops come first: from random weights a network takes very long to find a lesion that fills a
    tenth of a whole image. Where the recipe has `source_labels`, the logits of a trained student
    get offsets at the end, from the validation split.

    `start` is the SHA-256 of the student's weights, or `RANDOM`; `name` is that of the stage and of
    the files that keep its state. `kept` is what it does not learn anew.

    Raises:
        DataError: the work folder was left by other settings.
    """
    stages = (("crops", context.crops, crop_epochs), ("whole", context.whole, epochs))
    if crop_epochs or epochs:
        drop_decoder(student, "the features that it reads are trained further")
    for kind, cache, count in stages:
        if cache is not None:
            state = context.work / f"{name}-{kind}.pt"
            stage = f"{name} {kind}"
            student = train_student(student, start, cache, count, state, stage, kept)
    if context.recipe.source_labels and (crop_epochs or epochs):
        val = context.splits.val
        add_label_offsets(student, fit_label_offsets(logits_of(student, val), val.labels))
    return student
