"""The runtime predicts on a device that has no training library, and the command starts light."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from orthoedge.cli.main import VERBS

ROOT = Path(__file__).parents[1]

HEAVY = (
    "torch",
    "torchvision",
    "timm",
    "onnx",
    "nncf",
    "torch_pruning",
    "lightning_fabric",
    "sklearn",
    "matplotlib",
    "pytorch_grad_cam",
    "safetensors",
)

PRELUDE = f"""
import importlib, importlib.abc, json, pathlib, pkgutil, runpy, sys

class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
runpy.run_path({str(ROOT / "conftest.py")!r})
"""


def run(code):
    """Run `code` in a fresh interpreter without the heavy packages; its last line is JSON."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(code)],
        cwd=ROOT.parent,  # not the root, where `import runtime` would work by accident
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_the_blocked_packages_really_are_absent():
    found = run("""
        blocked = 0
        for name in ("torch", "onnx", "timm.models"):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError:
                blocked += 1
        print(json.dumps(blocked))
    """)
    assert found == 3


def test_every_module_of_runtime_and_targets_imports():
    modules = run("""
        imported = []
        for package in ("orthoedge.runtime", "orthoedge.targets"):
            folder = importlib.import_module(package)
            for info in pkgutil.walk_packages(folder.__path__, package + "."):
                importlib.import_module(info.name)
                imported.append(info.name)
        print(json.dumps(imported))
    """)
    assert {"orthoedge.runtime.pipeline", "orthoedge.targets.x86.engine"} <= set(modules)


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_the_embedded_bundle_predicts_from_memory_and_from_a_file(target):
    pytest.importorskip({"x86": "openvino", "portable": "onnxruntime"}[target])
    found = run(f"""
        import numpy as np
        from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
        from orthoedge.targets import open_pipeline

        pipeline = open_pipeline(target={target!r})
        path = sorted(PHANTOM_SAMPLES.glob("*.png"))[0]
        array = np.random.default_rng(0).integers(0, 256, (300, 200), dtype=np.uint8)
        answers = [pipeline(path), pipeline(array)]
        print(json.dumps([[a.label, a.probabilities, list(a.saliency_map.shape)] for a in answers]))
    """)
    for label, probabilities, shape in found:
        assert label == max(probabilities, key=probabilities.get)
        # Probabilities are computed in float64; only the sum's own rounding is left.
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-12)
        assert len(shape) == 2


def help_of(*arguments):
    """Exit status, text, and the top-level modules that were loaded to print a help."""
    return run(f"""
        import contextlib, io

        from orthoedge.cli.main import main

        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            try:
                status = main([*{arguments!r}, "--help"])
            except SystemExit as end:
                status = end.code
        loaded = sorted({{name.split(".")[0] for name in sys.modules}})
        print(json.dumps([status, printed.getvalue(), loaded]))
    """)


SLOW_TO_IMPORT = {"numpy", "cv2", "msgspec", "torch", "openvino", "onnxruntime"}


def test_help_imports_nothing_heavy():
    status, text, loaded = help_of()
    assert status == 0
    assert all(verb in text for verb in VERBS)
    assert not set(loaded) & SLOW_TO_IMPORT


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_every_verb_imports_nothing_heavy(verb):
    status, text, loaded = help_of(verb)
    assert status == 0
    assert f"orthoedge {verb}" in text
    assert not set(loaded) & SLOW_TO_IMPORT
