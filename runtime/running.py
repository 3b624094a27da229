"""An engine together with what decides on its answers and what is told of them."""

from __future__ import annotations

from dataclasses import dataclass

from orthoedge.runtime.bundles import Bundle
from orthoedge.runtime.decision import Distance
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.finding import Provenance, Thresholds
from orthoedge.runtime.manifest import Calibration


@dataclass(frozen=True)
class Running:
    """Replaced as one, so that no finding mixes two engines."""

    engine: Engine
    calibration: Calibration
    distance: Distance
    thresholds: Thresholds
    provenance: Provenance


def set_up(bundle: Bundle, engine: Engine, fallback: str) -> Running:
    """What a pipeline needs of an engine.

    Args:
        bundle: labels and calibration.
        engine: an engine opened on one of that bundle's models.
        fallback: why this engine runs in place of the one asked for; empty where none does.
    """
    manifest = bundle.manifest
    calibration = manifest.calibration_for(engine.precision)
    return Running(
        engine=engine,
        calibration=calibration,
        distance=Distance(calibration.out_of_distribution),
        thresholds=Thresholds(
            temperature=calibration.temperature,
            conformal_quantile=calibration.conformal_quantile,
            operating_points=calibration.operating_points,
            out_of_distribution=calibration.out_of_distribution.threshold,
            out_of_distribution_reject=calibration.out_of_distribution.reject,
        ),
        provenance=Provenance(
            bundle=manifest.name,
            bundle_version=manifest.version,
            bundle_sha256=bundle.sha256,
            engine=engine.name,
            engine_version=engine.version,
            precision=engine.precision,
            isa=engine.isa,
            threads=engine.threads,
            fallback=fallback,
        ),
    )
