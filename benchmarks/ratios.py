"""Every promise about speed, measured in one run: ours, the other, the ratio, the limit."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from orthoedge.benchmarks import machine, ratio_calls, ratio_processes
from orthoedge.benchmarks.ratio_peers import peers as measure_peers
from orthoedge.benchmarks.ratio_rows import Ratios, Row, Setting, table_line
from orthoedge.benchmarks.schema import Missing
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.errors import DataError, EngineError, MissingDependency
from orthoedge.targets.cpu import available_cores

_PEERS = "peers"
_TARGETS: dict[str, Callable[[Setting], list[Row]]] = {
    "seeds": ratio_calls.seeds,
    "bare": ratio_calls.bare,
    "map": ratio_calls.saliency,
    "dicom": ratio_calls.dicom,
    "start": ratio_processes.start,
    "memory": ratio_processes.memory,
    "import": ratio_processes.imports,
    "folder": ratio_processes.folder,
}
NAMES = (*_TARGETS, _PEERS)
"""What can be asked for, in the order it is measured."""


def measure(
    bundle: Bundle,
    names: Sequence[str],
    rounds: int,
    threads: int | None = None,
    peers: Mapping[str, str] | None = None,
) -> Ratios:
    """Measure each promise, its candidates taking turns.

    Args:
        bundle: what to run, on x86.
        names: of `NAMES`, in any order.
        rounds: timed calls of what takes milliseconds; what takes longer is called less often.
        threads: of every engine; None for one per core this process may use.
        peers: commands of peers' programs, by name; see `docs/peers.md`.

    Returns:
        The rows; of what could not be measured here, the reason.
    """
    described = machine.describe_machine()
    setting = Setting(bundle, rounds, threads or available_cores(), peers or {})
    rows: list[Row] = []
    missing: list[Missing] = []
    for name in (name for name in NAMES if name in names):
        print(f"measuring {name}", file=sys.stderr, flush=True)
        try:
            found, absent = (
                measure_peers(setting) if name == _PEERS else (_TARGETS[name](setting), [])
            )
        except (DataError, EngineError, MissingDependency) as error:
            found, absent = [], [Missing(what=name, why=str(error))]
        rows += found
        missing += absent
        for row in found:  # a run takes minutes, and may be interrupted
            print(table_line(row), file=sys.stderr, flush=True)
    return Ratios(
        bundle=bundle.manifest.name,
        bundle_version=bundle.manifest.version,
        bundle_sha256=bundle.sha256,
        threads=setting.threads,
        machine=described,
        rows=tuple(rows),
        missing=tuple(missing),
    )
