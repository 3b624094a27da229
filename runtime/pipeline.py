"""A radiograph in, a finding out: intake, preprocessing, one forward pass, decision."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.bundles import Bundle
from orthoedge.runtime.decision import Decision, Distance, Verdict, decide
from orthoedge.runtime.engine import Engine
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.intake import Radiograph, read_image
from orthoedge.runtime.look import look
from orthoedge.runtime.preprocess import Pixels, Placement
from orthoedge.runtime.usable import find_faults


@dataclass(frozen=True)
class Provenance:
    """What ran; with the thresholds it is enough to get the same numbers again."""

    bundle: str
    bundle_version: str
    bundle_sha256: str
    engine: str
    engine_version: str
    precision: str
    isa: str
    fallback: str
    """Why this engine or precision ran in place of the one asked for; empty where none did."""


@dataclass(frozen=True)
class Thresholds:
    """The settings the decision was made with."""

    temperature: float
    conformal_quantile: float
    operating_points: dict[str, float]
    out_of_distribution: float
    out_of_distribution_reject: float


@dataclass(frozen=True)
class Timing:
    """Milliseconds per stage."""

    read: float
    """Decoding; 0 for an array."""
    preprocess: float
    inference: float
    """Logits, map and features come in one pass."""
    decide: float

    @property
    def total(self) -> float:
        """Sum of the stages."""
        return self.read + self.preprocess + self.inference + self.decide


@dataclass(frozen=True)
class Finding:
    """The answer for one radiograph."""

    verdict: Verdict
    saliency_map: npt.NDArray[np.float32]
    """float32 (h, w), Grad-CAM++ of the most probable label over the network's square."""
    placement: Placement
    """Where that square lies on the radiograph."""
    input_size: int
    """Side of that square, in pixels."""
    notes: tuple[str, ...]
    """What intake had to say."""
    notice: str
    """Intended use of the bundle, to be shown beside the answer."""
    thresholds: Thresholds
    provenance: Provenance
    timing_ms: Timing

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.verdict.label

    @property
    def probabilities(self) -> dict[str, float]:
        """Calibrated probability of every label."""
        return self.verdict.probabilities

    @property
    def decision(self) -> Decision:
        """`report`, `refer` or `reject`."""
        return self.verdict.decision

    def to_json(self) -> bytes:
        """One line of JSON with everything but the map's geometry in words."""
        verdict = msgspec.to_builtins(self.verdict)
        return msgspec.json.encode(
            {
                **verdict,
                "saliency_map": np.round(self.saliency_map.astype(float), 4).tolist(),
                "placement": self.placement,
                "input_size": self.input_size,
                "notes": self.notes,
                "notice": self.notice,
                "thresholds": self.thresholds,
                "provenance": self.provenance,
                "timing_ms": {
                    **msgspec.to_builtins(self.timing_ms),
                    "total": self.timing_ms.total,
                },
            }
        )


class Pipeline:
    """Callable on a path, on the bytes of a file, or on a radiograph uint8 (H, W).

    Args:
        bundle: labels, preprocessing and thresholds.
        engine: an engine opened on one of that bundle's models.
        fallback: why this engine runs in place of the one asked for; goes into every finding.

    Raises:
        EngineError: the engine's outputs do not fit the bundle.
    """

    def __init__(self, bundle: Bundle, engine: Engine, fallback: str = "") -> None:
        self.bundle = bundle
        self.engine = engine
        manifest = bundle.manifest
        self._calibration = manifest.calibration[engine.precision]
        self._distance = Distance(self._calibration.out_of_distribution)
        self._thresholds = Thresholds(
            temperature=self._calibration.temperature,
            conformal_quantile=self._calibration.conformal_quantile,
            operating_points=self._calibration.operating_points,
            out_of_distribution=self._calibration.out_of_distribution.threshold,
            out_of_distribution_reject=self._calibration.out_of_distribution.reject,
        )
        self._provenance = Provenance(
            bundle=manifest.name,
            bundle_version=manifest.version,
            bundle_sha256=bundle.sha256,
            engine=engine.name,
            engine_version=engine.version,
            precision=engine.precision,
            isa=engine.isa,
            fallback=fallback,
        )

    def __call__(self, source: Path | str | bytes | Pixels) -> Finding:
        """Predict one radiograph.

        Raises:
            InputError: not a radiograph this tool can read.
            EngineError: the engine failed.
        """
        return self.predict(source)[1]

    def predict(self, source: Path | str | bytes | Pixels) -> tuple[Radiograph, Finding]:
        """As a call, with the radiograph as it was read, for drawing the map on it."""
        start = time.perf_counter()
        if isinstance(source, np.ndarray):
            radiograph = Radiograph(pixels=source, source_bits=8, spacing_mm=None, notes=())
        else:
            radiograph = read_image(source)
        read = time.perf_counter()
        square, placement = self.bundle.manifest.preprocess.prepare(radiograph.pixels)
        faults = find_faults(radiograph.pixels, placement, self.bundle.manifest.graph.size)
        prepared = time.perf_counter()
        outputs = self.engine.run(square[None, None])
        inferred = time.perf_counter()
        graph = self.bundle.manifest.graph
        arrays = (outputs.logits, outputs.saliency_map, outputs.feature_vector)
        found = tuple(array.shape for array in arrays)
        map_shape = (1, graph.classes, graph.map_height, graph.map_width)
        if found != ((1, graph.classes), map_shape, (1, graph.features)):
            raise EngineError(
                f"{self.engine.name}: outputs of shapes {found} are not those of the manifest; "
                "run orthoedge verify"
            )
        if not np.isfinite(outputs.logits).all():
            raise EngineError(f"{self.engine.name}: logits are not finite; run orthoedge verify")
        verdict = decide(
            outputs.logits[0],
            self._distance(outputs.feature_vector[0], look(square)),
            faults,
            self.bundle.manifest.labels,
            self.bundle.manifest.alert_labels,
            self._calibration,
        )
        label = self.bundle.manifest.labels.index(verdict.label)
        done = time.perf_counter()
        finding = Finding(
            verdict=verdict,
            saliency_map=outputs.saliency_map[0, label],
            placement=placement,
            input_size=self.bundle.manifest.graph.size,
            notes=radiograph.notes,
            notice=self.bundle.manifest.intended_use,
            thresholds=self._thresholds,
            provenance=self._provenance,
            timing_ms=Timing(
                read=(read - start) * 1e3,
                preprocess=(prepared - read) * 1e3,
                inference=(inferred - prepared) * 1e3,
                decide=(done - inferred) * 1e3,
            ),
        )
        return radiograph, finding
