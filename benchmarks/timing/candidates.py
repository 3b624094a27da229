"""The candidates of the interleaved timing: what can be loaded, and how one call of each is made.

They are the bundle on every target, the float32 ensemble, the PyTorch baseline, and the reference
implementations that the published claims compare the pipeline with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Literal

import cv2
import msgspec
import numpy as np

from orthoedge.benchmarks.baselines.external import ExternalProgram, OnnxRuntimeByHand
from orthoedge.benchmarks.baselines.folder_throughput import folder_passes
from orthoedge.benchmarks.baselines.minimal_pipeline import (
    MinimalInference,
    MinimalPipeline,
    logits_only,
    read_dicom_minimal,
)
from orthoedge.benchmarks.baselines.pytorch_gradcam import PyTorchGradCamBaseline
from orthoedge.benchmarks.baselines.sample_files import write_dicom
from orthoedge.benchmarks.schema import BASELINE
from orthoedge.benchmarks.timing.latency import SelfTimed, numbered, unnumbered
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Engine, Precision
from orthoedge.runtime.errors import EngineError, MissingDependency, UnknownTarget
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels
from orthoedge.targets import EngineOptions, open_engine, open_model, precisions_of
from orthoedge.targets.cpu import available_cores, threads_beside_a_reader

MINIMAL_PIPELINE, MINIMAL_INFERENCE = "minimal pipeline", "minimal inference"
LOGITS_ONLY = "logits only"
DICOM, DICOM_BY_HAND = "dicom", "dicom by hand"
ONNXRUNTIME_BY_HAND = "onnxruntime by hand"
EXTERNAL = "external "
"""Before an external program's name, so that it cannot be the name of a candidate of ours."""
FOLDER_MAP, FOLDER_BOUND = "Pipeline.map_results", "core-time bound"

Scope = Literal["pipeline", "model", "comparison"]
Kind = Literal[
    "pipeline",
    "ensemble",
    "baseline",
    "minimal_pipeline",
    "saliency_map",
    "dicom",
    "onnxruntime_by_hand",
    "external",
    "folder",
]
_ORDER = ("int8", "fp16", "fp32")  # of one target's precisions in tables
_DETECTOR = (2500, 3000)  # columns and rows of the large DICOM file


class CandidateSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a worker process should load."""

    kind: Kind
    target: str = ""
    """Empty where the candidate belongs to no target."""
    precision: Precision = "fp32"
    program: str = ""
    """Name of an external program."""
    command: str = ""
    """Its command line."""

    @property
    def name(self) -> str:
        """Name of the candidate, or of what it is loaded for."""
        if self.kind == "pipeline":
            return f"{self.target} {self.precision}"
        if self.kind == "ensemble":
            return ensemble_name(self.target)
        return EXTERNAL + self.program if self.kind == "external" else self.kind


class CandidateInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was loaded; the fields are those of `schema.Candidate`."""

    name: str
    description: str
    scope: Scope = "comparison"
    target: str = ""
    engine: str
    version: str = ""
    precision: str = ""
    isa: str = "not reported"
    threads: int


@dataclass(frozen=True)
class LoadedCandidate:
    """A candidate, ready to be timed."""

    info: CandidateInfo
    call: Callable[[int], object]
    """Takes the number of a radiograph, modulo their count."""


def engine_name(target: str, precision: Precision) -> str:
    """Name of a pipeline's engine among the candidates."""
    return f"{target} {precision} engine"


def ensemble_name(target: str) -> str:
    """Name of the float32 ensemble on a target."""
    return f"ensemble {target}"


def candidate_specs(
    bundle: Bundle,
    targets: Sequence[str],
    *,
    ensemble: bool,
    baseline: bool,
    comparisons: bool = False,
    external: Mapping[str, str] | None = None,
) -> tuple[CandidateSpec, ...]:
    """All candidates of a run; whether one can run is known only once it is loaded.

    `comparisons` includes the reference implementations, which compare with the bundle on x86;
    `external` has the command line of each external program, by name.
    """
    specs = [
        CandidateSpec(kind="pipeline", target=target, precision=precision)
        for target in targets
        for precision in sorted(precisions_of(bundle, target), key=_ORDER.index)
    ]
    if ensemble:
        specs += [CandidateSpec(kind="ensemble", target=t) for t in targets]
    if baseline:
        specs.append(CandidateSpec(kind="baseline"))
    if comparisons and "x86" in targets:
        precision = compared_precision(bundle)
        kinds: list[Kind] = ["minimal_pipeline", "saliency_map", "dicom", "onnxruntime_by_hand"]
        specs += [CandidateSpec(kind=k, target="x86", precision=precision) for k in kinds]
    for name, command in (external or {}).items():
        specs.append(CandidateSpec(kind="external", program=name, command=command))
    return tuple(specs)


def compared_precision(bundle: Bundle) -> Precision:
    """Precision of the x86 pipeline in the comparisons: INT8, or the first that the bundle has."""
    return min(precisions_of(bundle, "x86"), key=_ORDER.index)


class CandidateLoader:
    """Loads candidates into this process; external programs end with the context.

    Args:
        bundle: the student.
        images: uint8 (H, W) each, in memory.
        threads: of every engine.
        folder: for files that candidates read; shared with other processes, which may have
            written them already.
        ensemble: ONNX file of the float32 ensemble, with the bundle's input.
    """

    def __init__(
        self,
        bundle: Bundle,
        images: Sequence[Pixels],
        threads: int,
        folder: Path,
        ensemble: bytes = b"",
    ) -> None:
        self._bundle, self._images, self._threads = bundle, images, threads
        self._folder, self._ensemble = folder, ensemble
        self._pipelines: dict[str, Pipeline] = {}
        self._programs = ExitStack()

    def __enter__(self) -> CandidateLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self._programs.close()

    def try_to_load(self, spec: CandidateSpec) -> tuple[list[LoadedCandidate], str]:
        """Load a candidate and call it once; if it cannot run here, return the reason instead.

        Raises:
            UnknownTarget: no such target.
        """
        try:
            loaded = list(getattr(self, f"_load_{spec.kind}")(spec))
            for candidate in loaded:
                candidate.call(0)
            return loaded, ""
        except UnknownTarget:
            raise
        except (EngineError, MissingDependency) as error:
            return [], str(error)

    def _load_pipeline(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        """The pipeline, and its engine alone."""
        pipeline = self._pipeline(spec)
        engine = pipeline.engine
        info = _info(
            spec, spec.name, "a radiograph in memory to decision and map", engine, "pipeline"
        )
        yield LoadedCandidate(info, numbered(pipeline, self._images))
        yield self._model(spec, engine_name(spec.target, spec.precision), engine)

    def _load_ensemble(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        options = EngineOptions(threads=self._threads)
        size = self._bundle.manifest.graph.size
        engine = open_model(self._ensemble, size, spec.target, spec.precision, options=options)
        yield self._model(spec, spec.name, engine)

    def _load_baseline(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        baseline = PyTorchGradCamBaseline(self._threads, self._bundle.manifest.graph.classes)
        info = CandidateInfo(
            name=BASELINE,
            description="a radiograph in memory to label and map: two networks in eager PyTorch "
            "with random weights, pytorch-grad-cam on both",
            scope="pipeline",
            engine="torch",
            version=baseline.version,
            precision=spec.precision,
            threads=self._threads,
        )
        yield LoadedCandidate(info, numbered(baseline, self._images))

    def _load_minimal_pipeline(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        """The OpenCV and OpenVINO calls that the pipeline cannot do without."""
        pipeline = self._pipeline(spec)
        minimal = MinimalPipeline(pipeline, self._images)
        description = (
            "a radiograph in memory to logits, map and features: halving, resizing and CLAHE into "
            "a reused request of the same compiled model; nothing is checked or decided"
        )
        yield LoadedCandidate(_info(spec, MINIMAL_PIPELINE, description, pipeline.engine), minimal)
        description = "one reused request of the same compiled model on one prepared input"
        info = _info(spec, MINIMAL_INFERENCE, description, pipeline.engine)
        yield LoadedCandidate(info, unnumbered(minimal.infer))

    def _load_saliency_map(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        """The model cut down to its logits, as `minimal inference` runs the whole model."""
        from orthoedge.targets.x86.compile import compile_model

        manifest = self._bundle.manifest
        cut = logits_only(self._bundle, manifest.key_for("x86", spec.precision))
        compiled = compile_model(cut, manifest.graph.size, self._threads, None)
        inference = MinimalInference(compiled, manifest.graph.size)
        inference.image[0, 0] = manifest.preprocess(self._images[0])
        description = "one reused request of the same model cut down to its logits"
        info = _info(spec, LOGITS_ONLY, description, self._pipeline(spec).engine)
        yield LoadedCandidate(info, unnumbered(inference))

    def _load_dicom(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        """A large DICOM file to a finding, and its pixels and window by hand."""
        pipeline, path = self._pipeline(spec), self._folder / "detector.dcm"
        if not path.is_file():
            large = cv2.resize(self._images[0], _DETECTOR, interpolation=cv2.INTER_LINEAR)
            write_dicom(path, np.asarray(large, np.uint8))
        description = f"a DICOM file of {_DETECTOR[1]}×{_DETECTOR[0]}, 14 bits, to decision and map"
        info = _info(spec, DICOM, description, pipeline.engine)
        yield LoadedCandidate(info, lambda _: pipeline(path))
        info = CandidateInfo(
            name=DICOM_BY_HAND,
            description="the same file read by pydicom and windowed by OpenCV; no inference",
            engine="pydicom",
            version=metadata.version("pydicom"),
            threads=1,
        )
        yield LoadedCandidate(info, lambda _: read_dicom_minimal(path))

    def _load_onnxruntime_by_hand(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        key = self._bundle.manifest.key_for("portable", spec.precision)
        model = self._bundle.model(key)
        by_hand = OnnxRuntimeByHand(self._bundle, model, self._images, self._threads)
        info = CandidateInfo(
            name=ONNXRUNTIME_BY_HAND,
            description="a radiograph in memory to label, probability and map by ONNX Runtime and "
            "OpenCV calls",
            engine="onnxruntime",
            version=by_hand.version,
            precision=spec.precision,
            threads=self._threads,
        )
        yield LoadedCandidate(info, by_hand)

    def _load_external(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        """Another program, which measures its own time."""
        image = self._folder / "radiograph.npy"
        if not image.is_file():
            np.save(image, self._images[0], allow_pickle=False)
        program = ExternalProgram(spec.program, spec.command, image)
        self._programs.callback(program.close)
        info = CandidateInfo(
            name=spec.name,
            description="a program of its own on one radiograph; it measures its own time",
            engine=spec.program,
            threads=self._threads,
        )
        yield LoadedCandidate(info, SelfTimed(lambda _: program.predict()))

    def _load_folder(self, spec: CandidateSpec) -> Iterator[LoadedCandidate]:
        """A pass over the PNG files of the folder, and the least time that it could take."""
        paths = sorted(self._folder.glob("*.png"))
        threads, cores = threads_beside_a_reader(), available_cores()
        options = EngineOptions(threads=threads, streams=threads)
        engine = open_engine(self._bundle, spec.target, spec.precision, options=options)
        map_files, bound = folder_passes(Pipeline(self._bundle, engine), paths, cores)
        info = _info(spec, FOLDER_MAP, f"{len(paths)} PNG files", engine)
        yield LoadedCandidate(info, unnumbered(map_files))
        description = (
            "time of one core for decoding, preparing and inferring them, each by itself, divided "
            f"by {cores} cores"
        )
        info = _info(spec, FOLDER_BOUND, description, engine)
        yield LoadedCandidate(info, SelfTimed(lambda _: bound()))

    def _model(self, spec: CandidateSpec, name: str, engine: Engine) -> LoadedCandidate:
        """An engine alone, on prepared inputs."""
        info = _info(spec, name, "a prepared input to logits, maps and features", engine, "model")
        return LoadedCandidate(info, numbered(engine.run, self._inputs))

    def _pipeline(self, spec: CandidateSpec) -> Pipeline:
        """The pipeline of a target and precision; a second one would bring threads of its own."""
        key = f"{spec.target} {spec.precision}"
        if key not in self._pipelines:
            options = EngineOptions(threads=self._threads)
            engine = open_engine(self._bundle, spec.target, spec.precision, options=options)
            self._pipelines[key] = Pipeline(self._bundle, engine)
        return self._pipelines[key]

    @cached_property
    def _inputs(self) -> list[Pixels]:
        """Prepared radiographs, uint8 (1, 1, S, S) each."""
        preprocess = self._bundle.manifest.preprocess
        return [preprocess(image)[None, None] for image in self._images]


def _info(
    spec: CandidateSpec, name: str, description: str, engine: Engine, scope: Scope = "comparison"
) -> CandidateInfo:
    return CandidateInfo(
        name=name,
        description=description,
        scope=scope,
        target=spec.target,
        engine=engine.name,
        version=engine.version,
        precision=engine.precision,
        isa=engine.isa,
        threads=engine.threads,
    )
