"""The last step of the chain: golden outputs, manifest, model card and bundle.

Golden outputs come from ONNX Runtime, the reference engine, so that OpenVINO is checked against
another engine and not against itself. Their tolerances are per tensor: INT8 kernels of two engines
differ more in the map than in the logits, and one limit for all would be too loose for the logits
to reveal a change of 5 %.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from orthoedge.compression.bundle_writer import write_bundle
from orthoedge.compression.context import CompressionContext
from orthoedge.compression.data_splits import Splits
from orthoedge.compression.evaluation.evaluator import TestResults
from orthoedge.compression.quantization.accuracy_recovery import Recovered
from orthoedge.compression.quantization.fp16 import fp16_outputs, to_fp16
from orthoedge.compression.quantization.int8 import RECIPE as INT8_RECIPE
from orthoedge.compression.quantization.onnx_rules import OPSET
from orthoedge.compression.report.model_card import model_card
from orthoedge.runtime.bundles.bundle import Bundle, model_file
from orthoedge.runtime.bundles.manifest import (
    Golden,
    Graph,
    Lineage,
    Manifest,
    Tolerance,
    schema_of,
)
from orthoedge.runtime.engine import ModelKey, Outputs
from orthoedge.runtime.errors import ModelError
from orthoedge.runtime.preprocess import Pixels, Preprocess
from orthoedge.runtime.settings import plain
from orthoedge.targets import open_model
from orthoedge.targets.verification import deviation
from orthoedge.training.data.index import list_sha256
from orthoedge.training.model.flops import count_macs
from orthoedge.training.phantoms.render import render
from orthoedge.training.progress import log_progress

_GOLDEN_IMAGES = 8
_GOLDEN_SEED = 8  # of phantoms in place of radiographs
# Engines sum in different orders, INT8 rounds the operands, and half precision may round the sums.
# Tolerances are in standard deviations: these minimums, or four times the deviation between two
# engines if that is more. It is taken on one processor: with the same file, the map deviated by 0.6
# on one with AMX and by 1.4 on one with AVX-512 VNNI.
_MARGIN = 4
_MIN_TOLERANCE: dict[ModelKey, float] = {
    "fp32": 1e-3,
    "fp16": 0.02,
    "int8": 0.02,
    "int8_cpu": 0.02,
}
_MAX_FP16_ERROR = 0.05  # of the logits, in the same unit: rounding alone costs thousandths
_INTENDED_USE = {
    "phantoms": "Phantom demonstration: trained on rendered phantoms only, so it says nothing "
    "about a patient.",
    "radiographs": "Research only: trained on radiographs and not validated for any diagnosis. It "
    "must not guide the care of a patient.",
}
_PHANTOM_LICENCE = "rendered by orthoedge, Apache-2.0"
_LICENCES = {"phantoms": "Apache-2.0", "radiographs": "not stated"}
"""Of a bundle whose maker states none; terms of radiographs may bind what is made of them."""


def build_bundle(
    context: CompressionContext,
    out: Path,
    recovered: Recovered,
    int8_cpu: bytes,
    results: TestResults,
    announce: Callable[[], None],
) -> Bundle:
    """Write a student that passed the gate as a bundle.

    `announce` is called when the bundle is complete, just before it appears at `out`.

    Raises:
        BundleError: `out` exists, or the written bundle does not read back.
    """
    recipe, splits, student = context.recipe, context.splits, recovered.candidate
    models: dict[ModelKey, bytes] = {"fp32": student.fp32, "int8": student.int8}
    if results.cpu_targets:
        models["int8_cpu"] = int8_cpu
    images = _golden_images(splits, recipe.preprocess)
    golden: dict[ModelKey, Outputs] = {}
    tolerance: dict[ModelKey, Tolerance] = {}
    for key, evaluation in results.evaluations.items():
        precision = evaluation.engine.precision
        golden[key] = open_model(models[key], context.size, "portable", precision).run(images)
        tolerance[key] = _tolerance(key, evaluation.engine.run(images), golden[key])
    add_fp16(models, tolerance, images, golden["fp32"])
    macs, parameters = count_macs(student.network, context.size)
    records = splits.train.records
    version = importlib.metadata.version("orthoedge")
    qat = f", {recipe.compress.qat_epochs} epochs of fine-tuning" if recovered.qat else ""
    shape = golden["fp32"]
    manifest = Manifest(
        schema=schema_of(results.cpu_targets),
        name=f"{recipe.name}-{student.student}",
        version=version,
        labels=recipe.labels,
        alert_labels=recipe.compress.alert_labels,
        preprocess=recipe.preprocess,
        graph=Graph(
            size=context.size,
            classes=len(recipe.labels),
            features=shape.feature_vector.shape[1],
            map_height=shape.saliency_map.shape[2],
            map_width=shape.saliency_map.shape[3],
            mask_height=0 if shape.lesion_mask is None else shape.lesion_mask.shape[2],
            mask_width=0 if shape.lesion_mask is None else shape.lesion_mask.shape[3],
            opset=OPSET,
            region_size=0 if recipe.region is None else recipe.region.size,
        ),
        files={},
        int8_cpu=results.cpu_targets,
        calibration=results.calibrations,
        metrics={key: evaluation.metrics for key, evaluation in results.evaluations.items()},
        golden=Golden(images=len(images), tolerance=tolerance),
        lineage=Lineage(
            recipe=recipe.name,
            teacher=context.run.model.names,
            teacher_fusion=tuple(float(w) for w in context.run.model.fusion().detach()),
            teacher_sha256=context.run.sha256,
            teacher_metrics=results.teacher,
            student=student.student,
            pruned_channels=student.share,
            macs=macs,
            parameters=parameters,
            int8=f"{INT8_RECIPE}, {len(context.quantization_indices)} images{qat}",
            float_layers=recovered.float_fallback.layers if recovered.float_fallback else (),
            training_list_sha256=context.run.info.training_list_sha256,
            range_list_sha256=list_sha256(records[i] for i in context.quantization_indices),
            calibration_list_sha256=list_sha256(splits.calibration.records),
            test_list_sha256=list_sha256(splits.test.records),
            package_version=version,
        ),
        data=splits.kind,
        licence=licence_name(context.sources.licence, splits.kind),
        data_licence=(
            _PHANTOM_LICENCE if splits.kind == "phantoms" else context.sources.data_licence
        ),
        intended_use=_INTENDED_USE[splits.kind],
    )
    checks = [*results.checks, *(results.cpu_checks if results.cpu_targets else ())]
    consistency = [
        line
        for key, engines in results.consistency.items()
        for line in (f"{model_file(key)}:", *map(str, engines))
    ]
    card = model_card(manifest, [str(check) for check in checks], consistency)
    licence = context.sources.licence
    return write_bundle(out, manifest, models, images, golden, card, announce, licence)


def licence_name(text: str, kind: Literal["phantoms", "radiographs"]) -> str:
    """The manifest's `licence`: the first line of LICENSE, or that of the kind of data without it.

    Args:
        text: of LICENSE; "" for a bundle without that file.
        kind: images that the bundle was trained on.
    """
    return text.splitlines()[0].strip() if text else _LICENCES[kind]


def _golden_images(splits: Splits, preprocess: Preprocess) -> Pixels:
    """uint8 (n, 1, S, S): test images of each label in turn.

    In place of radiographs, which are their patients' and their publishers', phantoms: a golden
    test asks whether engines compute the same, not whether the answer is right.
    """
    test = splits.test
    if splits.kind == "radiographs":
        drawn = [render(_GOLDEN_SEED, index).image for index in range(_GOLDEN_IMAGES)]
        return np.stack([preprocess(image) for image in drawn])[:, None]
    by_class = [np.flatnonzero(test.labels == label) for label in np.unique(test.labels)]
    cycling = [own[i] for i in range(_GOLDEN_IMAGES) for own in by_class if i < len(own)]
    return test.images[np.array(cycling[:_GOLDEN_IMAGES]), None]


def add_fp16(
    models: dict[ModelKey, bytes],
    tolerance: dict[ModelKey, Tolerance],
    images: npt.NDArray[np.uint8],
    expected: Outputs,
) -> None:
    """Add the fp16 model in place, or log why there is none: the bundle is complete without it.

    It is decided with fp32's calibration: rounding to half precision moves logits by a thousandth
    of their spread, far less than INT8 does.

    The golden images are uint8 (n, 1, S, S), and `expected` holds fp32's outputs for them.
    """
    try:
        model = to_fp16(models["fp32"])
        outputs = fp16_outputs(model, images)
    except ModelError as error:
        log_progress(f"no model.fp16.onnx: {error}")
        return
    error_of_logits = deviation(outputs.logits, expected.logits)
    if not error_of_logits <= _MAX_FP16_ERROR:
        log_progress(
            f"no model.fp16.onnx: its logits differ by {plain(error_of_logits, 2)} standard "
            "deviations"
        )
        return
    models["fp16"], tolerance["fp16"] = model, _tolerance("fp16", outputs, expected)


def _tolerance(key: ModelKey, other: Outputs, reference: Outputs) -> Tolerance:
    minimum, expected = _MIN_TOLERANCE[key], reference.tensors()
    pairs = other.tensors().items()
    deviations = {name: deviation(array, expected[name]) for name, array in pairs}
    return Tolerance(**{name: max(minimum, _MARGIN * value) for name, value in deviations.items()})
