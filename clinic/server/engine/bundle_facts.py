"""What the page says of the bundle, read in a process of its own: the server loads no numpy."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from orthoedge.clinic.settings import EngineSettings
from orthoedge.runtime.subprocesses import run_worker, serve_result

__all__ = ["BundleFacts", "read_bundle_facts"]

_MODULE = "orthoedge.clinic.server.engine.bundle_facts"
_LONGEST_S = 120.0


class BundleFacts(msgspec.Struct, frozen=True):
    """What the page says of the bundle."""

    name: str
    version: str
    sha256: str
    labels: tuple[str, ...]
    alert_labels: tuple[str, ...]
    """Labels that are never dropped silently."""
    notice: str
    """Its intended use."""


def read_bundle_facts(engine: EngineSettings) -> BundleFacts:
    """Read and check the bundle.

    Raises:
        EngineError: it cannot be used, or the target does not run the precision.
        MissingDependency: the target needs a package that is not installed.
    """
    line = run_worker(
        _MODULE, [msgspec.json.encode(engine).decode()], "reading the bundle", _LONGEST_S
    )
    return msgspec.json.decode(line, type=BundleFacts)


def _read(settings: str) -> bytes:
    from orthoedge.runtime import BundleTrust, read_bundle, read_key
    from orthoedge.runtime.bundles.bundle import bundle_path
    from orthoedge.runtime.errors import EngineError
    from orthoedge.targets import check_target, precisions_of

    engine = msgspec.json.decode(settings, type=EngineSettings)
    check_target(engine.target)
    key = read_key(Path(engine.public_key)) if engine.public_key else None
    bundle = read_bundle(bundle_path(engine.bundle or None), trust=BundleTrust(key))
    runs = precisions_of(bundle, engine.target)
    if engine.precision not in ("auto", *runs):
        raise EngineError(
            f"target {engine.target} runs {' and '.join(runs)}, not {engine.precision}"
        )
    manifest = bundle.manifest
    return msgspec.json.encode(
        BundleFacts(
            manifest.name,
            manifest.version,
            bundle.sha256,
            manifest.labels,
            manifest.alert_labels,
            manifest.intended_use,
        )
    )


if __name__ == "__main__":
    serve_result(lambda: _read(sys.argv[1]))
