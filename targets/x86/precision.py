"""Measure which precision is faster on this machine, and remember it in the compile cache.

Without a cache `auto` follows a rule (cpu.py): measuring compiles both models, which takes longer
than a start may take, so it is done once and only where the result can be stored.
"""

from __future__ import annotations

import time

import msgspec
import numpy as np

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.engine import PRECISIONS, Precision
from orthoedge.runtime.settings import EngineOptions
from orthoedge.targets.cpu import choose_precision
from orthoedge.targets.x86.compile import cache_failed, machine_key
from orthoedge.targets.x86.compile_cache import load, store
from orthoedge.targets.x86.engine import OpenVinoEngine

_ROUNDS = 15
_WARMUP = 3


class _Milliseconds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    fp32: float
    int8: float


def measure_precision(bundle: Bundle, options: EngineOptions) -> tuple[Precision, str]:
    """Time both precisions alternately on a golden image; return the faster one and the reason.

    Without 256-bit integer instructions it is fp32 and nothing is timed: the two are close there,
    and noise would decide.

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
    key = sha256(msgspec.json.encode(facts))
    file = None if options.cache is None else options.cache / f"{key[:32]}.precision"
    try:
        cached, refused = (None, "") if file is None else load(file)
        if cached is not None:
            times, when = msgspec.json.decode(cached, type=_Milliseconds), "remembered"
        else:
            times = _time(bundle, options)
            when = f"measured now; {refused}, and was made anew" if refused else "measured now"
            if file is not None:
                store(file, msgspec.json.encode(times))
    except OSError as error:
        raise cache_failed(options.cache, error) from error
    chosen: Precision = "int8" if times.int8 <= times.fp32 else "fp32"
    return chosen, f"INT8 takes {times.int8:.2f} ms and fp32 {times.fp32:.2f} ms ({when})"


def _time(bundle: Bundle, options: EngineOptions) -> _Milliseconds:
    size, image = bundle.manifest.graph.size, bundle.golden_images()[:1]
    engines = {
        precision: OpenVinoEngine(
            bundle.model(bundle.manifest.key_for("x86", precision)), size, precision, options
        )
        for precision in PRECISIONS
    }
    samples: dict[str, list[float]] = {precision: [] for precision in engines}
    for _ in range(_WARMUP + _ROUNDS):
        for precision, engine in engines.items():
            start = time.perf_counter()
            engine.run(image)
            samples[precision].append((time.perf_counter() - start) * 1e3)
    return _Milliseconds(
        **{name: float(np.median(times[_WARMUP:])) for name, times in samples.items()}
    )
