"""A cache of engine plans, written atomically and checked before use.

TensorRT may end the process on a damaged plan, and runs a plan of another model or device with
wrong results. So each file begins with what it was built from and a SHA-256 over everything, and
both are checked before TensorRT sees a byte. Plans are built in a child process, because
TensorRT's builder can crash on a broken model:
`python -m orthoedge.targets.jetson.plan_cache FOLDER TENSORRT DEVICE < MODEL`.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import msgspec

from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.subprocesses import run_worker, serve_result
from orthoedge.targets.jetson.device import Device
from orthoedge.targets.jetson.plan_builder import build_plan
from orthoedge.targets.jetson.tensorrt_module import JETPACK, Modules

_TIMEOUT_S = 3600  # the smallest board times every candidate kernel
# The number changes with the settings in `build_plan` and with the file's layout.
_MAGIC = b"orthoedge tensorrt 1\n"


@dataclass(frozen=True)
class StoredPlan:
    """A plan that may be given to TensorRT."""

    data: bytes
    """The serialized engine, as it was when it was built here."""
    warnings: tuple[str, ...]
    """TensorRT's warnings when it was built."""
    built: bool
    """Whether it was built now; otherwise it was taken from the cache."""
    refused: str
    """Why a file in the cache was not used; empty if it was used, or nothing was there."""


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a cached file was built from. Memory is left out: it varies from start to start."""

    kind: Literal["tensorrt", "timings"]
    model: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    driver: str
    tensorrt: str

    def file(self, folder: Path) -> Path:
        """Path of such a file in the cache."""
        return folder / f"{sha256(_MAGIC + msgspec.json.encode(self))[:32]}.{self.kind}"

    def unlike(self, ours: _Facts) -> str:
        """Describe the first fact that differs in `ours`."""
        there, here = msgspec.structs.asdict(self), msgspec.structs.asdict(ours)
        name = next(name for name in there if there[name] != here[name])
        return f"{name} {there[name]}, and here it is {here[name]}"


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    facts: _Facts
    warnings: tuple[str, ...]


def load_plan(model: bytes, device: Device, folder: Path) -> tuple[StoredPlan | None, str]:
    """Load the plan of a model for a device from the cache.

    Returns:
        The plan, or None and why the file that is there cannot be used; the reason is empty if
        there is no file.

    Raises:
        EngineError: the cache cannot be read.
    """
    cached, refused = _load(folder, _plan_facts(model, device))
    return None if cached is None else StoredPlan(*cached, built=False, refused=""), refused


def obtain_plan(
    model: bytes, device: Device, folder: Path | None, modules: Modules = JETPACK
) -> StoredPlan:
    """Load a model's plan for this device, or build it, which takes minutes on a board.

    Args:
        model: an ONNX file with the interface of a bundle's models, its hash already checked.
        device: this device, from `probe`.
        folder: the cache, which also holds kernel timings that make the next build faster; None
            caches nothing.
        modules: the packages that are imported as TensorRT and CUDA.

    Raises:
        MissingDependency: TensorRT is not installed.
        EngineError: TensorRT refused the model, the process that built it crashed, or the cache
            cannot be read or written.
    """
    cached, refused = (None, "") if folder is None else load_plan(model, device, folder)
    if cached is not None:
        return cached
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as name:
        return _build(model, device, Path(name), modules, refused)


def _build(
    model: bytes, device: Device, folder: Path, modules: Modules, refused: str
) -> StoredPlan:
    """Build the plan in a child process, and load it from the cache with all checks."""
    arguments = [str(folder), modules.tensorrt, msgspec.json.encode(device).decode()]
    result = run_worker(__name__, arguments, "building the engine plan", _TIMEOUT_S, model)
    reasons = refused, msgspec.json.decode(result, type=str)
    plan, lost = load_plan(model, device, folder)
    if plan is None:
        raise EngineError(f"the engine plan just built is not in {folder}: {lost or 'no file'}")
    return replace(plan, built=True, refused="; ".join(filter(None, reasons)))


def build_into(folder: Path, module: str, device: Device, model: bytes) -> str:
    """Build a plan in this process, and write it and TensorRT's kernel timings to `folder`.

    Returns:
        Why cached timings were not used; empty if they were used, or there were none.

    Raises:
        MissingDependency: TensorRT is not installed.
        EngineError: TensorRT refused the model, or the cache cannot be read or written.
    """
    facts = _plan_facts(model, device)
    timing_facts = msgspec.structs.replace(facts, kind="timings", model="")
    timings, refused = _load(folder, timing_facts)
    plan = build_plan(model, module, b"" if timings is None else timings[0])
    try:
        write_atomic(facts.file(folder), _encode(facts, plan.warnings, plan.data))
        if plan.timing_cache:
            write_atomic(timing_facts.file(folder), _encode(timing_facts, (), plan.timing_cache))
    except OSError as error:
        raise _cache_failed(folder, error) from error
    return refused


def _plan_facts(model: bytes, device: Device) -> _Facts:
    return _Facts(
        kind="tensorrt",
        model=sha256(model),
        gpu=device.name,
        compute_capability=device.compute_capability,
        multiprocessors=device.multiprocessors,
        driver=device.driver,
        tensorrt=device.tensorrt,
    )


def _encode(facts: _Facts, warnings: tuple[str, ...], payload: bytes) -> bytes:
    """Magic, SHA-256 of the rest, a line of JSON, payload: `head -3` shows all but the payload."""
    rest = msgspec.json.encode(_Header(facts, warnings)) + b"\n" + payload
    return _MAGIC + sha256(rest).encode() + b"\n" + rest


def _load(folder: Path, facts: _Facts) -> tuple[tuple[bytes, tuple[str, ...]] | None, str]:
    """Read payload and warnings of the cached file for these facts; None and why if unusable."""
    file = facts.file(folder)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise _cache_failed(folder, error) from error
    if not content.startswith(_MAGIC):
        return None, f"{file.name} is cut off, or not a file of this program"
    digest, end, rest = content[len(_MAGIC) :].partition(b"\n")
    if digest + end != sha256(rest).encode() + b"\n":
        return None, f"{file.name} is damaged: its SHA-256 is another"
    line, _, payload = rest.partition(b"\n")
    try:
        header = msgspec.json.decode(line, type=_Header)
    except msgspec.DecodeError as error:
        return None, f"{file.name} has another version's header: {error}"
    if header.facts != facts:
        return None, f"{file.name} was made for {header.facts.unlike(facts)}"
    return (payload, header.warnings), ""


def _cache_failed(folder: Path, error: OSError) -> EngineError:
    return EngineError(f"plan store {folder}: {error.strerror or error}")


if __name__ == "__main__":
    _folder, _module, _device = sys.argv[1:]
    _decoded = msgspec.json.decode(_device, type=Device)
    serve_result(
        lambda: msgspec.json.encode(
            build_into(Path(_folder), _module, _decoded, sys.stdin.buffer.read())
        )
    )
