"""Settings of a watched folder: those of a file, or those that the command line stands for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from orthoedge.clinic.file_system import check_folder, check_local, only_one
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.settings_file import read_settings
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError, InputError

__all__ = ["check_folders", "check_outside", "claim_folders", "settings_places", "write_settings"]

_LOCK, _OWNER = ".orthoedge-watch.lock", ".orthoedge-watch"


def write_settings(
    results: Path, spool: Path, *, bundle: Path | None, target: str, precision: str
) -> Path:
    """Write the settings of a node whose one destination is a folder, into its spool.

    Args:
        results: the folder of the destination.
        spool: made if it is missing, readable by its owner alone.
        bundle: None for the one inside the package.
        target: of the engine.
        precision: of the engine.

    Returns:
        The file.

    Raises:
        ConfigError: a path is not UTF-8, or an argument has no such value.
        OSError: the file cannot be written.
    """
    spool = spool.absolute()
    values = {
        "spool": str(spool),
        "engine.bundle": "" if bundle is None else str(bundle.absolute()),
        "engine.target": target,
        "engine.precision": precision,
        "destinations.results.kind": "folder",
        "destinations.results.path": str(results.absolute()),
    }
    # A string of JSON is one of TOML too, unless it escapes what is not ASCII.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items()]
    try:
        content = "".join(lines).replace("\x7f", "\\u007f").encode()
    except UnicodeEncodeError as error:
        raise ConfigError("the name of a folder is not UTF-8: rename it") from error
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = spool / "settings.toml"
    write_atomic(file, content)
    return file


def check_folders(watched: Path, settings_file: Path) -> NodeSettings:
    """Read the settings, and check that results do not fall into the watched folder.

    Raises:
        ConfigError: the settings cannot be used, or would send results nowhere.
        InputError: there is no such folder, or results or the spool would lie in it.
        OSError: the settings cannot be read.
    """
    settings = read_settings(settings_file)
    if not settings.destinations:
        raise ConfigError(f"{settings_file}: no destinations, so there is no place for results")
    places = {f"destination {n}": Path(d.path) for n, d in settings.destinations.items() if d.path}
    check_outside(watched, {"the spool": settings.folder, **places})
    check_local("the spool", settings.folder)
    if settings.history.folder:
        check_folder("the history", Path(settings.history.folder))
    return settings


def settings_places(settings: NodeSettings) -> dict[str, Path]:
    """Folders to claim for a watched one, by what names each: no folder comes twice."""
    named = {
        settings.folder.resolve(): "spool",
        **{
            Path(destination.path).resolve(): f"path in [destinations.{name}]"
            for name, destination in settings.destinations.items()
            if destination.path
        },
    }
    return {what: place for place, what in named.items()}


def check_outside(watched: Path, places: Mapping[str, Path]) -> None:
    """Check that there is a folder to be watched, and that none of `places` lies in it.

    Args:
        watched: the folder.
        places: folder by what is written there.

    Raises:
        InputError: there is none, or one lies in it.
    """
    if not watched.is_dir():
        raise InputError(f"{watched}: not a folder")
    for what, place in places.items():
        if place.resolve().is_relative_to(watched.resolve()):
            raise InputError(
                f"{what}, {place}, lies in the watched folder, {watched}, whose files are taken; "
                "choose a folder outside it"
            )


@contextmanager
def claim_folders(watched: Path, places: Mapping[str, Path]) -> Iterator[None]:
    """Keep folders for one watched folder, so that no other one replaces its results or its record.

    For as long as it lasts no other `orthoedge watch` may use them, and afterwards only one that
    watches the same folder.

    Args:
        watched: the folder.
        places: folder by the option that names it; made if it is missing.

    Raises:
        ConfigError: a place belongs to another watched folder.
        DataError: another process watches into it.
        OSError: it cannot be written.
    """
    name = os.fsencode(watched.resolve())
    owners = [place / _OWNER for place in places.values()]
    with ExitStack() as held:
        for option, place in places.items():
            place.mkdir(mode=0o700, parents=True, exist_ok=True)
            what = f"{place}: another orthoedge watch uses this folder"
            held.enter_context(
                only_one(place / _LOCK, what, f"end it, or give this one another {option}")
            )
        taken = [file for file in owners if file.exists() and file.read_bytes() != name]
        for option, place in places.items():
            if place / _OWNER in taken:
                other = os.fsdecode((place / _OWNER).read_bytes())
                raise ConfigError(
                    f"{place}: belongs to the watched folder {other}; choose another {option}, or "
                    f"delete {' and '.join(map(str, taken))} if that folder was moved to {watched}"
                )
        for owner in owners:
            if not owner.exists():
                write_atomic(owner, name)
        yield
