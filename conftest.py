"""Make `orthoedge.<folder>` importable from a bare checkout, with or without an install."""

import importlib.util
import sys
import types
from pathlib import Path

ROOT = Path(__file__).parent

if importlib.util.find_spec("orthoedge") is None:
    package = types.ModuleType("orthoedge")
    package.__path__ = [str(ROOT)]
    sys.modules["orthoedge"] = package
