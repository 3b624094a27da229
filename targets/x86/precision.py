"""Which precision is faster here: measured once, and remembered beside the compiled models."""

from __future__ import annotations

import json
import time

import msgspec
import numpy as np

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import PRECISIONS, Precision
from orthoedge.runtime.settings import EngineOptions
from orthoedge.targets.cpu import choose_precision
from orthoedge.targets.x86.compile import cache_failed, machine_key
from orthoedge.targets.x86.compile_cache import keep, look
from orthoedge.targets.x86.engine import OpenVinoEngine

_ROUNDS = 15
_WARMUP = 3


class _Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fp32: float
    int8: float


def measure_precision(bundle: Bundle, options: EngineOptions) -> tuple[Precision, str]:
    """Time both precisions in turn on a golden image; the faster one, and why.

    Without 256-bit integer instructions it is fp32 and nothing is timed: the two are close there,
    and a noisy machine would decide.

    Args:
        bundle: has both models.
        options: of the engines that are timed; `cache` remembers the result per bundle, machine,
            threads and streams.

    Raises:
        EngineError: OpenVINO refused a model, or the cache cannot be written.
    """
    possible, reason = choose_precision()
    if possible == "fp32":
        return possible, reason
    facts = [bundle.sha256, options.threads, options.streams, machine_key()]
    key = sha256(json.dumps(facts).encode())
    file = None if options.cache is None else options.cache / f"{key[:32]}.precision"
    try:
        kept, refused = (None, "") if file is None else look(file)
        if kept is not None:
            found, when = msgspec.json.decode(kept, type=_Measured), "remembered"
        else:
            found = _time(bundle, options)
            when = f"measured now; {refused}" if refused else "measured now"
            if file is not None:
                keep(file, msgspec.json.encode(found))
    except OSError as error:
        raise cache_failed(options.cache, error) from error
    chosen: Precision = "int8" if found.int8 <= found.fp32 else "fp32"
    return chosen, f"INT8 takes {found.int8:.2f} ms and fp32 {found.fp32:.2f} ms ({when})"


def _time(bundle: Bundle, options: EngineOptions) -> _Measured:
    size, image = bundle.manifest.graph.size, bundle.golden_images()[:1]
    engines = {
        precision: OpenVinoEngine(bundle.model(precision), size, precision, options)
        for precision in PRECISIONS
    }
    samples: dict[str, list[float]] = {precision: [] for precision in engines}
    for _ in range(_WARMUP + _ROUNDS):
        for precision, engine in engines.items():
            begun = time.perf_counter()
            engine.run(image)
            samples[precision].append((time.perf_counter() - begun) * 1e3)
    return _Measured(**{name: float(np.median(times[_WARMUP:])) for name, times in samples.items()})
