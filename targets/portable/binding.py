"""ONNX Runtime without its telemetry.

From version 1.29 its official builds keep a database in the home folder and send what they are used
for to their maker. Only a variable of the environment switches that off, and it is read once, when
the library is loaded.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from types import ModuleType

_NAME, _SWITCH = "onnxruntime", "ORT_DISABLE_TELEMETRY"
_lock = threading.Lock()


def binding() -> ModuleType:
    """The package `onnxruntime`; where the caller has imported it already, as that left it.

    Raises:
        ImportError: ONNX Runtime is not installed.
    """
    with _lock:
        if _NAME in sys.modules:
            return sys.modules[_NAME]
        before = os.environ.get(_SWITCH)
        os.environ[_SWITCH] = "1"
        try:
            module = importlib.import_module(_NAME)
        finally:
            if before is None:
                del os.environ[_SWITCH]
            else:
                os.environ[_SWITCH] = before
        return module
