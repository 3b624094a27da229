"""Starting weights from a safetensors file: another run's, or a timm backbone's. Never pickles."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import DataError
from orthoedge.training.model.ensemble import Ensemble


class WeightsReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tensors of a weights file a network took."""

    file: str
    """Name of the file."""
    sha256: str
    """Of the file."""
    into: str
    """`all`, or the timm name of the one backbone it was loaded into."""
    loaded: int
    """Tensors loaded."""
    wanted: int
    """Tensors of what `into` names; those not loaded are listed in `missed`."""
    missed: tuple[str, ...]
    """Tensors of the network, or of that backbone's branch, that are not in the file."""
    unused: tuple[str, ...]
    """Tensors of the file that the network does not have, or has in a different shape."""

    def line(self) -> str:
        """Return one line for the log."""
        text = f"weights {self.file}: {self.loaded} of {self.wanted} tensors of {self.into} loaded"
        if self.missed:
            text += f"; not in the file: {_some(self.missed)}"
        if self.unused:
            text += f"; in the file but not used: {_some(self.unused)}"
        return text


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Read the tensors of a safetensors file, and its SHA-256.

    Raises:
        DataError: not readable, or not safetensors; a pickle is never opened.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: weights cannot be read: {error.strerror}") from error
    try:
        return load(data), sha256(data)
    except SafetensorError as error:
        hint = ""
        if path.suffix in {".pt", ".pth", ".pkl", ".bin", ".ckpt"}:
            hint = " (a pickle can run code when opened, so .pt and .pth are refused)"
        raise DataError(f"{path}: expected a safetensors file{hint}: {error}") from error


def load_weights(network: Ensemble, path: Path) -> WeightsReport:
    """Load the tensors that fit from a run's model.safetensors or a backbone's timm state.

    A file of a single branch goes into the branch that it fits best. A first convolution for three
    channels is summed to one, which gives the same output on grey images. A tensor fits if its name
    and shape agree.

    Raises:
        DataError: not a safetensors file, or nothing in it fits.
    """
    tensors, digest = read_safetensors(path)
    own = network.state_dict()
    held = {name.split(".")[1] for name in tensors if name.startswith("branches.")}
    if len(held) > 1 or (held and len(network.names) == 1):
        into, branch, prefix = "all", "", ""
    else:
        inner = "" if held else "backbone."
        if held:  # of a run with one branch, whose fusion weight is 1 and is not needed
            start = f"branches.{held.pop()}."
            tensors = {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
        else:  # timm's ConvNeXt normalizes behind the pooling, ours before it
            tensors = {n.replace("head.norm.", "norm_pre."): t for n, t in tensors.items()}
        starts = {f"branches.{index}.": name for index, name in enumerate(network.names)}
        branch = max(starts, key=lambda start: len(_fitting(tensors, own, start + inner)))
        into, prefix = starts[branch], branch + inner
    fitting = _fitting(tensors, own, prefix)
    if not fitting:
        raise DataError(
            f"{path}: no tensor fits {' or '.join(network.names)}; the file's first is "
            f"{next(iter(tensors), 'missing: it is empty')}"
        )
    network.load_state_dict(own | fitting)
    return WeightsReport(
        file=path.name,
        sha256=digest,
        into=into,
        loaded=len(fitting),
        wanted=sum(name.startswith(prefix) for name in own),
        missed=tuple(n for n in own if n.startswith(branch) and n not in fitting),
        unused=tuple(name for name in tensors if prefix + name not in fitting),
    )


def _fitting(tensors: dict[str, Tensor], own: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors of the file that fit, under the network's names."""
    fitting = {}
    for name, tensor in tensors.items():
        target = own.get(prefix + name)
        if target is None:
            continue
        if tensor.ndim == 4 and tensor.shape[1] == 3 and target.shape[1] == 1:
            tensor = tensor.sum(1, keepdim=True)
        if tensor.shape == target.shape:
            fitting[prefix + name] = tensor.to(target.dtype)
    return fitting


def model_bytes(network: torch.nn.Module) -> bytes:
    """Serialise the network's state as safetensors."""
    return save({name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()})
