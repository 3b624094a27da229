"""Starting weights from a safetensors file: another run's, or a timm backbone's. Never pickles."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import DataError
from orthoedge.training.model.batch_norm import convolutions_before_norms
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.hub import WeightsFile


class WeightsReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which tensors of a weights file a network took."""

    file: str
    """Name of the file."""
    sha256: str
    """Of the file."""
    repository: str = ""
    """On the model hub; empty for a file that was given."""
    revision: str = ""
    """Commit of that repository."""
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
        origin = f"{self.repository} {self.revision[:12]}" if self.repository else self.file
        text = f"weights {origin}: {self.loaded} of {self.wanted} tensors of {self.into} loaded"
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


def load_weights(network: Ensemble, file: WeightsFile | Path) -> WeightsReport:
    """Load the tensors that fit from a run's model.safetensors or a backbone's timm state.

    A file of a single branch goes into the branch that it fits best. A first convolution for three
    channels is summed to one, and the scale of its pictures becomes that of ours: the output on
    grey images is the same, but for the outermost pixels, which the padding reaches. A tensor fits
    if its name and shape agree.

    Args:
        network: changed in place.
        file: of a run, or of a backbone with the scale of its pictures.

    Raises:
        DataError: not a safetensors file, or nothing in it fits.
    """
    source = file if isinstance(file, WeightsFile) else WeightsFile(file)
    tensors, digest = read_safetensors(source.path)
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
    fitting = fill(network, tensors, prefix, source, " or ".join(network.names), not held)
    return WeightsReport(
        file=source.path.name,
        repository=source.repository,
        revision=source.revision,
        sha256=digest,
        into=into,
        loaded=len(fitting),
        wanted=sum(name.startswith(prefix) for name in own),
        missed=missing(own, fitting, branch),
        unused=tuple(name for name in tensors if prefix + name not in fitting),
    )


def fill(
    network: torch.nn.Module,
    tensors: Mapping[str, Tensor],
    prefix: str,
    source: WeightsFile,
    what: str,
    rescale: bool,
) -> set[str]:
    """Load the tensors of a file that fit; a tensor fits if its name and shape agree.

    Args:
        network: changed in place.
        tensors: of the file, by name.
        prefix: before each of these names in the network.
        source: of the tensors.
        what: that they should fit, for the message.
        rescale: whether the pictures of the file's network were scaled as `source` says, and not
            as ours are.

    Returns:
        Names of the network's tensors that were loaded.

    Raises:
        DataError: nothing fits.
    """
    own = network.state_dict()
    fitting = _fitting(tensors, own, prefix)
    if not fitting:
        raise DataError(
            f"{source.path}: no tensor fits {what}; the file's first is "
            f"{next(iter(tensors), 'missing: it is empty')}"
        )
    network.load_state_dict(own | fitting)
    if rescale:
        _rescale(network, tensors, fitting, prefix, source)
    return set(fitting)


def missing(own: Iterable[str], loaded: Collection[str], part: str) -> tuple[str, ...]:
    """Names that begin with `part` and were not loaded."""
    return tuple(n for n in own if n.startswith(part) and not _known(n, loaded))


def _known(name: str, fitting: Collection[str]) -> bool:
    # torch's counter of batches has no effect, and timm's files lack it.
    return name in fitting or name.endswith(".num_batches_tracked")


@torch.no_grad()
def _rescale(
    network: torch.nn.Module,
    tensors: Mapping[str, Tensor],
    fitting: Mapping[str, Tensor],
    prefix: str,
    source: WeightsFile,
) -> None:
    """Make the first convolution take -1 to 1, and what follows it the shift that is left."""
    names = [n for n in tensors if prefix + n in fitting and _is_first(tensors[n])]
    for name in names:
        place = (prefix + name).removesuffix(".weight")
        convolution = network.get_submodule(place)
        assert isinstance(convolution, torch.nn.Conv2d)
        if convolution.weight.shape[1] != 1:
            continue
        std, mean = torch.tensor(source.std), torch.tensor(source.mean)
        weight = tensors[name].float()
        convolution.weight.copy_((weight / (2 * std).view(1, 3, 1, 1)).sum(1, keepdim=True))
        shift = (weight.sum((2, 3)) * (0.5 - mean) / std).sum(1)
        if convolution.bias is not None:
            convolution.bias.add_(shift)
            continue
        for norm, before in convolutions_before_norms(network).items():
            if before is convolution and norm.running_mean is not None:
                norm.running_mean.sub_(shift)


def _is_first(tensor: Tensor) -> bool:
    return tensor.ndim == 4 and tensor.shape[1] == 3


def _fitting(
    tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], prefix: str
) -> dict[str, Tensor]:
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
