"""Search over students and cuts: each student is distilled, pruned step by step, and quantized."""

from __future__ import annotations

import copy

import msgspec
import torch

from orthoedge.benchmarks.metrics.classification import confusion, macro_f1
from orthoedge.benchmarks.timing.latency import ratio
from orthoedge.compression.candidates import Candidate, make_candidate, time_engines, weights_sha256
from orthoedge.compression.context import CompressionContext
from orthoedge.compression.distillation.stages import distil, initial_student, kept_by
from orthoedge.compression.distillation.train_student import NOTHING
from orthoedge.compression.prune import cut
from orthoedge.compression.report.schema import PruneStep
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.targets import open_model
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.model.batch_norm import restore_statistics
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.flops import count_macs
from orthoedge.training.progress import log_progress
from orthoedge.training.run_folder import read_record

_RANGE_IMAGES = 16  # enough to quantize a network that is only timed


def search_candidates(context: CompressionContext) -> tuple[list[Candidate], list[PruneStep]]:
    """Distil every student of the recipe, and prune it as long as each cut makes it faster.

    Finished work of a killed call is read from the work folder.

    Raises:
        DataError: the initial weights do not fit, or the work folder was left by other settings.
    """
    settings = context.recipe.compress
    candidates: list[Candidate] = []
    trace: list[PruneStep] = []
    for student in settings.students:
        network, start = initial_student(context, student)
        kept = kept_by(context, start)
        stages = settings.crop_epochs, settings.epochs
        network = distil(context, network, start, student, *stages, kept)
        candidates.append(make_candidate(context, student, 0.0, 0, network))
        for step, share in enumerate(settings.prune, 1):
            taken, smaller = prune_and_distil(context, candidates[-1], step, share)
            trace.append(taken)
            if smaller is not None:
                candidates.append(smaller)
    return candidates, trace


def prune_and_distil(
    context: CompressionContext, before: Candidate, step: int, share: float
) -> tuple[PruneStep, Candidate | None]:
    """Cut up to `share` of the whole network's channels; if that is faster, distil again."""
    settings, val = context.recipe.compress, context.splits.val
    whole = copy.deepcopy(before.network)
    # Normalizations that were folded would keep the scales of the channels that go.
    batches = torch.split(torch.from_numpy(context.quantization_images), settings.batch)
    restore_statistics(whole, batches)
    smaller = cut(whole, 1 - (1 - share) / (1 - before.share), context.size)
    taken = _time_cut(context, before, smaller, share)
    if not taken.accepted:
        return taken, None
    name, start = f"{before.student}-{share:.0%}", weights_sha256(before.network)
    # It has to adapt everywhere: on bones a cut by half was at an AUC of 0.64 after five epochs
    # where normalizations were kept, and at 0.77 where not.
    stages = settings.prune_crop_epochs, settings.prune_epochs
    smaller = distil(context, smaller, start, name, *stages, NOTHING)
    candidate = make_candidate(context, before.student, share, step, smaller)
    engine = open_model(candidate.fp32, context.size, context.target, "fp32")
    predicted = run_batched(engine, val.images[:, None]).logits.argmax(1)
    table = confusion(val.labels, predicted, len(context.recipe.labels))
    accuracy = float((predicted == val.labels).mean())
    return msgspec.structs.replace(taken, accuracy=accuracy, macro_f1=macro_f1(table)), candidate


def _time_cut(
    context: CompressionContext, before: Candidate, smaller: Ensemble, share: float
) -> PruneStep:
    """Time a cut on the target in INT8, the precision that ships.

    Fewer channels that leave vector registers half empty cost accuracy and save no time. A resumed
    call reads the earlier decision.
    """
    key = sha256(f"{weights_sha256(before.network)} {share} {context.target}".encode())
    cached = context.work / f"pruning-{key[:32]}.json"
    if cached.is_file():
        return read_record(cached, PruneStep)
    after = make_candidate(context, before.student, share, 0, smaller, _RANGE_IMAGES)
    engines = {
        name: open_model(candidate.int8, context.size, context.target, "int8")
        for name, candidate in (("before", before), ("after", after))
    }
    times = time_engines(engines, context.splits.val.images[:1, None])
    gain = ratio(times["after"], times["before"])
    taken = PruneStep(
        student=before.student,
        share=share,
        macs_before=count_macs(before.network, context.size)[0],
        macs=count_macs(smaller, context.size)[0],
        p50_before=times["before"].p50,
        p50_after=times["after"].p50,
        ratio=gain.p50,
        ratio_low=gain.low,
        ratio_high=gain.high,
        accepted=gain.p50 < 1,
        accuracy=None,
        macro_f1=None,
    )
    log_progress(
        f"{before.student}: cutting {share:.0%} of the channels, "
        f"{taken.macs_before / 1e6:.1f} -> {taken.macs / 1e6:.1f} M MACs, "
        f"{taken.p50_before:.3f} -> {taken.p50_after:.3f} ms on {context.target}: "
        + ("accepted" if taken.accepted else "not faster, rejected")
    )
    write_atomic(cached, msgspec.json.encode(taken))
    return taken
