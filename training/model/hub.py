"""timm's pretrained weights, from the model hub's own cache.

https://huggingface.co/docs/huggingface_hub/guides/manage-cache; HF_HUB_CACHE and HF_HUB_OFFLINE act
as everywhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

from orthoedge.runtime.errors import DataError

IMAGENET = "imagenet"
"""What stands for the pretrained weights of every backbone in place of a file."""
_FILE = "model.safetensors"
Colour = tuple[float, float, float]
"""A value of red, green and blue."""
_OWN: Colour = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class WeightsFile:
    """A safetensors file, and the scale of the pictures that its network was trained on."""

    path: Path
    repository: str = ""
    """On the hub; empty for any other file."""
    revision: str = ""
    """Commit of the repository."""
    mean: Colour = _OWN
    """Of red, green and blue, 0 to 1; subtracted from pixels before `std` divides them."""
    std: Colour = _OWN


def weights_files(given: Sequence[Path], backbones: Sequence[str]) -> tuple[WeightsFile, ...]:
    """Find the files behind `--weights`: paths as they are, `imagenet` as one for each backbone.

    Raises:
        DataError: the hub has no such weights, or cannot be reached and its cache lacks them.
    """
    return tuple(file for path in given for file in _files(path, backbones))


def _files(path: Path, backbones: Sequence[str]) -> Iterator[WeightsFile]:
    if str(path) == IMAGENET and not path.exists():
        yield from (_from_hub(name) for name in backbones)
        return
    # timm names its files by network: the scale is that of this network, whichever it goes into.
    mean, std = _scale(path.name.partition(".")[0])
    yield WeightsFile(path, mean=mean, std=std)


def _from_hub(backbone: str) -> WeightsFile:
    settings = timm.get_pretrained_cfg(backbone, allow_unregistered=True)
    repository = settings.hf_hub_id if settings else None
    if not repository:
        raise DataError(f"{backbone}: timm has no pretrained weights for it; leave out {IMAGENET}")
    try:
        path = Path(hf_hub_download(repository, _FILE))
    except EntryNotFoundError as error:
        if not isinstance(error, LocalEntryNotFoundError):
            raise DataError(f"{backbone}: {repository} on the hub has no {_FILE}") from error
        raise _missing(backbone, repository) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise _missing(backbone, repository) from error
    return WeightsFile(path, repository, path.parent.name, *_scale(backbone))


def _missing(backbone: str, repository: str) -> DataError:
    return DataError(
        f"{backbone}: pretrained weights are not in {constants.HF_HUB_CACHE} and the hub cannot be "
        f"reached; take {_FILE} of huggingface.co/{repository} from another machine and give "
        f"--weights {backbone}.safetensors"
    )


def _scale(name: str) -> tuple[Colour, Colour]:
    """Mean and deviation of a network's pictures; ours for a name that timm does not know."""
    settings = timm.get_pretrained_cfg(name, allow_unregistered=True) if name else None
    if settings is None:
        return _OWN, _OWN
    (*mean,), (*std,) = settings.mean, settings.std
    return (mean[0], mean[1], mean[2]), (std[0], std[1], std[2])
