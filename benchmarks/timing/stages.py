"""The stages of the pipeline as calls, to be timed in turn with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from orthoedge.benchmarks.baselines.minimal_pipeline import BareInference, compiled_of, logits_only
from orthoedge.benchmarks.baselines.sample_files import Sources
from orthoedge.benchmarks.schema import Missing
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.decision import Verdict, decide
from orthoedge.runtime.errors import MissingDependency
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_quality import check_image_quality
from orthoedge.runtime.image_statistics import image_statistics
from orthoedge.runtime.pipeline import ActiveEngine, Pipeline
from orthoedge.runtime.preprocess import Pixels

STAGES = (
    "read png",
    "read jpeg",
    "read dicom",
    "preprocess",
    "look and faults",
    "engine",
    "bare engine",
    "bare engine, logits alone",
    "decision",
    "from memory",
    "from png",
    "from jpeg",
    "from dicom",
)

_Given = TypeVar("_Given")
_Calls = dict[str, Callable[[int], object]]


@dataclass(frozen=True)
class Stages:
    """What can be timed of one pipeline, and what cannot."""

    calls: dict[str, Callable[[int], object]]
    """By name, in the order of `STAGES`; each takes the number of a radiograph, and numbers go
    round."""
    missing: tuple[Missing, ...]


def stages_of(pipeline: Pipeline, sources: Sources, target: str) -> Stages:
    """The stages of a pipeline on these radiographs.

    `bare engine` is one inference with no checks and no copies of the outputs; `bare engine,
    logits alone` is the same with map and features cut off, so what lies between is their price.

    Args:
        pipeline: opened on `target`.
        sources: from `write_sources`.
        target: its name.
    """
    calls: _Calls = {"from memory": _numbered(pipeline, sources.images)}
    for kind, paths in sources.files.items():
        calls[f"read {kind}"] = _numbered(read_image, paths)
        calls[f"from {kind}"] = _numbered(pipeline, paths)
    squares = [pipeline.bundle.manifest.preprocess(pixels) for pixels in sources.images]
    calls |= _within(pipeline, sources.images, squares)
    bare, missing = _bare(pipeline, squares, target)
    calls |= bare
    return Stages({name: calls[name] for name in STAGES if name in calls}, missing)


def _within(pipeline: Pipeline, images: Sequence[Pixels], squares: Sequence[Pixels]) -> _Calls:
    """What a call does one after another, each given what the one before it made."""
    bundle, engine = pipeline.bundle, pipeline.engine
    manifest = bundle.manifest
    size, labels, alert = manifest.graph.size, manifest.labels, manifest.alert_labels
    placements = [manifest.preprocess.prepare(pixels)[1] for pixels in images]
    ran = ActiveEngine.for_bundle(bundle, engine)
    glances = [image_statistics(square) for square in squares]
    answers = [engine.run(square[None, None]) for square in squares]
    faults = [check_image_quality(*pair, size) for pair in zip(images, placements, strict=True)]

    def glance(number: int) -> None:
        check_image_quality(images[number], placements[number], size)
        image_statistics(squares[number])

    def conclude(number: int) -> Verdict:
        answer = answers[number]
        distance = ran.ood_score(answer.feature_vector[0], glances[number])
        return decide(answer.logits[0], distance, faults[number], labels, alert, ran.calibration)

    numbers = range(len(images))
    return {
        "preprocess": _numbered(manifest.preprocess.prepare, images),
        "look and faults": _numbered(glance, numbers),
        "engine": _numbered(engine.run, [square[None, None] for square in squares]),
        "decision": _numbered(conclude, numbers),
    }


def _bare(
    pipeline: Pipeline, squares: Sequence[Pixels], target: str
) -> tuple[_Calls, tuple[Missing, ...]]:
    makers = {"x86": (_openvino, _openvino_cut), "portable": (_onnxruntime, _onnxruntime_cut)}
    if target not in makers:
        why = f"target {target}: its engine is timed as a whole"
        return {}, tuple(_missing(pipeline, target, name, why) for name in STAGES[6:8])
    whole, cut = makers[target]
    calls: _Calls = {"bare engine": _numbered(whole(pipeline), squares)}
    name = "bare engine, logits alone"
    try:
        model = logits_only(pipeline.bundle, pipeline.engine.precision)
    except MissingDependency as error:
        return calls, (_missing(pipeline, target, name, str(error)),)
    return calls | {name: _numbered(cut(pipeline, model), squares)}, ()


def _missing(pipeline: Pipeline, target: str, name: str, why: str) -> Missing:
    return Missing(what=f"{target} {pipeline.engine.precision}: {name}", why=why)


def _openvino(pipeline: Pipeline) -> Callable[[Pixels], None]:
    return _fill_and_infer(BareInference(compiled_of(pipeline), _size(pipeline.bundle)))


def _openvino_cut(pipeline: Pipeline, model: bytes) -> Callable[[Pixels], None]:
    from orthoedge.targets.x86.compile import compile_model

    size = _size(pipeline.bundle)
    compiled = compile_model(model, size, pipeline.engine.threads, None)
    return _fill_and_infer(BareInference(compiled, size))


def _fill_and_infer(inference: BareInference) -> Callable[[Pixels], None]:
    def call(square: Pixels) -> None:
        inference.image[0, 0] = square
        inference()

    return call


def _onnxruntime(pipeline: Pipeline) -> Callable[[Pixels], object]:
    session = pipeline.engine.native
    return lambda square: session.run(None, {"image": square[None, None]})


def _onnxruntime_cut(pipeline: Pipeline, model: bytes) -> Callable[[Pixels], object]:
    from orthoedge.targets.portable.engine import OnnxRuntimeEngine

    engine = pipeline.engine
    cut = OnnxRuntimeEngine(model, _size(pipeline.bundle), engine.precision, engine.threads)
    session = cut.native
    return lambda square: session.run(None, {"image": square[None, None]})


def _size(bundle: Bundle) -> int:
    return bundle.manifest.graph.size


def _numbered(call: Callable[[_Given], object], given: Sequence[_Given]) -> Callable[[int], object]:
    return lambda number: call(given[number % len(given)])
