"""The last step: golden answers, manifest, card, bundle."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from orthoedge.compression.bundle_writer import write_bundle
from orthoedge.compression.data_splits import kind_of_data
from orthoedge.compression.evaluation.engine_agreement import EngineAgreement
from orthoedge.compression.evaluation.evaluator import Judge, Judged
from orthoedge.compression.export import OPSET
from orthoedge.compression.gate import Check
from orthoedge.compression.quantization.accuracy_recovery import Hardened
from orthoedge.compression.quantization.fp16 import half_answers, to_half
from orthoedge.compression.quantization.int8 import RECIPE as INT8_RECIPE
from orthoedge.compression.report.model_card import model_card
from orthoedge.compression.search import Search
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.bundles.manifest import SCHEMA, Golden, Graph, Lineage, Manifest, Tolerance
from orthoedge.runtime.engine import PRECISIONS, Outputs, Precision
from orthoedge.runtime.errors import ModelError
from orthoedge.targets import open_model
from orthoedge.targets.verification import deviation
from orthoedge.training.data.index import list_sha256
from orthoedge.training.model.flops import count_macs
from orthoedge.training.progress import log_progress

_GOLDEN_IMAGES = 8
# Engines sum in different orders, INT8 rounds what they sum, and half precision may round the sums:
# these are the least the golden test allows, in standard deviations; what two engines were seen to
# differ by, doubled, if more.
_LEAST_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 0.02, "int8": 0.02}
_LARGEST_HALF_ERROR = 0.05  # of the logits, in the same unit: rounding alone costs thousandths
_INTENDED_USE = {
    "phantoms": "Phantom demonstration: trained on rendered phantoms only, so it says nothing "
    "about a patient.",
    "radiographs": "For research and engineering: not validated for any diagnosis.",
}
_PHANTOM_LICENCE = "rendered by orthoedge, Apache-2.0"


def ship(
    out: Path,
    search: Search,
    judge: Judge,
    hardened: Hardened,
    judged: dict[Precision, Judged],
    checks: Sequence[Check],
    agreement: Sequence[EngineAgreement],
    data_licence: str,
    announce: Callable[[], None],
) -> Bundle:
    """Write what passed the gate as a bundle.

    Args:
        out: bundle folder.
        search: the run, its recipe, and the images behind the INT8 ranges.
        judge: the parts and the teacher.
        hardened: the student.
        judged: both precisions, on the test part.
        checks: the gate's lines.
        agreement: of engines.
        data_licence: for the manifest; ignored for phantoms.
        announce: called when the bundle is whole, right before it appears.

    Raises:
        BundleError: `out` exists, or what was written does not read back.
    """
    recipe, parts, trial = search.recipe, judge.parts, hardened.trial
    models: dict[Precision, bytes] = {"fp32": trial.fp32, "int8": trial.int8}
    images = parts.test.images[_spread(parts.test.labels, _GOLDEN_IMAGES), None]
    golden, tolerance = _golden(models, recipe.preprocess.size, images, judged)
    add_half(models, tolerance, images, golden["fp32"])
    macs, parameters = count_macs(trial.network, recipe.preprocess.size)
    studies = parts.train.records
    data = kind_of_data(parts.train)
    version = importlib.metadata.version("orthoedge")
    tuned = f", {recipe.compress.qat_epochs} epochs of fine-tuning" if hardened.tuned else ""
    shape = golden["fp32"]
    manifest = Manifest(
        schema=SCHEMA,
        name=f"{recipe.name}-{trial.student}",
        version=version,
        labels=recipe.labels,
        alert_labels=recipe.compress.alert_labels,
        preprocess=recipe.preprocess,
        graph=Graph(
            size=recipe.preprocess.size,
            classes=len(recipe.labels),
            features=shape.feature_vector.shape[1],
            map_height=shape.saliency_map.shape[2],
            map_width=shape.saliency_map.shape[3],
            opset=OPSET,
        ),
        files={},
        calibration={p: judge.calibration(models[p], p) for p in PRECISIONS},
        metrics={precision: part.metrics for precision, part in judged.items()},
        golden=Golden(images=len(images), tolerance=tolerance),
        lineage=Lineage(
            recipe=recipe.name,
            teacher=search.run.model.names,
            teacher_fusion=tuple(float(w) for w in search.run.model.fusion().detach()),
            teacher_sha256=search.run.sha256,
            teacher_metrics=judge.judge_teacher("test").metrics,
            student=trial.student,
            pruned_channels=trial.share,
            macs=macs,
            parameters=parameters,
            int8=f"{INT8_RECIPE}, {len(search.ranges)} images{tuned}",
            float_layers=hardened.retreat.layers if hardened.retreat else (),
            training_list_sha256=search.run.info.training_list_sha256,
            range_list_sha256=list_sha256(studies[i] for i in search.range_indices),
            calibration_list_sha256=list_sha256(parts.calibration.records),
            test_list_sha256=list_sha256(parts.test.records),
            package_version=version,
        ),
        data=data,
        data_licence=_PHANTOM_LICENCE if data == "phantoms" else data_licence,
        intended_use=_INTENDED_USE[data],
    )
    card = model_card(manifest, [str(line) for line in checks], [str(line) for line in agreement])
    return write_bundle(out, manifest, models, images, golden, card, announce)


def _golden(
    models: dict[Precision, bytes],
    size: int,
    images: npt.NDArray[np.uint8],
    judged: dict[Precision, Judged],
) -> tuple[dict[Precision, Outputs], dict[Precision, Tolerance]]:
    """Expected answers from the reference engine, and how far another may be from them."""
    expected: dict[Precision, Outputs] = {}
    tolerance: dict[Precision, Tolerance] = {}
    for precision in PRECISIONS:
        reference = open_model(models[precision], size, "portable", precision).run(images)
        other = judged[precision].engine.run(images)
        expected[precision] = reference
        tolerance[precision] = _tolerance(precision, other, reference)
    return expected, tolerance


def add_half(
    models: dict[Precision, bytes],
    tolerance: dict[Precision, Tolerance],
    images: npt.NDArray[np.uint8],
    expected: Outputs,
) -> None:
    """Add fp16, in place, or say why there is none: the bundle is whole without it.

    Args:
        models: with fp32.
        tolerance: how far an engine may be from the golden answers.
        images: the golden images, uint8 (n, 1, S, S).
        expected: fp32's golden answers.
    """
    try:
        model = to_half(models["fp32"])
        found = half_answers(model, images)
    except ModelError as error:
        log_progress(f"no model.fp16.onnx: {error}")
        return
    off = deviation(found.logits, expected.logits)
    if not off <= _LARGEST_HALF_ERROR:
        log_progress(f"no model.fp16.onnx: its logits are off by {off:.2g} of their deviation")
        return
    models["fp16"], tolerance["fp16"] = model, _tolerance("fp16", found, expected)


def _tolerance(precision: Precision, other: Outputs, reference: Outputs) -> Tolerance:
    least = _LEAST_TOLERANCE[precision]
    return Tolerance(
        logits=max(least, 2 * deviation(other.logits, reference.logits)),
        saliency_map=max(least, 2 * deviation(other.saliency_map, reference.saliency_map)),
        feature_vector=max(least, 2 * deviation(other.feature_vector, reference.feature_vector)),
    )


def _spread(labels: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Indices of the first images, class after class in turn."""
    turns = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    picked = [own[i] for i in range(count) for own in turns if i < len(own)]
    return np.array(picked[:count])
