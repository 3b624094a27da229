"""The stages of the pipeline as calls, to be timed interleaved with each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from orthoedge.benchmarks.baselines.minimal_pipeline import (
    MinimalInference,
    logits_only,
    native_model,
)
from orthoedge.benchmarks.baselines.sample_files import Sources
from orthoedge.benchmarks.schema import Skipped
from orthoedge.benchmarks.timing.latency import numbered
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
    "image checks",
    "engine",
    "minimal inference",
    "minimal inference, logits only",
    "decision",
    "from memory",
    "from png",
    "from jpeg",
    "from dicom",
)

_Calls = dict[str, Callable[[int], object]]


class Stages(NamedTuple):
    """The stages of one pipeline that can be timed, and those that cannot."""

    calls: _Calls
    """By name, in the order of `STAGES`; each takes the number of a radiograph, modulo their
    count."""
    skipped: tuple[Skipped, ...]


def stage_calls(pipeline: Pipeline, sources: Sources, target: str) -> Stages:
    """Prepare the stages of a pipeline on these radiographs.

    `minimal inference` is one inference without checks and copies of the outputs. `minimal
    inference, logits only` runs the model without map and features: the difference is their cost.
    """
    calls: _Calls = {"from memory": numbered(pipeline, sources.images)}
    for kind, paths in sources.files.items():
        calls[f"read {kind}"] = numbered(read_image, paths)
        calls[f"from {kind}"] = numbered(pipeline, paths)
    model_inputs = [pipeline.bundle.manifest.preprocess(pixels) for pixels in sources.images]
    calls |= _within(pipeline, sources.images, model_inputs)
    reasons, (whole, cut) = {}, STAGES[6:8]
    if target in ("x86", "portable"):
        infer = _openvino if target == "x86" else _onnxruntime
        calls[whole] = numbered(infer(pipeline, None), model_inputs)
        try:
            model = logits_only(pipeline.bundle, pipeline.bundle.manifest.key_of(pipeline.engine))
            calls[cut] = numbered(infer(pipeline, model), model_inputs)
        except MissingDependency as error:
            reasons[cut] = str(error)
    else:
        reason = f"target {target}: its engine can only be timed as a whole"
        reasons = dict.fromkeys((whole, cut), reason)
    at = f"{target} {pipeline.engine.precision}"
    skipped = tuple(Skipped(name=f"{at}: {name}", reason=why) for name, why in reasons.items())
    return Stages({name: calls[name] for name in STAGES if name in calls}, skipped)


def _within(pipeline: Pipeline, images: Sequence[Pixels], model_inputs: Sequence[Pixels]) -> _Calls:
    """The steps of one call, each on the output of the step before."""
    bundle, engine = pipeline.bundle, pipeline.engine
    manifest = bundle.manifest
    size, labels, alert = manifest.graph.size, manifest.labels, manifest.alert_labels
    transforms = [manifest.preprocess.prepare(pixels)[1] for pixels in images]
    active = ActiveEngine.for_bundle(bundle, engine)
    statistics = [image_statistics(model_input) for model_input in model_inputs]
    outputs = [engine.run(model_input[None, None]) for model_input in model_inputs]
    issues = [check_image_quality(*pair, size) for pair in zip(images, transforms, strict=True)]

    def check(number: int) -> None:
        check_image_quality(images[number], transforms[number], size)
        image_statistics(model_inputs[number])

    def conclude(number: int) -> Verdict:
        output = outputs[number]
        distance = active.ood_score(output.feature_vector[0], statistics[number])
        return decide(output.logits[0], distance, issues[number], labels, alert, active.calibration)

    numbers = range(len(images))
    return {
        "preprocess": numbered(manifest.preprocess.prepare, images),
        "image checks": numbered(check, numbers),
        "engine": numbered(engine.run, [model_input[None, None] for model_input in model_inputs]),
        "decision": numbered(conclude, numbers),
    }


def _openvino(pipeline: Pipeline, cut: bytes | None) -> Callable[[Pixels], object]:
    """The minimal inference of a pipeline's model, or of a model that was cut down."""
    from orthoedge.targets.x86.compile import compile_model

    size, model = pipeline.bundle.manifest.graph.size, native_model(pipeline)
    if cut is not None:
        model = compile_model(cut, size, pipeline.engine.threads, None)
    inference = MinimalInference(model, size)

    def call(model_input: Pixels) -> None:
        inference.image[0, 0] = model_input
        inference()

    return call


def _onnxruntime(pipeline: Pipeline, cut: bytes | None) -> Callable[[Pixels], object]:
    """The same on ONNX Runtime."""
    from orthoedge.targets.portable.engine import OnnxRuntimeEngine

    engine, size = pipeline.engine, pipeline.bundle.manifest.graph.size
    if cut is not None:
        engine = OnnxRuntimeEngine(cut, size, engine.precision, engine.threads)
    session = engine.native  # type: ignore[attr-defined]
    return lambda model_input: session.run(None, {"image": model_input[None, None]})
