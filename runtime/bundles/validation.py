"""What must hold between the fields of a manifest, which their types do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orthoedge.runtime.engine import PRECISIONS
from orthoedge.runtime.errors import BundleError
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, STATISTICS_TERMS

if TYPE_CHECKING:
    from orthoedge.runtime.bundles.manifest import Manifest


# Far above any network here: what is larger would only be allocated.
_MOST_CLASSES, _MOST_FEATURES = 1_000, 2**16


def check_fields(manifest: Manifest) -> None:
    """Compare what the fields of a manifest say of each other and of themselves.

    Raises:
        BundleError: the first that contradicts.
    """
    labels = manifest.labels
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise BundleError(f"manifest.json: labels must be two or more distinct names, got {labels}")
    if len(labels) != manifest.graph.classes:
        raise BundleError(
            f"manifest.json: {len(labels)} labels for a graph of {manifest.graph.classes} classes"
        )
    if not set(manifest.alert_labels) <= set(labels):
        raise BundleError(f"manifest.json: alert_labels {manifest.alert_labels} not all in labels")
    if manifest.preprocess.size != manifest.graph.size:
        raise BundleError(
            f"manifest.json: preprocess.size {manifest.preprocess.size} differs from "
            f"graph.size {manifest.graph.size}"
        )
    for name, count, largest in (
        ("classes", manifest.graph.classes, _MOST_CLASSES),
        ("features", manifest.graph.features, _MOST_FEATURES),
        ("map_height", manifest.graph.map_height, manifest.graph.size),
        ("map_width", manifest.graph.map_width, manifest.graph.size),
    ):
        if not 1 <= count <= largest:
            raise BundleError(f"manifest.json: graph.{name} is {count}, expected 1 to {largest}")
    for name, record in manifest.files.items():
        if record.bytes < 0:
            raise BundleError(f"manifest.json: files: {name} has {record.bytes} bytes")
    for name, calibrated in (("calibration", manifest.calibration), ("metrics", manifest.metrics)):
        if extra := sorted(set(calibrated) - set(PRECISIONS)):
            raise BundleError(f"manifest.json: {name} has {extra[0]}, which is decided as fp32 is")
    for precision in PRECISIONS:
        for part, name in (
            (manifest.calibration, "calibration"),
            (manifest.metrics, "metrics"),
            (manifest.golden.tolerance, "golden.tolerance"),
        ):
            if precision not in part:
                raise BundleError(f"manifest.json: {name} has no {precision}")
        calibration = manifest.calibration[precision]
        if set(calibration.operating_points) != set(labels):
            raise BundleError(
                f"manifest.json: calibration.{precision}.operating_points must name every label"
            )
        if not calibration.temperature > 0:
            raise BundleError(f"manifest.json: calibration.{precision}.temperature must be above 0")
        for name, value in (
            ("conformal_coverage", calibration.conformal_coverage),
            ("conformal_quantile", calibration.conformal_quantile),
            *calibration.operating_points.items(),
        ):
            if not 0 <= value <= 1:
                raise BundleError(
                    f"manifest.json: calibration.{precision}: {name} must be 0 to 1, got {value}"
                )
        statistics = calibration.out_of_distribution
        where = f"manifest.json: calibration.{precision}.out_of_distribution"
        for name, size in (
            ("features", manifest.graph.features),
            ("look_centre", STATISTICS_SIZE),
            ("look_spread", STATISTICS_SIZE),
            ("look_terms", STATISTICS_TERMS),
        ):
            if len(getattr(statistics, name)) != size:
                raise BundleError(f"{where}.{name} must hold {size} numbers")
        if not min(statistics.look_spread) > 0:
            raise BundleError(f"{where}.look_spread must be above 0")
        if not statistics.threshold > 0:
            raise BundleError(f"{where}.threshold must be above 0")
        if not statistics.reject >= 1:
            raise BundleError(f"{where}.reject must be at least 1")
