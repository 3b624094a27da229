"""The promise about peers: the pipeline against the same work done by others, all taking turns."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from orthoedge.benchmarks.baselines.external import HandWritten, Peer, Stopwatch
from orthoedge.benchmarks.baselines.folder_throughput import sample
from orthoedge.benchmarks.baselines.minimal_pipeline import BareWay
from orthoedge.benchmarks.machine import BackgroundLoad
from orthoedge.benchmarks.ratio_calls import SIDE, WARMUP, open_default
from orthoedge.benchmarks.ratio_rows import Row, Setting, difference, ratio_row
from orthoedge.benchmarks.schema import Missing
from orthoedge.benchmarks.timing.latency import Timings, interleaved
from orthoedge.runtime.errors import EngineError, MissingDependency

LIMITS = {"ultralytics": 4.0}
"""How many times as long a peer of that name is to take."""
_SETTLE = 8  # calls of each before it is timed: what ran before emptied the caches
BARE = "-bare"
"""Ends the name of a program that runs another's inference alone."""

_OURS, _INFER, _BY_HAND = "pipeline", "bare inference", "by hand"
_PEER = "peer "  # before a peer's name, so that none can be one of ours


def peers(setting: Setting) -> tuple[list[Row], list[Missing]]:
    """The pipeline against ONNX Runtime by hand and whatever programs were named.

    Raises:
        MissingDependency: OpenVINO is not installed.
        EngineError: a program broke off while it was timed.
    """
    pixels, pipeline, clock = sample(SIDE), open_default(setting), Stopwatch()
    calls = {
        _OURS: clock.timed(lambda: pipeline(pixels)),
        _INFER: clock.timed(BareWay(pipeline, pixels).infer),
    }
    labels, missing, others = {}, [], BackgroundLoad()
    try:
        by_hand = HandWritten(setting.bundle, pixels, setting.threads)
        calls[_BY_HAND], labels[_BY_HAND] = clock.timed(by_hand), "ONNX Runtime by hand, INT8"
    except MissingDependency as error:
        missing.append(Missing(what=_BY_HAND, why=str(error)))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as running:
        image = Path(folder) / "radiograph.npy"
        np.save(image, pixels, allow_pickle=False)
        for name, command in setting.peers.items():
            try:
                peer = Peer(name, command, image)
            except EngineError as error:
                missing.append(Missing(what=_PEER + name, why=str(error)))
                continue
            running.callback(peer.close)
            calls[_PEER + name], labels[_PEER + name] = clock.told(peer.predict), name
        times = interleaved(
            calls, rounds=setting.rounds, warmup=WARMUP, settle=_SETTLE, clock=clock.read
        )
    if not setting.peers:
        why = "no program was given with --peer; docs/peers.md says how"
        missing.append(Missing(what="peers in environments of their own", why=why))
    cores = others.cores()
    rows = [_row(times, key, label, cores) for key, label in labels.items()]
    pairs = [name for name in setting.peers if {_PEER + name, _PEER + name + BARE} <= set(times)]
    return rows + [_beyond(times, name, cores) for name in pairs], missing


def _row(times: dict[str, Timings], key: str, label: str, cores: float | None) -> Row:
    return ratio_row(
        "peers",
        (_OURS, times[_OURS]),
        (label, times[key]),
        limit=LIMITS.get(label),
        at_least=True,
        others_cores=cores,
        note=f"8-bit {SIDE}×{SIDE} in memory; programs of their own count their own time",
    )


def _beyond(times: dict[str, Timings], name: str, cores: float | None) -> Row:
    """What a pipeline adds to its own bare inference, ours against a peer's."""
    ours = Timings(times[_OURS].samples_ms - times[_INFER].samples_ms)
    theirs = Timings(times[_PEER + name].samples_ms - times[_PEER + name + BARE].samples_ms)
    return Row(
        name="peers",
        ours="pipeline beyond bare inference",
        ours_value=ours.p50,
        other=f"{name} beyond {name}{BARE}",
        other_value=theirs.p50,
        unit="ms",
        figure=difference(ours, theirs),
        figure_unit="ms",
        limit=0.0,
        at_least=False,
        rounds=len(ours.samples_ms),
        others_cores=cores,
        note="what each takes longer than bare inference of its own model, round by round; the "
        "figure is how much longer ours is; ours has CLAHE, faults and decision in it",
    )
