"""The stand-ins for a board: see tests/helpers/tensorrt_standin."""

import gc
import json
import sys

import pytest

from orthoedge.targets.jetson.tensorrt_module import Modules
from tests.helpers.tensorrt_standin import gpu as standin_gpu


@pytest.fixture
def gpu(monkeypatch):
    """Plants failures, here and in child processes; at the end nothing may be left open."""
    standin_gpu.reset()
    gc.freeze()  # what other tests made is not searched: in a run of them all that takes a second

    def plant(**faults):
        standin_gpu.FAULTS.__dict__.update(faults)
        monkeypatch.setenv("STANDIN_FAULTS", json.dumps(faults))

    yield plant
    for _ in range(3):  # what one pass lets go of may hold more
        gc.collect()
    gc.unfreeze()
    assert standin_gpu.BOOKS.violations == []
    if not standin_gpu.BOOKS.sticky:  # then CUDA frees nothing any more
        assert standin_gpu.still_open() == []
    standin_gpu.reset()


@pytest.fixture(params=["trt10", "trt11"])
def modules(request, gpu):
    """Both generations of TensorRT's API."""
    return Modules(
        f"tests.helpers.tensorrt_standin.{request.param}", "tests.helpers.tensorrt_standin.cudart"
    )


@pytest.fixture(params=["JetPack 6.2", pytest.param("JetPack 7.2", marks=pytest.mark.slow)])
def jetpack(request, gpu, tmp_path_factory, monkeypatch):
    """A machine on which `import tensorrt` and cuda-python's runtime find the stand-ins."""
    generation, runtime = {
        "JetPack 6.2": ("tests.helpers.tensorrt_standin.trt10", "cuda/cudart.py"),
        "JetPack 7.2": ("tests.helpers.tensorrt_standin.trt11", "cuda/bindings/runtime.py"),
    }[request.param]
    folder = tmp_path_factory.mktemp("packages")
    module = folder / runtime
    module.parent.mkdir(parents=True)
    for package in {folder / "cuda", module.parent}:
        (package / "__init__.py").touch()
    module.write_text("from tests.helpers.tensorrt_standin.cudart import *\n")
    (folder / "tensorrt.py").write_text(
        f"from {generation} import *\nfrom {generation} import __version__\n"
    )
    monkeypatch.syspath_prepend(folder)
    kept = _take_out()
    yield request.param
    _take_out()
    sys.modules.update(kept)


def _take_out():
    names = [name for name in sys.modules if name.split(".")[0] in ("cuda", "tensorrt")]
    return {name: sys.modules.pop(name) for name in names}
