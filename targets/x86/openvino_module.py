"""Load OpenVINO's extension module without the Python package around it.

`import openvino` also imports its model converter, which imports telemetry and an HTTP client. None
of that is needed to run a model, and it takes longer than compiling a small one. The extension
module itself has no telemetry, so there is none to switch off.
"""

from __future__ import annotations

import sys
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

_NAME = "openvino._pyopenvino"


def load_openvino() -> Any:
    """Return the extension module; a later `import openvino` in the process finds the same one.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    if _NAME in sys.modules:
        return sys.modules[_NAME]
    package = PathFinder.find_spec("openvino")
    for folder in (package.submodule_search_locations or ()) if package else ():
        for file in (Path(folder) / f"_pyopenvino{suffix}" for suffix in EXTENSION_SUFFIXES):
            spec = spec_from_file_location(_NAME, file) if file.is_file() else None
            if spec is not None and spec.loader is not None:
                module = module_from_spec(spec)
                sys.modules[_NAME] = module
                try:
                    spec.loader.exec_module(module)
                except BaseException:
                    del sys.modules[_NAME]
                    raise
                return module
    import openvino  # another layout: import the whole package  # noqa: F401

    return sys.modules[_NAME]


def openvino_version() -> str:
    """Version of OpenVINO, such as `2026.4.1`, without the build that follows it."""
    version: str = load_openvino().get_version()
    return version.partition("-")[0]
