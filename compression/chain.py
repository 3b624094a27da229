"""The whole chain: a trained run in, a bundle out, or the reason why not."""

from __future__ import annotations

import importlib.metadata
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.latency import interleaved, ratio
from orthoedge.compression.bundle import check_free, write_bundle
from orthoedge.compression.calibrate import calibrate, fit_temperature
from orthoedge.compression.card import model_card
from orthoedge.compression.distil import Teaching, distil
from orthoedge.compression.evaluate import measure, run_all
from orthoedge.compression.export import OPSET, export
from orthoedge.compression.gate import Check, gate, saliency_cosine
from orthoedge.compression.int8 import RECIPE as INT8_RECIPE
from orthoedge.compression.int8 import quantize
from orthoedge.compression.prune import check_prunable, cut
from orthoedge.runtime.bundles import Bundle
from orthoedge.runtime.engine import PRECISIONS, Engine, Outputs, Precision
from orthoedge.runtime.errors import GateFailed
from orthoedge.runtime.files import write_atomic
from orthoedge.runtime.manifest import (
    SCHEMA,
    Calibration,
    Golden,
    Graph,
    Lineage,
    Manifest,
    Metrics,
    Tolerance,
)
from orthoedge.targets import open_model
from orthoedge.targets.parity import deviation
from orthoedge.training.cost import count_macs
from orthoedge.training.data.radiographs import Radiographs
from orthoedge.training.data.studies import list_sha256
from orthoedge.training.ensemble import Ensemble
from orthoedge.training.recipe import Recipe
from orthoedge.training.run import Run
from orthoedge.training.weights import load_weights

_GOLDEN_IMAGES = 8
_LATENCY_ROUNDS = 60
# Engines sum in different orders, and INT8 rounds what they sum: these are the least the golden
# test allows, in standard deviations; what two engines were seen to differ by, doubled, if more.
_LEAST_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "int8": 0.02}
_FEATURE_IMAGES = 1000
_PHANTOM_USE = (
    "Phantom demonstration: trained on rendered phantoms only, so it says nothing about a patient."
)
_RADIOGRAPH_USE = "For research and engineering: not validated for any diagnosis."


@dataclass(frozen=True)
class Compressed:
    """One precision of the student, measured."""

    engine: Engine
    calibration: Calibration
    metrics: Metrics
    test: Outputs


def compress(
    run: Run,
    recipe: Recipe,
    out: Path,
    target: str,
    data_licence: str,
    weights: Path | None = None,
    cache: Path | None = None,
) -> Bundle:
    """Distil, prune, export, quantize, calibrate, gate and bundle.

    What a killed call has finished is kept in `<out>.work` and used again by the next.

    Args:
        run: the teacher, with its split.
        recipe: the run's, with any overrides of `compress`.
        out: bundle folder; must not exist.
        target: whose measured latency decides about pruning, and whose engine calibrates.
        data_licence: licence of the data, for the manifest; ignored for phantoms.
        weights: safetensors that the student starts from. None: the teacher's own weights where
            the teacher is that very network, random ones elsewhere.
        cache: folder that keeps preprocessed images, as training's; None: memory alone.

    Raises:
        RecipeError: the student cannot be pruned.
        DataError: `weights` do not fit, or `<out>.work` was left by other settings.
        GateFailed: the student lost more than the recipe allows; `<out>.work/gate.json` says what.
        BundleError: `out` exists.
    """
    check_free(out)
    # A run on crops teaches on whole squares all the same: it is exported for them.
    whole = msgspec.structs.replace(recipe.augment, crop=0)
    recipe = msgspec.structs.replace(recipe, augment=whole)
    check_prunable(recipe.compress.student, recipe.compress.prune_ratio)
    work = out.with_name(f"{out.name}.work")
    work.mkdir(parents=True, exist_ok=True)
    labels, size = recipe.labels, recipe.preprocess.size
    parts = [
        Radiographs(part, labels, recipe.preprocess, cache=cache)
        for part in (run.split.train, run.split.val, run.split.test)
    ]
    train, val, test = parts
    teacher_model = export(run.model, labels, recipe.preprocess)
    teacher = open_model(teacher_model, size, target, "fp32")
    _say(f"teacher {' + '.join(run.model.names)}: {len(train)} training images at {size} px")

    student, start = _start(run, recipe, weights)
    teaching = Teaching(teacher, train, val, recipe, f"{run.sha256} {start}")
    student, pruned = _student(student, run, teaching, target, work)
    macs, parameters = count_macs(student, size)
    _say(f"student {recipe.compress.student}: {macs / 1e6:.1f} M MACs, {parameters:,} parameters")

    fp32 = export(student, labels, recipe.preprocess)
    sample = _balanced(train, recipe.compress.calibration_images, recipe.seed)
    _say(f"quantizing on {len(sample)} training images")
    models: dict[Precision, bytes] = {
        "fp32": fp32,
        "int8": quantize(fp32, train.images[sample, None]),
    }
    taught = run_all(teacher, test.images[:, None])
    temperature = fit_temperature(run_all(teacher, val.images[:, None]).logits, val.labels)
    teacher_metrics = measure(taught, taught, test.labels, test.boxes, labels, temperature)
    done = {
        precision: _measure_precision(
            models[precision], precision, target, parts, taught, recipe, labels
        )
        for precision in PRECISIONS
    }
    checks = _gate(recipe, teacher_metrics, taught, done)
    for line in checks:
        _say(str(line))
    write_atomic(work / "gate.json", msgspec.json.format(msgspec.json.encode(checks), indent=1))
    if failed := [line for line in checks if not line.passed]:
        raise GateFailed(
            f"{len(failed)} of {len(checks)} limits of the gate are not kept, first: {failed[0]}; "
            f"no bundle was written, see {work / 'gate.json'}"
        )
    golden_images = test.images[_spread(test.labels, _GOLDEN_IMAGES), None]
    golden, tolerance = _golden(models, size, golden_images, done)
    phantoms = all(study.source == "phantom" for study in train.studies)
    first = done["fp32"].test
    manifest = Manifest(
        schema=SCHEMA,
        name=f"{recipe.name}-{recipe.compress.student}",
        version=importlib.metadata.version("orthoedge"),
        labels=labels,
        alert_labels=recipe.compress.alert_labels,
        preprocess=recipe.preprocess,
        graph=Graph(
            size=size,
            classes=len(labels),
            features=first.feature_vector.shape[1],
            map_height=first.saliency_map.shape[2],
            map_width=first.saliency_map.shape[3],
            opset=OPSET,
        ),
        files={},
        calibration={precision: part.calibration for precision, part in done.items()},
        metrics={precision: part.metrics for precision, part in done.items()},
        golden=Golden(images=len(golden_images), tolerance=tolerance),
        lineage=Lineage(
            recipe=recipe.name,
            teacher=run.model.names,
            teacher_fusion=tuple(float(w) for w in run.model.fusion().detach()),
            teacher_sha256=run.sha256,
            teacher_macro_f1=teacher_metrics.macro_f1,
            student=recipe.compress.student,
            pruned_channels=pruned,
            macs=macs,
            parameters=parameters,
            int8=f"{INT8_RECIPE}, {len(sample)} images",
            training_list_sha256=run.report.training_list_sha256,
            calibration_list_sha256=list_sha256(train.studies[i] for i in sample),
            package_version=importlib.metadata.version("orthoedge"),
        ),
        data="phantoms" if phantoms else "radiographs",
        data_licence="rendered by orthoedge, Apache-2.0" if phantoms else data_licence,
        intended_use=_PHANTOM_USE if phantoms else _RADIOGRAPH_USE,
    )
    card = model_card(manifest, [str(line) for line in checks])
    bundle = write_bundle(out, manifest, models, golden_images, golden, card)
    shutil.rmtree(work)
    return bundle


def _start(run: Run, recipe: Recipe, weights: Path | None) -> tuple[Ensemble, str]:
    """The student before its first step, and what it starts from: a SHA-256, or `random`."""
    name = recipe.compress.student
    student = Ensemble((name,), len(recipe.labels), head=recipe.head)
    if weights is not None:
        report = load_weights(student, weights)
        _say(report.line())
        return student, report.sha256
    if run.model.names == (name,):
        student.load_state_dict(run.model.state_dict())
        _say(f"student {name} is the teacher's own network and starts from its weights")
        return student, run.sha256
    return student, "random"


def _student(
    student: Ensemble, run: Run, teaching: Teaching, target: str, work: Path
) -> tuple[Ensemble, float]:
    """The distilled student, and the share of its channels that was cut."""
    recipe = teaching.recipe
    settings, size = recipe.compress, recipe.preprocess.size
    if settings.crop_epochs > 0:
        crops = _crops(run, teaching, target)
        student = distil(student, crops, settings.crop_epochs, work / "crops.pt", "crops")
    student = distil(student, teaching, settings.epochs, work / "distil.pt", "distil")
    if settings.prune_ratio == 0:
        return student, 0.0
    smaller = cut(student, settings.prune_ratio, size)
    recovering = work / "recover.pt"
    if not recovering.exists():  # a resumed call has already decided
        before, after = (
            open_model(export(model, recipe.labels, recipe.preprocess), size, target, "fp32")
            for model in (student, smaller)
        )
        image = teaching.val.images[:1, None]
        times = interleaved(
            {"before": lambda: before.run(image), "after": lambda: after.run(image)},
            rounds=_LATENCY_ROUNDS,
            warmup=10,
        )
        gain = ratio(times["after"], times["before"])
        _say(
            f"pruning {settings.prune_ratio:.0%} of the channels: p50 {times['before'].p50:.2f} -> "
            f"{times['after'].p50:.2f} ms on {target}, ratio {gain.p50:.2f}"
        )
        if gain.p50 >= 1:
            _say("the cut does not make it faster and is not kept")
            return student, 0.0
    if settings.prune_epochs > 0:
        stage = f"recover {settings.prune_ratio:g}"
        smaller = distil(smaller, teaching, settings.prune_epochs, recovering, stage)
    return smaller, settings.prune_ratio


def _crops(run: Run, teaching: Teaching, target: str) -> Teaching:
    """The same teaching on crops around the lesions."""
    recipe = teaching.recipe
    side = recipe.compress.crop
    square = msgspec.structs.replace(recipe.preprocess, size=side)
    cropping = msgspec.structs.replace(recipe.augment, crop=side)
    return Teaching(
        teacher=open_model(export(run.model, recipe.labels, square), side, target, "fp32"),
        train=teaching.train,
        val=teaching.val.cropped(side, recipe.seed),
        recipe=msgspec.structs.replace(recipe, augment=cropping),
        origin=teaching.origin,
    )


def _measure_precision(
    model: bytes,
    precision: Precision,
    target: str,
    parts: list[Radiographs],
    taught: Outputs,
    recipe: Recipe,
    labels: tuple[str, ...],
) -> Compressed:
    train, val, test = parts
    engine = open_model(model, recipe.preprocess.size, target, precision)
    features = _balanced(train, _FEATURE_IMAGES, recipe.seed)
    calibration = calibrate(
        run_all(engine, val.images[:, None]),
        val.labels,
        labels,
        run_all(engine, train.images[features, None]).feature_vector,
    )
    outputs = run_all(engine, test.images[:, None])
    metrics = measure(outputs, taught, test.labels, test.boxes, labels, calibration.temperature)
    return Compressed(engine, calibration, metrics, outputs)


def _gate(
    recipe: Recipe, teacher: Metrics, taught: Outputs, done: dict[Precision, Compressed]
) -> list[Check]:
    limits = recipe.compress.gate
    checks = []
    for precision, part in done.items():
        checks += gate(
            limits,
            recipe.compress.alert_labels,
            teacher,
            part.metrics,
            precision,
            saliency_cosine(part.test, taught),
        )
    same = done["int8"].test.logits.argmax(axis=1) == done["fp32"].test.logits.argmax(axis=1)
    checks.append(
        Check("int8", "agreement with fp32", float(same.mean()), limits.min_agreement, False)
    )
    return checks


def _golden(
    models: dict[Precision, bytes],
    size: int,
    images: npt.NDArray[np.uint8],
    done: dict[Precision, Compressed],
) -> tuple[dict[Precision, Outputs], dict[Precision, Tolerance]]:
    """Expected answers from the reference engine, and how far another may be from them."""
    expected: dict[Precision, Outputs] = {}
    tolerance: dict[Precision, Tolerance] = {}
    for precision, model in models.items():
        reference = open_model(model, size, "portable", precision).run(images)
        other = done[precision].engine.run(images)
        least = _LEAST_TOLERANCE[precision]
        expected[precision] = reference
        tolerance[precision] = Tolerance(
            logits=max(least, 2 * deviation(other.logits, reference.logits)),
            saliency_map=max(least, 2 * deviation(other.saliency_map, reference.saliency_map)),
            feature_vector=max(
                least, 2 * deviation(other.feature_vector, reference.feature_vector)
            ),
        )
    return expected, tolerance


def _balanced(data: Radiographs, count: int, seed: int) -> npt.NDArray[np.int64]:
    """Indices of up to `count` images, as evenly over the classes as they allow."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(data))
    turn = np.empty(len(data), np.int64)  # how many of its class stand before an image
    for label in np.unique(data.labels):
        own = shuffled[data.labels[shuffled] == label]
        turn[own] = np.arange(len(own))
    return np.sort(shuffled[np.argsort(turn[shuffled], kind="stable")][:count])


def _spread(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Indices of the first images, class after class in turn."""
    turns = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    picked = [own[i] for i in range(count) for own in turns if i < len(own)]
    return np.array(picked[:count])


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
