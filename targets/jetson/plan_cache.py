"""Engine plans kept between starts: never half-written, never loaded unless they are what they say.

TensorRT may end the process on a damaged plan, and takes a foreign one with wrong answers; so each
file begins with what it was made from and a SHA-256 over everything, and both are checked before
TensorRT sees a byte. Plans are built in a child process,
`python -m orthoedge.targets.jetson.plan_cache FOLDER TENSORRT DEVICE < MODEL`.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from orthoedge.runtime.atomic_files import sha256, write_atomic
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.subprocesses import run_worker, serve_result
from orthoedge.targets.jetson.device import Device
from orthoedge.targets.jetson.plan_builder import build_plan
from orthoedge.targets.jetson.tensorrt_module import JETPACK, Modules

_TIMEOUT_S = 3600  # the smallest board times every kernel that could do
# The number changes with the settings in `build_plan` and with the lines of a file.
_MAGIC = b"orthoedge tensorrt 1\n"


@dataclass(frozen=True)
class StoredPlan:
    """A plan that may be given to TensorRT."""

    data: bytes
    """The serialized engine, as it was when it was built here."""
    warnings: tuple[str, ...]
    """What TensorRT said when it built it."""
    built: bool
    """Whether it was built now; else it was taken from the store."""
    refused: str
    """Why what was in the store was not used; empty if nothing was there, or it was used."""


class _Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file in the store was made from; memory is not in it, being never quite the same."""

    kind: Literal["tensorrt", "timings"]
    model: str
    gpu: str
    compute_capability: str
    multiprocessors: int
    driver: str
    tensorrt: str

    def file(self, folder: Path) -> Path:
        """Where in the store such a file lies."""
        return folder / f"{sha256(_MAGIC + msgspec.json.encode(self))[:32]}.{self.kind}"

    def unlike(self, ours: _Facts) -> str:
        """The first fact that is another in `ours`, as both have it."""
        there, here = msgspec.structs.asdict(self), msgspec.structs.asdict(ours)
        name = next(name for name in there if there[name] != here[name])
        return f"{name} {there[name]}, and here it is {here[name]}"


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    facts: _Facts
    warnings: tuple[str, ...]


class _Found(NamedTuple):
    header: _Header
    payload: bytes


def obtain_plan(
    model: bytes,
    device: Device,
    folder: Path | None,
    modules: Modules = JETPACK,
    rebuild: bool = True,
) -> StoredPlan:
    """The plan of a model for this device: from the store if it is whole and fits, else built.

    Args:
        model: an ONNX file with the common face, its hash already checked.
        device: what `probe` found here.
        folder: the store, also of the timings that make the next build faster; None keeps nothing.
        modules: which modules stand behind TensorRT.
        rebuild: whether a plan may be built, which takes minutes on a board.

    Raises:
        MissingDependency: TensorRT is not installed.
        EngineError: TensorRT refused the model, the process that built it crashed, the store
            cannot be read or written, or there is no usable plan and none may be built.
    """
    facts = _plan_facts(model, device)
    found, refused = (None, "") if folder is None else _look(folder, facts)
    if found is not None:
        return StoredPlan(found.payload, found.header.warnings, built=False, refused="")
    if not rebuild:
        reason = refused or f"none is kept for TensorRT {device.tensorrt} and this {device.name}"
        raise EngineError(f"no engine plan: {reason}; run orthoedge build on this device")
    if folder is not None:
        return _build(model, device, folder, modules, refused)
    with tempfile.TemporaryDirectory() as name:
        return _build(model, device, Path(name), modules, refused)


def _build(
    model: bytes, device: Device, folder: Path, modules: Modules, refused: str
) -> StoredPlan:
    """Have a child process build the plan, and read what it left as if it had always been there."""
    arguments = [str(folder), modules.tensorrt, msgspec.json.encode(device).decode()]
    said = run_worker(__name__, arguments, "building the engine plan", _TIMEOUT_S, model)
    reasons = refused, msgspec.json.decode(said, type=str)
    found, lost = _look(folder, _plan_facts(model, device))
    if found is None:
        raise EngineError(f"the engine plan just built is not in {folder}: {lost or 'no file'}")
    told = "; ".join(filter(None, reasons))
    return StoredPlan(found.payload, found.header.warnings, built=True, refused=told)


def build_into(folder: Path, module: str, device: Device, model: bytes) -> str:
    """The child's part: build, and leave the plan and TensorRT's timings in `folder`.

    Returns:
        Why the timings that were there were not used; empty if they were, or none were there.

    Raises:
        MissingDependency: TensorRT is not installed.
        EngineError: TensorRT refused the model, or the store cannot be read or written.
    """
    facts = _plan_facts(model, device)
    of_all = msgspec.structs.replace(facts, kind="timings", model="")
    timings, refused = _look(folder, of_all)
    plan = build_plan(model, module, b"" if timings is None else timings.payload)
    try:
        write_atomic(facts.file(folder), _seal(facts, plan.warnings, plan.data))
        if plan.timing_cache:
            write_atomic(of_all.file(folder), _seal(of_all, (), plan.timing_cache))
    except OSError as error:
        raise _store_failed(folder, error) from error
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


def _seal(facts: _Facts, warnings: tuple[str, ...], payload: bytes) -> bytes:
    """Magic, SHA-256 of the rest, one line of JSON, payload; `head -3` shows all but the last."""
    rest = msgspec.json.encode(_Header(facts, warnings)) + b"\n" + payload
    return _MAGIC + sha256(rest).encode() + b"\n" + rest


def _look(folder: Path, facts: _Facts) -> tuple[_Found | None, str]:
    """What the store keeps for these facts, or why that is not to be used; the bytes are read once.

    Raises:
        EngineError: it cannot be read.
    """
    file = facts.file(folder)
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None, ""
    except OSError as error:
        raise _store_failed(folder, error) from error
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
    return _Found(header, payload), ""


def _store_failed(folder: Path, error: OSError) -> EngineError:
    return EngineError(f"plan store {folder}: {error.strerror or error}")


if __name__ == "__main__":
    _folder, _module, _device = sys.argv[1:]
    serve_result(
        lambda: msgspec.json.encode(
            build_into(
                Path(_folder),
                _module,
                msgspec.json.decode(_device, type=Device),
                sys.stdin.buffer.read(),
            )
        )
    )
