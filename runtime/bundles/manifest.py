"""The manifest of a bundle: its fields and their checks.

Fields with a default are those that bundles of earlier versions lack: `licence`, what is about the
lesion mask, an output that a network need not have, and `int8_cpu`.

A bundle with an INT8 file of its own for CPU engines has schema 5, so that earlier versions, which
know no such file, refuse it by its number. Without that file it has schema 4, which they read.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from orthoedge.runtime.bundles.schema_3 import upgrade_schema_3
from orthoedge.runtime.engine import PRECISIONS, Engine, ModelKey, Precision, calibrated_as
from orthoedge.runtime.errors import BundleError
from orthoedge.runtime.image_statistics import STATISTICS_SIZE, STATISTICS_TERMS
from orthoedge.runtime.preprocess import Preprocess

SCHEMA = 4
SCHEMA_INT8_CPU = 5
"""Of a bundle with `model.int8_cpu.onnx`."""
CpuTarget = Literal["x86", "portable"]
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


class Graph(_Record, frozen=True, omit_defaults=True):
    """Signature of every ONNX file: uint8 (N, 1, size, size) in; float32 tensors out.

    They are logits, saliency map and feature vector, and of some bundles a lesion mask.
    """

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
    mask_height: int = 0
    """h' of the lesion mask; 0: no such output."""
    mask_width: int = 0
    """w' of the lesion mask; 0: no such output."""
    region_size: int = 0
    """Side in pixels of the outlined region as the classifier sees it; 0: it sees the image."""

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
        for name in ("mask_height", "mask_width"):
            count = getattr(self, name)
            _require(0 <= count <= self.size, f"graph.{name} is {count}, expected 0 to {self.size}")
        both = (self.mask_height > 0) == (self.mask_width > 0)
        _require(both, "graph.mask_height and mask_width: one is 0, the other is not")
        fits = self.region_size >= 0 and (self.has_mask or not self.region_size)
        _require(fits, f"graph.region_size is {self.region_size}, expected 0 without a mask")

    @property
    def has_mask(self) -> bool:
        """Whether the network outlines lesions."""
        return self.mask_height > 0

    def shapes(self, images: int) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs for a number of images, by name."""
        shapes: dict[str, tuple[int, ...]] = {
            "logits": (images, self.classes),
            "saliency_map": (images, self.classes, self.map_height, self.map_width),
            "feature_vector": (images, self.features),
        }
        if self.has_mask:
            shapes["lesion_mask"] = (images, 1, self.mask_height, self.mask_width)
        return shapes


class OutOfDistribution(_Record, frozen=True):
    """Weights of the out-of-distribution score (outlier exposure)."""

    features: tuple[float, ...]
    """(K,) weights of the feature vector."""
    statistics_mean: tuple[float, ...]
    """(L,) means of `image_statistics` over training images and others."""
    statistics_std: tuple[float, ...]
    """(L,) standard deviations of the same."""
    statistics_weights: tuple[float, ...]
    """(T,) weights of `statistics_terms`, which are made from these."""
    offset: float
    """Shifts the score of the median calibration image to 0."""
    threshold: float
    """An image with a score above this is referred as unlike the training images."""
    reject: float
    """In thresholds: above this the image is rejected, since a label would mislead."""

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
    """Calibration of the probabilities of one model."""

    temperature: float
    """Logits are divided by this (Guo et al., ICML 2017)."""
    conformal_coverage: float
    """Share of images whose set is meant to hold the true label."""
    conformal_quantile: float
    """A label is in the set if its probability is at least 1 minus this (Sadinle et al., 2019)."""
    operating_points: dict[str, float]
    """Per label: the probability from which its sensitivity on validation was met."""


class Calibration(Confidence, frozen=True):
    """Calibration of the decisions of one model."""

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


class Metrics(_Record, frozen=True, omit_defaults=True):
    """Metrics on images that neither training nor calibration used."""

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
    """Pearson correlation with the teacher's logits, after subtracting each image's mean."""
    teacher_divergence: float
    """Mean Kullback-Leibler divergence from the teacher's calibrated probabilities, in nats."""
    saliency_cosine: float
    """Mean cosine with the teacher's map of the teacher's label."""
    intervals: dict[str, tuple[float, float]]
    """95 % bootstrap interval by field name; `recall.LABEL` for a recall, `dice.LABEL`."""
    dice: dict[str, float] = {}
    """Per label: mean Dice of the lesion masks over the images with a lesion; empty: no masks."""


class Tolerance(_Record, frozen=True, omit_defaults=True):
    """Largest allowed |difference| over the standard deviation of the expected tensor."""

    logits: float
    saliency_map: float
    feature_vector: float
    lesion_mask: float | None = None
    """None: no such output."""


class Golden(_Record, frozen=True):
    """Golden test that `orthoedge verify` repeats."""

    images: int
    tolerance: dict[ModelKey, Tolerance]
    """fp16, where the bundle has it, is compared with the outputs of fp32."""


class Lineage(_Record, frozen=True):
    """Origin of the model."""

    recipe: str
    teacher: tuple[str, ...]
    """timm names of the ensemble's backbones."""
    teacher_fusion: tuple[float, ...]
    """Learned weight of each backbone."""
    teacher_sha256: str
    teacher_metrics: Metrics
    """Metrics of the float32 ensemble on the same images, with its own temperature."""
    student: str
    """timm name."""
    pruned_channels: float
    """Share of the channels that was pruned; 0 for none."""
    macs: int
    """Multiply-accumulates of one forward pass of the student in the bundle."""
    parameters: int
    int8: str
    """Quantizer and its settings."""
    float_layers: tuple[str, ...]
    """Layers that stay in float because the gate failed with them in INT8."""
    training_list_sha256: str
    range_list_sha256: str
    """List of the training images that set the INT8 ranges."""
    calibration_list_sha256: str
    """List of the images behind temperature, operating points, quantiles and thresholds."""
    test_list_sha256: str
    """List of the images behind `metrics`."""
    package_version: str


class Manifest(_Record, frozen=True, kw_only=True, omit_defaults=True):
    """The content of manifest.json."""

    schema: int
    name: str
    version: str
    labels: tuple[str, ...]
    alert_labels: tuple[str, ...]
    """Labels that a finding never drops silently from its set."""
    preprocess: Preprocess
    graph: Graph
    files: dict[str, FileRecord]
    int8_cpu: tuple[CpuTarget, ...] = ()
    """Targets whose INT8 engine runs `model.int8_cpu.onnx`; others run `model.int8.onnx`."""
    calibration: dict[ModelKey, Calibration]
    metrics: dict[ModelKey, Metrics]
    golden: Golden
    lineage: Lineage
    data: Literal["phantoms", "radiographs"]
    """Kind of images used for training and metrics."""
    licence: str = ""
    """Terms of the bundle itself, the first line of LICENSE where it holds one; "": not stated."""
    data_licence: str
    """Terms of the images it was trained on."""
    intended_use: str

    @property
    def licences(self) -> str:
        """Licences of bundle and training data, in one line."""
        return f"licence: {self.licence or 'not stated'}; training data: {self.data_licence}"

    @property
    def calibrated(self) -> tuple[ModelKey, ...]:
        """The models that have calibration, metrics and golden outputs of their own."""
        return (*PRECISIONS, "int8_cpu") if self.int8_cpu else PRECISIONS

    def key_for(self, target: str, precision: Precision) -> ModelKey:
        """Return the model that a target runs in that precision."""
        return "int8_cpu" if precision == "int8" and target in self.int8_cpu else precision

    def key_of(self, engine: Engine) -> ModelKey:
        """Return the model that an engine runs: by its hash, or by its precision without one."""
        if engine.precision == "int8" and self.int8_cpu:
            record = self.files["model.int8_cpu.onnx"]
            return "int8_cpu" if getattr(engine, "model_sha256", "") == record.sha256 else "int8"
        return engine.precision

    def calibration_for(self, key: ModelKey) -> Calibration:
        """Return the calibration of a model; fp16 uses that of fp32."""
        return self.calibration[calibrated_as(key)]

    def check(self) -> None:
        """Raise BundleError for the first field that contradicts another or is out of range."""
        labels, size = self.labels, self.graph.size
        expected = schema_of(self.int8_cpu)
        _require(
            self.schema == expected, f"schema {self.schema}, expected {expected} for its int8_cpu"
        )
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
        for name, keys in tables.items():
            extra = ", ".join(sorted(keys - {*self.calibrated, "fp16"}))
            _require(not extra, f"{name} has {extra}, which no target runs")
            half = "fp16" in keys and name != "golden.tolerance"
            _require(not half, f"{name} has fp16, which uses the calibration of fp32")
        for key in self.calibrated:
            for name, keys in tables.items():
                _require(key in keys, f"{name} has no {key}")
            where = f"calibration.{key}"
            self.calibration[key].check(where, labels, self.graph.features)
        for key, tolerance in self.golden.tolerance.items():
            _require(
                (tolerance.lesion_mask is not None) == self.graph.has_mask,
                f"golden.tolerance.{key}.lesion_mask does not fit graph.mask_height",
            )


def schema_of(int8_cpu: tuple[CpuTarget, ...]) -> int:
    """Return the schema of a manifest with such an `int8_cpu`."""
    return SCHEMA_INT8_CPU if int8_cpu else SCHEMA


class _Schema(msgspec.Struct, frozen=True):
    schema: int


def decode_manifest(data: bytes) -> Manifest:
    """Read and check manifest.json of schema 3, 4 or 5.

    Returns:
        The manifest; one of schema 3 in schema 4.

    Raises:
        BundleError: malformed, a field missing or unknown, or fields that contradict each other.
    """
    try:
        schema = msgspec.json.decode(data, type=_Schema).schema
        _require(
            3 <= schema <= SCHEMA_INT8_CPU,
            f"schema {schema}, this version of orthoedge reads 3 to {SCHEMA_INT8_CPU}",
        )
        if schema == 3:
            manifest = msgspec.convert(upgrade_schema_3(msgspec.json.decode(data)), Manifest)
        else:
            manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BundleError(f"manifest.json: {error}") from error
    manifest.check()
    return manifest


def encode_manifest(manifest: Manifest) -> bytes:
    """Indented JSON of a manifest that passes its own checks."""
    manifest.check()
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def _require(holds: bool, problem: str) -> None:
    if not holds:
        raise BundleError(f"manifest.json: {problem}")
