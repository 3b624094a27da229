"""A record of one target on one machine: checks of its outputs, latency and power.

The record is the same for every target, so that a board can be compared with a server.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from time import perf_counter

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks import machine
from orthoedge.benchmarks.device_record_schema import SCHEMA, Check, PlanFacts, Ran, Record, Timed
from orthoedge.benchmarks.timing import latency
from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES, Bundle
from orthoedge.runtime.engine import Engine, Precision
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.settings import plain
from orthoedge.targets import TARGETS, EngineOptions, check_target, open_engine
from orthoedge.targets.jetson.device import Device, probe
from orthoedge.targets.jetson.engine import TensorRtEngine
from orthoedge.targets.jetson.plan_cache import obtain_plan
from orthoedge.targets.jetson.power import ROOT, PowerMeter
from orthoedge.targets.jetson.telemetry import Absent, read_board, read_clocks
from orthoedge.targets.jetson.tensorrt_module import JETPACK, Modules
from orthoedge.targets.verification import check_engine

_WARMUP = 50
_CALLS = 1000  # the fewest that have a 99.9th percentile
_SECONDS = 10.0  # the power sensors average over a good part of a second


def make_record(
    bundle: Bundle,
    target: str,
    precisions: Sequence[Precision],
    *,
    say: Callable[[str], object],
    cache: Path | None = None,
    _modules: Modules = JETPACK,
    _root: Path = ROOT,
    _calls: int = _CALLS,
    _seconds: float = _SECONDS,
) -> Record:
    """Open every precision, check it, time it, and record everything that the figures depend on.

    Args:
        bundle: a bundle whose hashes were checked.
        target: see `open_engine`.
        precisions: to run.
        say: receives one line for each check and each time.
        cache: as for `open_engine`.

    Raises:
        UnknownTarget: no such target. All other failures are in the record.
    """
    if target not in TARGETS:
        check_target(target)  # raises, and names the known targets
    described, before = machine.describe_machine(), read_board(_root)
    sample = min(PHANTOM_SAMPLES.glob("*.png"))
    pixels = read_image(sample).pixels
    ran, missing = [], []

    def fail(what: str, error: OrthoEdgeError) -> None:
        missing.append(Absent(what=what, why=str(error)))
        say(f"FAIL  {what}: {error}")

    device = None
    try:
        if target == "jetson":
            device = probe(_modules)
        else:
            check_target(target)
    except OrthoEdgeError as error:
        fail(target, error)
        precisions = ()
    for precision in precisions:
        try:
            engine, plan = _open(bundle, target, precision, device, cache, _modules)
            timed = partial(_time, _calls, _seconds, _root)
            ran.append(_run(bundle, engine, plan, pixels, say, timed))
        except OrthoEdgeError as error:
            fail(f"{target} {precision}", error)
    return Record(
        schema=SCHEMA,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        passed=not missing and all(check.passed for run in ran for check in run.checks),
        target=target,
        bundle=bundle.manifest.name,
        bundle_version=bundle.manifest.version,
        bundle_sha256=bundle.sha256,
        radiograph=f"{sample.name}, {pixels.shape[1]}×{pixels.shape[0]}",
        machine=described,
        device=device,
        before=before,
        after=read_board(_root),
        ran=tuple(ran),
        missing=tuple(missing),
    )


def write_record(record: Record, path: Path) -> None:
    """Write a record as JSON, atomically."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")


def _open(
    bundle: Bundle,
    target: str,
    precision: Precision,
    device: Device | None,
    cache: Path | None,
    modules: Modules,
) -> tuple[Engine, PlanFacts | None]:
    if device is None:
        return open_engine(bundle, target, precision, options=EngineOptions(cache=cache)), None
    model, size = bundle.model(precision), bundle.manifest.graph.size
    stored = obtain_plan(model, device, cache, modules)
    engine = TensorRtEngine(stored.data, size, precision, device, modules)
    engine.model_sha256 = sha256(model)
    return engine, PlanFacts(
        sha256=sha256(stored.data),
        bytes=len(stored.data),
        built=stored.built,
        refused=stored.refused,
        warnings=stored.warnings,
        graph=engine.graph,
        layer_counts=dict(Counter(layer.precision for layer in engine.layers)),
        layers=engine.layers,
    )


def _run(
    bundle: Bundle,
    engine: Engine,
    plan: PlanFacts | None,
    pixels: Pixels,
    say: Callable[[str], object],
    timed: Callable[[Callable[[], object]], Timed],
) -> Ran:
    checks = check_engine(bundle, engine)
    for check in checks:
        say(str(check))
    inputs = itertools.cycle(bundle.golden_images()[:, None])
    pipeline = Pipeline(bundle, engine)
    alone, whole = timed(lambda: engine.run(next(inputs))), timed(lambda: pipeline(pixels))
    where = f"{engine.name} {engine.precision}"
    for name, times in (("engine alone", alone), ("pipeline", whole)):
        busy = (times.others_cores or 0) > machine.BUSY_CORES
        rest = "; other programs were running: do not quote" if busy else ""
        say(
            f"time  {where} {name}: p50 {plain(times.p50_ms, 3)} ms, "
            f"p99.9 {plain(times.p999_ms, 3)} ms{rest}"
        )
    return Ran(
        precision=engine.precision,
        model_sha256=engine.model_sha256,
        engine=engine.name,
        version=engine.version,
        isa=engine.isa,
        threads=engine.threads,
        plan=plan,
        checks=tuple(
            Check(
                name=check.name,
                measured=check.measured if math.isfinite(check.measured) else None,
                limit=check.limit,
                passed=check.passed,
            )
            for check in checks
        ),
        engine_alone=alone,
        pipeline=whole,
    )


def _time(calls: int, seconds: float, root: Path, call: Callable[[], object]) -> Timed:
    """Call for `seconds`, and at least `calls` times, while the sensors are read."""
    for _ in range(_WARMUP):
        call()
    load = machine.BackgroundLoad()
    parts: list[npt.NDArray[np.float64]] = []
    with PowerMeter(root) as meter:
        begun = perf_counter()
        while not parts or perf_counter() - begun < seconds:
            # Not interleaved: the sensors cannot attribute power to one of several candidates.
            part = latency.interleaved({"": call}, rounds=calls, warmup=0, warmup_calls=0)
            parts.append(part[""].samples_ms)
    samples = np.concatenate(parts)
    p50, p90, p99, p999, highest = np.percentile(samples, (50, 90, 99, 99.9, 100)).round(4)
    return Timed(
        warmup=_WARMUP,
        calls=len(samples),
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        p999_ms=float(p999),
        highest_ms=float(highest),
        gpu_clocks=read_clocks(root, []),
        power=meter.power,
        no_power=meter.absent,
        others_cores=load.cores(),
    )
