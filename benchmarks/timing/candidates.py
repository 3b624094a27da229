"""What takes turns in the timing: the bundle on each target, the seeds' way, the ensemble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from orthoedge.benchmarks.baselines.pytorch_gradcam import SeedsPipeline
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import Engine, Precision
from orthoedge.runtime.errors import EngineError, MissingDependency, UnknownTarget
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels
from orthoedge.targets import EngineOptions, open_engine, open_model, precisions_of

SEEDS = "seeds"

_ORDER = ("int8", "fp16", "fp32")  # of the rows of one target


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A network to open, in a process that is told so."""

    kind: Literal["student", "ensemble", "seeds"]
    target: str
    """Empty for the seeds' way."""
    precision: Precision

    @property
    def name(self) -> str:
        """Of what is opened; a student's bare engine adds `engine` to it."""
        if self.kind == "student":
            return f"{self.target} {self.precision}"
        return SEEDS if self.kind == "seeds" else ensemble_name(self.target)


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What runs, as `Candidate` in the report says it."""

    name: str
    what: str
    target: str
    engine: str
    version: str
    precision: str
    isa: str
    threads: int


@dataclass(frozen=True)
class Opened:
    """A candidate, ready to be timed."""

    about: About
    call: Callable[[int], object]
    """Takes the number of a radiograph; numbers go round."""


def engine_name(target: str, precision: Precision) -> str:
    """Name of a student's bare engine among the candidates."""
    return f"{target} {precision} engine"


def ensemble_name(target: str) -> str:
    """Name of the float32 ensemble on a target."""
    return f"ensemble {target}"


def wanted(
    bundle: Bundle, targets: Sequence[str], *, ensemble: bool, seeds: bool
) -> tuple[Wanted, ...]:
    """All that is compared; what cannot run is found out where it is opened."""
    found = [
        Wanted(kind="student", target=target, precision=precision)
        for target in targets
        for precision in sorted(precisions_of(bundle, target), key=_ORDER.index)
    ]
    if ensemble:
        found += [Wanted(kind="ensemble", target=t, precision="fp32") for t in targets]
    if seeds:
        found.append(Wanted(kind="seeds", target="", precision="fp32"))
    return tuple(found)


def open_candidates(
    one: Wanted, bundle: Bundle, images: Sequence[Pixels], ensemble: bytes, threads: int
) -> Iterator[Opened]:
    """Open a network and yield what of it is timed; a student is its pipeline and its bare engine.

    Args:
        one: the network.
        bundle: the student.
        images: uint8 (H, W) each, in memory.
        ensemble: ONNX file of the float32 ensemble, with the bundle's input.
        threads: of the engine.

    Raises:
        EngineError: the target cannot run here, or the engine refused the model.
        MissingDependency: a package is not installed.
    """
    if one.kind == "seeds":
        yield _seeds(bundle, images, threads)
        return
    squares = [bundle.manifest.preprocess(image)[None, None] for image in images]
    if one.kind == "ensemble":
        size = bundle.manifest.graph.size
        engine = open_model(
            ensemble, size, one.target, one.precision, options=EngineOptions(threads=threads)
        )
        about = _about(one.name, "a prepared square to logits, maps and features", one, engine)
        yield Opened(about, lambda number: engine.run(squares[number % len(squares)]))
        return
    engine = open_engine(bundle, one.target, one.precision, options=EngineOptions(threads=threads))
    pipeline = Pipeline(bundle, engine)
    about = _about(one.name, "a radiograph in memory to decision and map", one, engine)
    yield Opened(about, lambda number: pipeline(images[number % len(images)]))
    name = engine_name(one.target, one.precision)
    about = _about(name, "a prepared square to logits, maps and features", one, engine)
    yield Opened(about, lambda number: engine.run(squares[number % len(squares)]))


def try_to_open(
    one: Wanted, bundle: Bundle, images: Sequence[Pixels], ensemble: bytes, threads: int
) -> tuple[list[Opened], str]:
    """As `open_candidates`, each called once; what cannot run here is a reason in their place.

    Raises:
        UnknownTarget: no such target.
    """
    try:
        found = list(open_candidates(one, bundle, images, ensemble, threads))
        for candidate in found:
            candidate.call(0)
        return found, ""
    except UnknownTarget:
        raise
    except (EngineError, MissingDependency) as error:
        return [], str(error)


def _seeds(bundle: Bundle, images: Sequence[Pixels], threads: int) -> Opened:
    way = SeedsPipeline(threads, bundle.manifest.graph.classes)
    import torch

    about = About(
        name=SEEDS,
        what="a radiograph in memory to label and map: two networks in eager PyTorch with random "
        "weights, pytorch-grad-cam on both",
        target="",
        engine="torch",
        version=str(torch.__version__),
        precision="fp32",
        isa="not reported",
        threads=threads,
    )
    return Opened(about, lambda number: way(images[number % len(images)]))


def _about(name: str, what: str, one: Wanted, engine: Engine) -> About:
    return About(
        name=name,
        what=what,
        target=one.target,
        engine=engine.name,
        version=engine.version,
        precision=engine.precision,
        isa=engine.isa,
        threads=engine.threads,
    )
