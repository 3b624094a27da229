"""Changes in a folder: as the system tells them (inotify), or found by looking again and again."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orthoedge.clinic.file_system import file_system, is_network
from orthoedge.clinic.log import Log
from orthoedge.clinic.watch.journal import FileState
from orthoedge.runtime.errors import MissingDependency

if TYPE_CHECKING:
    from watchdog.events import FileSystemEvent

__all__ = ["Changes", "list_files", "observe", "state_of"]

_POLL_S = 2.0
# With inotify too: its queue can overflow, and a folder that is moved in holds files already.
_LOOK_AGAIN_S = 60.0
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".crdownload", "~")
_EVENTS = ("created", "modified", "moved", "closed")


class Changes:
    """What has changed since the last call; threads may share it.

    Args:
        folder: the watched folder.
        look_again_s: seconds between two looks at all of it.
    """

    def __init__(self, folder: Path, look_again_s: float) -> None:
        self.look_again_s = look_again_s
        self._folder = folder
        self._lock = threading.Lock()
        self._names: set[str] = set()
        self._is_unknown = True

    def note(self, path: str) -> None:
        """Write down that a file was written or moved to `path`."""
        name = os.path.relpath(path, self._folder)
        if _is_watched(name):
            with self._lock:
                self._names.add(name)

    def note_unknown(self) -> None:
        """Write down that something changed, such as a folder that was moved here."""
        with self._lock:
            self._is_unknown = True

    def take(self) -> set[str] | None:
        """Paths below the folder that have changed; None where all of it must be looked at."""
        with self._lock:
            names, is_unknown = self._names, self._is_unknown
            self._names, self._is_unknown = set(), False
        return None if is_unknown else names

    def dispatch(self, event: FileSystemEvent) -> None:
        """Take an event of the watchdog package, which asks for a method of this name."""
        if event.event_type not in _EVENTS:
            return
        if event.is_directory:
            if event.event_type in ("created", "moved"):
                self.note_unknown()
            return
        for path in (event.src_path, event.dest_path):
            if path:
                self.note(os.fsdecode(path))


@contextmanager
def observe(folder: Path, log: Log) -> Iterator[Changes]:
    """Observe a folder and all below it: by inotify, or where that does not work by looking.

    Raises:
        MissingDependency: watchdog is not installed.
    """
    try:
        from watchdog.observers import Observer
    except ImportError as error:
        raise MissingDependency("watchdog", "clinic", "watching a folder") from error
    kind = file_system(folder)
    if is_network(kind):  # it tells nothing of what other machines write
        log("looks at the folder again and again", reason=f"{kind} is a network file system")
        yield Changes(folder, _POLL_S)
        return
    changes = Changes(folder, _LOOK_AGAIN_S)
    observer: Any = Observer()
    observer.schedule(changes, str(folder), recursive=True)
    try:
        observer.start()
    except OSError as error:  # no watches left, or a file system without them
        reason = error.strerror or str(error)
        log("looks at the folder again and again", reason=f"inotify: {reason}")
        changes = Changes(folder, _POLL_S)
        yield changes
        return
    try:
        yield changes
    finally:
        observer.stop()
        observer.join()


def list_files(folder: Path, log: Log) -> Iterator[str]:
    """Paths below `folder` of its files; links, hidden and unfinished files are left out.

    Raises:
        OSError: the folder itself cannot be read.
    """
    waiting = [""]
    while waiting:
        below = waiting.pop()
        try:
            with os.scandir(folder / below) as entries:
                for entry in entries:
                    name = os.path.join(below, entry.name)  # noqa: PTH118 - a Path for each is slow
                    with contextlib.suppress(FileNotFoundError):
                        if entry.is_dir(follow_symlinks=False):
                            waiting += [name] if _is_watched(name) else []
                        elif entry.is_file(follow_symlinks=False) and _is_watched(name):
                            yield name
        except FileNotFoundError:
            if not below:
                raise
        except OSError as error:
            if not below:
                raise
            log("cannot read a folder below the watched one", reason=error.strerror or str(error))


def state_of(path: Path) -> FileState | None:
    """State of a regular file; None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        if path.is_file() and not path.is_symlink():
            return FileState.of(path.stat())
    return None


def _is_watched(name: str) -> bool:
    """Return whether neither a part of the path is hidden nor the file still being written."""
    is_hidden = name.startswith(".") or f"{os.sep}." in name
    return not is_hidden and not name.lower().endswith(_UNFINISHED)
