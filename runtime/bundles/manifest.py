"""The manifest: everything a bundle says about itself. No field has a default."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from orthoedge.runtime.engine import PRECISIONS, Precision, calibrated_as
from orthoedge.runtime.errors import BundleError
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, STATISTICS_TERMS
from orthoedge.runtime.preprocess import Preprocess

SCHEMA = 4
_OLDEST_SCHEMA = 3
# Fields of schema 3 and their names in schema 4.
_RENAMED_PREPROCESS = {"field": "collimated_field"}
_RENAMED_SCORE = {
    "look_centre": "statistics_mean",
    "look_spread": "statistics_std",
    "look_terms": "statistics_weights",
}
# Far above any network here; larger values would only cause large allocations.
_MOST_CLASSES, _MOST_FEATURES = 1_000, 2**16


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class FileRecord(_Record, frozen=True):
    """One file of the bundle."""

    sha256: str
    """64 lower-case hex digits."""
    bytes: int
    """Size in bytes."""


class Graph(_Record, frozen=True):
    """Face of every ONNX file: uint8 (N, 1, size, size) in, three float32 tensors out."""

    size: int
    """Side S of the input, in pixels."""
    classes: int
    """C."""
    features: int
    """K, length of the feature vector."""
    map_height: int
    """h of the saliency map."""
    map_width: int
    """w of the saliency map."""
    opset: int
    """ONNX operator set."""

    def check(self) -> None:
        """Raise BundleError unless every size is in its range."""
        for name, largest in (
            ("classes", _MOST_CLASSES),
            ("features", _MOST_FEATURES),
            ("map_height", self.size),
            ("map_width", self.size),
        ):
            count = getattr(self, name)
            _require(1 <= count <= largest, f"graph.{name} is {count}, expected 1 to {largest}")


class OutOfDistribution(_Record, frozen=True):
    """Score that rises from training images to other pictures (outlier exposure)."""

    features: tuple[float, ...]
    """(K,) weights of the feature vector."""
    statistics_mean: tuple[float, ...]
    """(L,) means of `image_statistics` over training images and others."""
    statistics_std: tuple[float, ...]
    """(L,) standard deviations of the same."""
    statistics_weights: tuple[float, ...]
    """(T,) weights of `statistics_terms`, which are made from these."""
    offset: float
    """Makes the score of the median calibration image 0."""
    threshold: float
    """A score above this is unlike the training images, and referred."""
    reject: float
    """In thresholds: beyond this a label would mislead even with a warning beside it."""

    def check(self, where: str, features: int) -> None:
        """Raise BundleError unless every vector has its length and every limit its range."""
        for name, size in (
            ("features", features),
            ("statistics_mean", STATISTICS_SIZE),
            ("statistics_std", STATISTICS_SIZE),
            ("statistics_weights", STATISTICS_TERMS),
        ):
            _require(len(getattr(self, name)) == size, f"{where}.{name} must hold {size} numbers")
        _require(min(self.statistics_std) > 0, f"{where}.statistics_std must be above 0")
        _require(self.threshold > 0, f"{where}.threshold must be above 0")
        _require(self.reject >= 1, f"{where}.reject must be at least 1")


class Confidence(_Record, frozen=True):
    """What turns logits of one precision into probabilities that hold."""

    temperature: float
    """Logits are divided by this (Guo et al., ICML 2017)."""
    conformal_coverage: float
    """Share of images whose set is meant to hold the true label."""
    conformal_quantile: float
    """A label is in the set if its probability is at least 1 minus this (Sadinle et al., 2019)."""
    operating_points: dict[str, float]
    """Per label: the probability from which its sensitivity on validation was met."""


class Calibration(Confidence, frozen=True):
    """What turns outputs of one precision into a decision."""

    out_of_distribution: OutOfDistribution

    def check(self, where: str, labels: tuple[str, ...], features: int) -> None:
        """Raise BundleError unless the fields fit the labels, the features and their ranges."""
        _require(
            set(self.operating_points) == set(labels),
            f"{where}.operating_points must name every label",
        )
        _require(self.temperature > 0, f"{where}.temperature must be above 0")
        for name, value in (
            ("conformal_coverage", self.conformal_coverage),
            ("conformal_quantile", self.conformal_quantile),
            *self.operating_points.items(),
        ):
            _require(0 <= value <= 1, f"{where}: {name} must be 0 to 1, got {value}")
        self.out_of_distribution.check(f"{where}.out_of_distribution", features)


class Metrics(_Record, frozen=True):
    """What was measured on images that neither training nor calibration saw."""

    images: int
    accuracy: float
    macro_f1: float
    recall: dict[str, float]
    """Per label."""
    expected_calibration_error: float
    """15 equal-width bins, after temperature."""
    pointing_game: float | None
    """Share of images whose map peaks inside a lesion box, one map cell allowed; None: no boxes."""
    coverage: float
    """Share of images whose conformal set holds the true label."""
    set_size: float
    """Mean number of labels in the conformal set."""
    teacher_agreement: float
    """Share of images with the teacher's label."""
    logit_correlation: float
    """Pearson correlation with the teacher's logits, each image's mean taken off."""
    teacher_divergence: float
    """Mean Kullback-Leibler divergence from the teacher's calibrated answer to this, in nats."""
    saliency_cosine: float
    """Mean cosine with the teacher's map of the teacher's label."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap interval by field name, that of a recall as `recall.LABEL`."""


class Tolerance(_Record, frozen=True):
    """Largest allowed |difference| over the standard deviation of the expected tensor."""

    logits: float
    saliency_map: float
    feature_vector: float


class Golden(_Record, frozen=True):
    """Expected answers that `orthoedge verify` runs again."""

    images: int
    tolerance: dict[Precision, Tolerance]
    """That of fp16, where the bundle has such a model, is from the answers of fp32."""


class Lineage(_Record, frozen=True):
    """Where the model came from."""

    recipe: str
    teacher: tuple[str, ...]
    """timm names of the ensemble's backbones."""
    teacher_fusion: tuple[float, ...]
    """Learned weight of each backbone."""
    teacher_sha256: str
    teacher_metrics: Metrics
    """The float32 ensemble on the same images, with a temperature of its own."""
    student: str
    """timm name."""
    pruned_channels: float
    """Share of the channels that was cut, 0 for none."""
    macs: int
    """Multiply-accumulates of one forward pass of the student as shipped."""
    parameters: int
    int8: str
    """Quantizer and its settings."""
    float_layers: tuple[str, ...]
    """Layers that went back to float because INT8 failed the gate with them."""
    training_list_sha256: str
    range_list_sha256: str
    """Of the training images that set the INT8 ranges."""
    calibration_list_sha256: str
    """Of the images behind temperature, operating points, quantiles and thresholds."""
    test_list_sha256: str
    """Of the images behind `metrics`."""
    package_version: str


class Manifest(_Record, frozen=True):
    """The whole of manifest.json."""

    schema: int
    name: str
    version: str
    labels: tuple[str, ...]
    alert_labels: tuple[str, ...]
    """Labels that a finding never drops silently from its set."""
    preprocess: Preprocess
    graph: Graph
    files: dict[str, FileRecord]
    calibration: dict[Precision, Calibration]
    metrics: dict[Precision, Metrics]
    golden: Golden
    lineage: Lineage
    data: Literal["phantoms", "radiographs"]
    """What it was trained on and measured on."""
    data_licence: str
    intended_use: str

    def calibration_for(self, precision: Precision) -> Calibration:
        """What decides for an engine of that precision; fp16 is decided with fp32's."""
        return self.calibration[calibrated_as(precision)]

    def check(self) -> None:
        """Raise BundleError for the first field that contradicts another or is out of range."""
        labels, size = self.labels, self.graph.size
        _require(
            len(set(labels)) == len(labels) >= 2,
            f"labels must be two or more distinct names, got {labels}",
        )
        _require(
            len(labels) == self.graph.classes,
            f"{len(labels)} labels for a graph of {self.graph.classes} classes",
        )
        _require(
            set(self.alert_labels) <= set(labels),
            f"alert_labels {self.alert_labels} not all in labels",
        )
        _require(
            self.preprocess.size == size,
            f"preprocess.size {self.preprocess.size} differs from graph.size {size}",
        )
        self.graph.check()
        for name, record in self.files.items():
            _require(record.bytes >= 0, f"files: {name} has {record.bytes} bytes")
        tables = {
            "calibration": set(self.calibration),
            "metrics": set(self.metrics),
            "golden.tolerance": set(self.golden.tolerance),
        }
        for name in ("calibration", "metrics"):
            extra = ", ".join(sorted(tables[name] - set(PRECISIONS)))
            _require(not extra, f"{name} has {extra}, which is decided as fp32 is")
        for precision in PRECISIONS:
            for name, precisions in tables.items():
                _require(precision in precisions, f"{name} has no {precision}")
            where = f"calibration.{precision}"
            self.calibration[precision].check(where, labels, self.graph.features)


class _Schema(msgspec.Struct, frozen=True):
    schema: int


def decode_manifest(data: bytes) -> Manifest:
    """Read and check manifest.json of schema 3 or 4.

    Returns:
        The manifest in schema 4.

    Raises:
        BundleError: malformed, a field missing or unknown, or fields that contradict each other.
    """
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema
        _require(
            _OLDEST_SCHEMA <= schema <= SCHEMA,
            f"schema {schema}, this version of orthoedge reads {_OLDEST_SCHEMA} and {SCHEMA}",
        )
        if schema == SCHEMA:
            manifest = msgspec.json.decode(data, type=Manifest)
        else:
            manifest = msgspec.convert(_upgraded(msgspec.json.decode(data)), Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"manifest.json: {error}") from error
    manifest.check()
    return manifest


def _upgraded(tree: dict[str, Any]) -> dict[str, Any]:
    """Rename the fields of schema 3 in the decoded JSON, and return it as schema 4."""
    scores = [
        _table(calibration, "out_of_distribution")
        for calibration in _table(tree, "calibration").values()
    ]
    for table, renamed in (
        (_table(tree, "preprocess"), _RENAMED_PREPROCESS),
        *((score, _RENAMED_SCORE) for score in scores),
    ):
        for old, new in renamed.items():
            _require(new not in table, f"{new} is not a field of schema {_OLDEST_SCHEMA}")
            if old in table:
                table[new] = table.pop(old)
    return tree | {"schema": SCHEMA}


def _table(tree: object, name: str) -> dict[str, Any]:
    """A table inside a table, or an empty one: what is malformed is refused when it is decoded."""
    table = tree.get(name) if isinstance(tree, dict) else None
    return table if isinstance(table, dict) else {}


def encode_manifest(manifest: Manifest) -> bytes:
    """Indented JSON of a manifest that passes its own checks."""
    manifest.check()
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise BundleError(f"manifest.json: {problem}")
