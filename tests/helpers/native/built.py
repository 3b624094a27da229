"""Fixtures: orthoedge-native in `.native/`, where `make native` puts it; a skip if not built."""

import importlib
import os
import sys

import pytest

from tests.conftest import ROOT


@pytest.fixture(scope="session")
def built():
    """Folder that holds orthoedge_native."""
    folder = ROOT / ".native"
    if not (folder / ".installed").exists():
        message = "orthoedge-native is not built: apt-get install libhwy-dev g++, then make native"
        if os.environ.get("ORTHOEDGE_REQUIRE_ALL") == "1":
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(scope="session")
def library(built):
    """The module, without installing it for the runtime."""
    sys.path.insert(0, str(built))
    try:
        return importlib.import_module("orthoedge_native")
    finally:
        sys.path.remove(str(built))
        sys.modules.pop("orthoedge_native", None)
