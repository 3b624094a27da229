"""A share of the processor, through a control group of its own.

Source: the kernel's pages "CFS Bandwidth Control" (version 1: cpu.cfs_quota_us in each
cpu.cfs_period_us) and "Control Group v2" (cpu.max).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from orthoedge.runtime.errors import EngineError

ROOT = Path("/")
_PERIOD_US = 100_000  # the kernel's own default
_PREFIX = "orthoedge-benchmark-"
_PROCESSES = "cgroup.procs"


class _Hierarchy(NamedTuple):
    version: int
    folder: Path
    """The group that this process is in."""


@contextlib.contextmanager
def cpu_quota(cores: float, root: Path = ROOT) -> Iterator[None]:
    """Keep this process, and all that it starts meanwhile, to so many cores' time.

    In each tenth of a second, once the share is used up, all threads stand still until the next.
    The group is removed in the end, and the group of a process that was killed by whoever comes
    next.

    Args:
        cores: above 0; a fraction is allowed.
        root: folder in place of `/`.

    Raises:
        EngineError: the system does not allow it; the reason is in it.
    """
    if not cores > 0:
        raise EngineError(f"--cpu-quota: expected a number of cores above 0, got {cores:g}")
    try:
        hierarchy = _find(root)
        _remove_left(hierarchy.folder)
        group = hierarchy.folder / f"{_PREFIX}{os.getpid()}"
        group.mkdir()
    except OSError as error:
        raise _refused(error) from error
    try:
        try:
            _limit(hierarchy, group, cores)
            (group / _PROCESSES).write_text(f"{os.getpid()}\n")
        except OSError as error:
            raise _refused(error) from error
        yield
    finally:
        _leave(hierarchy.folder, group)


def _find(root: Path) -> _Hierarchy:
    """The group that this process is in, in the hierarchy that counts processor time."""
    own = {}
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        own[controllers] = path
    for line in (root / "proc/self/mountinfo").read_text().splitlines():
        mount, _, kind = line.partition(" - ")
        inner, point = mount.split()[3:5]
        name, _, options = kind.split()[:3]
        held = next((c for c in own if "cpu" in c.split(",")), None)
        if name == "cgroup" and held is not None and "cpu" in options.split(","):
            return _Hierarchy(1, _below(root, point, inner, own[held]))
        if name == "cgroup2" and held is None and "" in own:
            return _Hierarchy(2, _below(root, point, inner, own[""]))
    raise EngineError("--cpu-quota: no control groups for processor time are mounted here")


def _below(root: Path, point: str, inner: str, path: str) -> Path:
    shown = path.removeprefix(inner) if inner != "/" else path
    return root / point.lstrip("/") / shown.lstrip("/")


def _limit(hierarchy: _Hierarchy, group: Path, cores: float) -> None:
    quota = round(cores * _PERIOD_US)
    if hierarchy.version == 1:
        (group / "cpu.cfs_period_us").write_text(f"{_PERIOD_US}\n")
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        return
    control = hierarchy.folder / "cgroup.subtree_control"
    if "cpu" not in control.read_text().split():
        control.write_text("+cpu\n")  # refused while the group holds processes of its own
    (group / "cpu.max").write_text(f"{quota} {_PERIOD_US}\n")


def _leave(folder: Path, group: Path) -> None:
    """Send every process of the group back to where it came from, and remove the group."""
    with contextlib.suppress(FileNotFoundError):
        for process in (group / _PROCESSES).read_text().split():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                (folder / _PROCESSES).write_text(f"{process}\n")
    group.rmdir()


def _remove_left(folder: Path) -> None:
    for group in folder.glob(f"{_PREFIX}*"):
        alive = Path("/proc", group.name.removeprefix(_PREFIX)).exists()
        if not alive:
            with contextlib.suppress(OSError):  # a child of it still runs
                group.rmdir()


def _refused(error: OSError) -> EngineError:
    where = f"{error.filename}: " if error.filename else ""
    return EngineError(
        f"--cpu-quota: {where}{error.strerror or error}; the system does not let this user have a "
        "control group of its own: try systemd-run --user --scope -p CPUQuota=50%, or a container"
    )
