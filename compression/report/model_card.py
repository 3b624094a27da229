"""MODEL_CARD.md of a bundle, from its manifest.

After "Model Cards for Model Reporting" (Mitchell et al., FAT* 2019): clear to a clinician and
complete for an engineer.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

from orthoedge.compression.report.model_card_tables import (
    cell,
    changes_table,
    closeness_table,
    scores_table,
    table,
    thresholds_table,
)
from orthoedge.runtime.bundles.manifest import Manifest


def model_card(manifest: Manifest, gate: Sequence[str], agreement: Sequence[str]) -> str:
    """Text of the card.

    Args:
        manifest: everything measured; its `files` are not read, as the card is one of them.
        gate: the lines of the gate that was passed.
        agreement: a line per engine and instruction set that was compared.
    """
    blocks = chain(
        _summary(manifest),
        _intended_use(manifest),
        _data(manifest),
        _measured(manifest),
        _lost(manifest),
        _decision(manifest),
        _precision(manifest),
        ("## Engines and instruction sets", _block(agreement) or "They were not compared."),
        ("## Gate", "Every line had to hold, or there would be no bundle.", _block(gate)),
        _limits(manifest),
        _lineage(manifest),
        _licence(manifest),
    )
    return "\n\n".join(blocks) + "\n"


def _summary(manifest: Manifest) -> tuple[str, ...]:
    int8, teacher = manifest.metrics["int8"], manifest.lineage.teacher_metrics
    found = ", ".join(f"{label} {int8.recall[label]:.1%}" for label in manifest.labels)
    return (
        f"# {manifest.name} {manifest.version}",
        "**A research and engineering tool, not a cleared medical device.** "
        f"{manifest.intended_use}",
        f"It sorts radiographs of bones into {len(manifest.labels)} classes and shows beside each "
        f"answer which regions speak for it. Of {int8.images} test {manifest.data} it answers "
        f"{cell(int8, 'accuracy')} rightly in INT8, and the float32 ensemble that taught it "
        f"{cell(teacher, 'accuracy')} (95 % intervals in brackets). Of each class it recognises: "
        f"{found}.",
    )


def _intended_use(manifest: Manifest) -> tuple[str, ...]:
    return (
        "## Intended use",
        "For people who build, test or study software for portable X-ray units: to see what "
        "compression costs, how fast a processor answers, and whether the explanation survives.",
        "Out of scope:",
        "- diagnosis, triage or reassurance of a patient, with or without a human reader;\n"
        "- images other than radiographs of bones, and findings that are not among its classes: "
        "it always answers with exactly one of them;\n"
        "- outlining or measuring a lesion;\n"
        "- images of another origin than those it was measured on, before it is measured there.",
    )


def _data(manifest: Manifest) -> tuple[str, ...]:
    images = manifest.metrics["int8"].images
    rows = (
        ("training", "teaches the teacher and the student; a sample sets the ranges of INT8"),
        ("validation", "chooses: epoch, pruning, student, layers in float32"),
        ("calibration", "sets temperature, operating points and the thresholds below"),
        ("test", f"measures: all figures here ({images} images)"),
    )
    return (
        "## Data",
        f"Trained and measured on **{manifest.data}**, divided into four parts. All images of a "
        "group (a patient or an examination) lie in one part, so the network was neither made nor "
        "chosen nor calibrated on what it is measured on.",
        table(("part", "what it does"), rows),
    )


def _measured(manifest: Manifest) -> tuple[str, ...]:
    return (
        f"## Measured on test {manifest.data}",
        "Recall is the share of a class's images that were recognised. The pointing game asks "
        "whether the map of the true class peaks in a cell that touches a lesion's box. The "
        "calibration error is the mean gap between the probability of answers and how often they "
        "are right; 0 is best.",
        "In brackets: 95 % intervals by percentile bootstrap over whole groups. They say how far a "
        "figure moves with another draw of such images, not with another hospital or another "
        "training run; those of the calibration error lean upwards.",
        scores_table(manifest),
    )


def _lost(manifest: Manifest) -> tuple[str, ...]:
    images = manifest.metrics["int8"].images
    return (
        "## What was lost against the teacher",
        "Change in points (a point is 1 %, or 0.01). Minus is a loss; for the calibration error, "
        f"plus is. One image is {100 / images:.2f} points of the accuracy.",
        changes_table(manifest),
        "How near each network is to the teacher on the same images. The teacher itself would "
        "have 100 %, 1, 0 and 1.",
        closeness_table(manifest),
    )


def _decision(manifest: Manifest) -> tuple[str, ...]:
    alerts = ", ".join(manifest.alert_labels) or "none in this bundle"
    return (
        "## How it decides",
        "Logits are divided by the temperature and become probabilities. The labels that cannot "
        "be ruled out are the most probable one, every label whose probability reaches the "
        f"conformal bar, and every alert label ({alerts}) that reaches its operating point: the "
        "probability that keeps the sensitivity asked for on the calibration part. So they hold "
        "the true label at least as often as the conformal set alone, which is measured above. "
        "Operating points of other labels are for information.",
        "- `report`: one label is left, and it reaches the conformal bar.\n"
        "- `refer`, a human must read the image: several labels are left, or the most probable one "
        "is below the bar, or the image's features lie beyond the out-of-distribution threshold.\n"
        "- `reject`, the answer must not be used: they lie far beyond it.",
        thresholds_table(manifest),
    )


def _precision(manifest: Manifest) -> tuple[str, ...]:
    layers = ", ".join(f"`{name}`" for name in manifest.lineage.float_layers)
    return (
        "## What runs in which precision",
        "`model.fp32.onnx` runs in float32. In `model.int8.onnx` the backbone's layers run in "
        "8-bit integers; the linear head and the saliency map stay in float32, so that answer and "
        "map belong together.",
        "`model.fp16.onnx` is the float32 network in half precision, head and map again in "
        "float32. It is there for comparison on a GPU, and decided with the calibration of float32."
        if "fp16" in manifest.golden.tolerance
        else "There is no `model.fp16.onnx`: half precision was not tried, or changes the answers.",
        f"Back in float32, because INT8 failed the gate with them: {layers}."
        if layers
        else "No other layer had to go back to float32.",
    )


def _limits(manifest: Manifest) -> tuple[str, ...]:
    graph = manifest.graph
    phantoms = (
        "- Phantoms are rendered by a program, not taken of people. Figures from them show that "
        "compression kept what it was given, and nothing about patients.\n"
    )
    return (
        "## Limits",
        f"- The saliency map shows which regions raised a class's logit, on {graph.map_height} × "
        f"{graph.map_width} cells. It is not the outline of a lesion, and on a wrong answer it "
        "explains the wrong answer.\n"
        + (phantoms if manifest.data == "phantoms" else "")
        + "- No subgroup of patients was measured: not by age, sex, body part, device or hospital. "
        "A good figure over all can hide a bad one for some.\n"
        "- What the conformal sets promise holds on average over images like those of the "
        "calibration part; for other images, a single class or a single patient it does not.\n"
        "- The out-of-distribution score notices images whose features are unusual. An image can "
        "be unfit and still pass.",
    )


def _lineage(manifest: Manifest) -> tuple[str, ...]:
    lineage, graph, square = manifest.lineage, manifest.graph, manifest.preprocess
    weights = ", ".join(f"{weight:.3f}" for weight in lineage.teacher_fusion)
    rows = (
        ("recipe", lineage.recipe),
        ("teacher", f"{' + '.join(lineage.teacher)}; logits added with weights {weights}"),
        ("teacher's weights, SHA-256", lineage.teacher_sha256),
        ("student", lineage.student),
        ("channels cut", f"{lineage.pruned_channels:.1%}"),
        ("parameters", f"{lineage.parameters:,}"),
        ("multiply-accumulates per image", f"{lineage.macs / 1e6:.1f} M"),
        ("INT8", lineage.int8),
        (
            "preprocessing",
            f"field: {square.collimated_field}; fitted to {square.size} × {square.size}; CLAHE: "
            f"{square.clahe_stage}, clip {square.clahe_clip:g}, {square.clahe_tiles} tiles a side",
        ),
        ("features; ONNX operator set", f"{graph.features}; {graph.opset}"),
        ("training images, SHA-256 of the list", lineage.training_list_sha256),
        ("of them, those for the INT8 ranges", lineage.range_list_sha256),
        ("calibration images", lineage.calibration_list_sha256),
        ("test images", lineage.test_list_sha256),
        ("made by orthoedge", lineage.package_version),
    )
    return ("## Lineage", table(("", ""), rows))


def _licence(manifest: Manifest) -> tuple[str, ...]:
    return (
        "## Licence",
        f"The data that it learned from: {manifest.data_licence}. orthoedge itself: Apache-2.0.",
    )


def _block(lines: Sequence[str]) -> str:
    return "\n".join(("```", *lines, "```")) if lines else ""
