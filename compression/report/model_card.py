"""Text of a bundle's MODEL_CARD.md, written from its manifest.

After "Model Cards for Model Reporting" (Mitchell et al., FAT* 2019): clear to a clinician and
complete for an engineer.
"""

from __future__ import annotations

from collections.abc import Sequence

from orthoedge.compression.report.model_card_tables import (
    agreement_table,
    changes_table,
    score,
    scores_table,
    table,
    thresholds_table,
)
from orthoedge.runtime.bundles.manifest import Manifest
from orthoedge.runtime.settings import plain

_MASK_LIMITS = (
    "- The lesion mask outlines what looks like a lesion of any kind, on {0.mask_height} × "
    "{0.mask_width} cells, where its probability is one half or more. The label is not made from "
    "it. A lesion narrower than a cell may be missed or look too wide, and sizes at the detector "
    "are larger than the lesion by the magnification.\n"
)


def model_card(manifest: Manifest, gate: Sequence[str], consistency: Sequence[str]) -> str:
    """Text of the card; `gate` has a line per check, `consistency` one per engine."""
    blocks = (
        *_introduction(manifest),
        *_measured(manifest),
        *_decisions(manifest),
        "## Engines and instruction sets",
        _block(consistency) or "Engines were not compared.",
        "## Gate",
        "A bundle is written only if every check passes.",
        _block(gate),
        *_limits(manifest),
        "## Lineage",
        _lineage(manifest),
        "## Licence",
        f"- This bundle: {manifest.licence or 'not stated'}. `LICENSE` holds the text, if it has "
        f"one.\n- Training data: {manifest.data_licence}.\n- orthoedge itself: Apache-2.0.",
    )
    return "\n\n".join(blocks) + "\n"


def _introduction(manifest: Manifest) -> tuple[str, ...]:
    int8, teacher = manifest.metrics["int8"], manifest.lineage.teacher_metrics
    recalls = ", ".join(f"{label} {int8.recall[label]:.1%}" for label in manifest.labels)
    splits = (
        ("training", "trains the teacher and the student; a sample sets the INT8 ranges"),
        ("validation", "selects epoch, pruning, student and layers in float32"),
        ("calibration", "sets temperature, operating points and the thresholds below"),
        ("test", f"provides all figures here ({int8.images} images)"),
    )
    return (
        f"# {manifest.name} {manifest.version}",
        "**A research and engineering tool, not a cleared medical device.** "
        f"{manifest.intended_use}",
        f"It classifies bone radiographs into {len(manifest.labels)} classes and shows which "
        f"regions support its prediction. On {int8.images} test {manifest.data} its accuracy is "
        f"{score(int8, 'accuracy')} in INT8, and that of its teacher, a float32 ensemble, "
        f"{score(teacher, 'accuracy')} (95 % intervals in brackets). Recall per class: {recalls}.",
        "## Intended use",
        "For people who build, test or study software for portable X-ray units: to see what "
        "compression costs, how fast inference runs, and whether the explanation survives.",
        "Out of scope:",
        "- diagnosis, triage or reassurance of a patient, with or without a human reader;\n"
        "- images other than radiographs of bones, and findings that are not among its classes: "
        "it always predicts exactly one of them;\n"
        + ("" if manifest.graph.has_mask else "- outlining or measuring a lesion;\n")
        + "- images from a source on which it was not measured.",
        "## Data",
        f"Trained and measured on **{manifest.data}**, in four splits. All images of a group (a "
        "patient or an examination) are in one split, so the network was not trained, selected or "
        "calibrated on the images on which it is measured.",
        table(("split", "use"), splits),
    )


def _measured(manifest: Manifest) -> tuple[str, ...]:
    images = manifest.metrics["int8"].images
    return (
        f"## Measured on test {manifest.data}",
        "Recall is the share of a class's images that were recognised. The pointing game is the "
        "share of maps of the true class that peak in a cell touching a lesion's box. The "
        "calibration error is the mean gap between predicted probability and accuracy; 0 is best.",
        "Brackets hold 95 % intervals by percentile bootstrap over whole groups. They cover the "
        "variation between samples of such images, not between hospitals or training runs; those "
        "of the calibration error are biased upwards.",
        scores_table(manifest),
        "## Loss compared with the teacher",
        "Change in points (a point is 1 %, or 0.01). Negative is worse; for the calibration error, "
        f"positive is worse. One image is {100 / images:.2f} points of the accuracy.",
        changes_table(manifest),
        "Agreement with the teacher on the same images. Perfect agreement is 100 %, 1, 0 and 1.",
        agreement_table(manifest),
    )


def _decisions(manifest: Manifest) -> tuple[str, ...]:
    layers = ", ".join(f"`{name}`" for name in manifest.lineage.float_layers)
    alerts = ", ".join(manifest.alert_labels) or "none in this bundle"
    return (
        "## Decisions",
        "Logits are divided by the temperature and become probabilities. The label set contains "
        "the most probable label, every label whose probability reaches the conformal threshold, "
        f"and every alert label ({alerts}) that reaches its operating point: the probability that "
        "gives the required sensitivity on the calibration split. So it contains the true label at "
        "least as often as the conformal set alone, which is measured above. Operating points of "
        "other labels are for information.",
        "- `report`: the set holds one label, and it reaches the conformal threshold.\n"
        "- `refer`, a human must read the image: the set holds several labels, or the most "
        "probable one is below the threshold, or the out-of-distribution score exceeds its own.\n"
        "- `reject`, the result must not be used: the score exceeds the threshold by far.",
        thresholds_table(manifest),
        "## Precisions",
        "`model.fp32.onnx` runs in float32. In `model.int8.onnx` the backbone's layers run in "
        "8-bit integers; the linear head and the saliency map stay in float32, so that prediction "
        "and map agree.",
        *_cpu_file(manifest),
        "`model.fp16.onnx` is the float32 network in half precision, with head and map in float32. "
        "It is meant for comparison on a GPU and uses the calibration of float32."
        if "fp16" in manifest.golden.tolerance
        else "There is no `model.fp16.onnx`: half precision was not tried, or changes the outputs.",
        f"These layers run in float32, because INT8 failed the gate with them: {layers}."
        if layers
        else "No other layer runs in float32.",
    )


def _cpu_file(manifest: Manifest) -> tuple[str, ...]:
    if not manifest.int8_cpu:
        return ()
    return (
        f"`model.int8_cpu.onnx` ({' and '.join(manifest.int8_cpu)}) is INT8 in the form in which "
        "processors are fastest, with unsigned codes, and with biases and sums in integers too; "
        "TensorRT cannot read it, so jetson runs `model.int8.onnx`. It has calibration, figures "
        "and golden outputs of its own, `int8_cpu` in the tables.",
    )


def _limits(manifest: Manifest) -> tuple[str, ...]:
    graph = manifest.graph
    phantoms = (
        "- Phantoms are rendered by a program. Figures from them show what compression preserves, "
        "and nothing about patients.\n"
    )
    return (
        "## Limits",
        f"- The saliency map shows which regions raised a class's logit, on {graph.map_height} × "
        f"{graph.map_width} cells. It is not the outline of a lesion, and for a wrong prediction "
        "it explains the wrong prediction.\n"
        + (_MASK_LIMITS.format(graph) if graph.has_mask else "")
        + (phantoms if manifest.data == "phantoms" else "")
        + "- No subgroup was measured: not by age, sex, body part, device or hospital. A good "
        "average can hide a poor result for some.\n"
        "- The coverage of conformal sets holds on average over images like those of the "
        "calibration split, not for other images, a single class or a single patient.\n"
        "- The out-of-distribution score detects unusual images. An image can be unfit and still "
        "pass.",
    )


def _lineage(manifest: Manifest) -> str:
    lineage, graph, preprocess = manifest.lineage, manifest.graph, manifest.preprocess
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
            f"field: {preprocess.collimated_field}; fitted to {preprocess.size} × {preprocess.size}"
            f"; CLAHE {preprocess.clahe_stage}, clip {plain(preprocess.clahe_clip)}, "
            f"{preprocess.clahe_tiles} tiles per side",
        ),
        ("features; ONNX operator set", f"{graph.features}; {graph.opset}"),
        ("training images, SHA-256 of the list", lineage.training_list_sha256),
        ("of them, those for the INT8 ranges", lineage.range_list_sha256),
        ("calibration images", lineage.calibration_list_sha256),
        ("test images", lineage.test_list_sha256),
        ("orthoedge version", lineage.package_version),
    )
    return table(("", ""), rows)


def _block(lines: Sequence[str]) -> str:
    return "\n".join(("```", *lines, "```")) if lines else ""
