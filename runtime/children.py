"""Starting our own code in a process of its own.

Python looks for modules in the working folder first (`-m`, `-c`), where a folder of radiographs may
hold anything. A child looks where its parent looks, and nowhere else.
"""

from __future__ import annotations

import sys


def run_code(code: str) -> list[str]:
    """The command line that runs `code`; arguments may be appended."""
    return [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}\n{code}"]


def run_module(name: str) -> list[str]:
    """The command line that runs a module as `python -m name` does; arguments may be appended."""
    return run_code(
        f"from runpy import run_module; run_module({name!r}, run_name='__main__', alter_sys=True)"
    )
