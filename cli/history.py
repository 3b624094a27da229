"""The history of a clinic, as verbs of the command line open it."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.runtime.errors import DataError

if TYPE_CHECKING:
    from orthoedge.clinic.history import History

__all__ = ["check_history", "open_history", "shell_user"]


def check_history(folder: Path, option: str) -> None:
    """Check that a folder holds a history, since opening one makes what is missing, as its user.

    Args:
        folder: what `option` names.
        option: which the message asks for.

    Raises:
        ConfigError: it is of another user, and this process is root's.
        DataError: it holds none.
    """
    from orthoedge.clinic.file_system import check_owner
    from orthoedge.clinic.history.history import DATABASE

    check_owner(folder)
    if not (folder / DATABASE).is_file():
        raise DataError(f"{folder}: holds no history; name its folder with {option}")


def open_history(folder: Path) -> closing[History]:
    """Open a history; at the end of the `with` it is closed.

    Raises:
        DataError, OSError: as `History`.
    """
    from orthoedge.clinic.history import History

    return closing(History(folder))


def shell_user() -> str:
    """Who runs the command, for the audit trail; no account has a colon in its name."""
    from orthoedge.clinic.file_system import user_name

    return f"shell:{os.environ.get('SUDO_USER') or user_name(os.geteuid())}"
