"""MODEL_CARD.md of a bundle, from its manifest."""

from __future__ import annotations

from orthoedge.runtime.manifest import Manifest, Metrics


def model_card(manifest: Manifest, gate: list[str]) -> str:
    """Text of the card.

    Args:
        manifest: everything measured.
        gate: the lines of the gate that was passed.
    """
    lineage = manifest.lineage
    fusion = ", ".join(f"{w:.3f}" for w in lineage.teacher_fusion)
    rows = "\n".join(
        f"| {name} | "
        + " | ".join(_cell(field, manifest.metrics[p]) for p in ("fp32", "int8"))
        + " |"
        for name, field in (
            ("test images", "images"),
            ("accuracy", "accuracy"),
            ("macro-F1", "macro_f1"),
            ("expected calibration error", "expected_calibration_error"),
            ("pointing game", "pointing_game"),
            ("same label as the teacher", "teacher_agreement"),
        )
    )
    recalls = "\n".join(
        f"| recall, {label} | "
        + " | ".join(f"{manifest.metrics[p].recall[label]:.4f}" for p in ("fp32", "int8"))
        + " |"
        for label in manifest.labels
    )
    checks = "\n".join(f"    {line}" for line in gate)
    return f"""# {manifest.name} {manifest.version}

{manifest.intended_use}

A research and engineering tool, not a cleared medical device.

## Data

Trained, calibrated and measured on **{manifest.data}**.
Licence of the data: {manifest.data_licence}.
The temperature, operating points, conformal quantile and out-of-distribution threshold come from
the validation split, which also chose the best epoch; metrics come from the test split.

## Measured on {manifest.data}, test split, through OpenVINO on a CPU

| | fp32 | int8 |
| --- | --- | --- |
{rows}
{recalls}

Teacher's macro-F1 on the same images: {lineage.teacher_macro_f1:.4f}.

## Gate

{checks}

## Lineage

Recipe {lineage.recipe}; teacher {" + ".join(lineage.teacher)} (fusion weights {fusion});
student {lineage.student}, {lineage.pruned_channels:.0%} of its channels pruned,
{lineage.parameters:,} parameters, {lineage.macs / 1e6:.1f} M multiply-accumulates;
INT8 by {lineage.int8}.

## Limits

The saliency map shows which regions raised a class's logit, at the resolution of
{manifest.graph.map_height}×{manifest.graph.map_width} cells; it is not a segmentation, and a map on
a wrong answer explains the wrong answer.
"""


def _cell(field: str, metrics: Metrics) -> str:
    value = getattr(metrics, field)
    if value is None:
        return "no boxes"
    return str(value) if isinstance(value, int) else f"{value:.4f}"
