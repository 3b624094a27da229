"""How the x86 engine starts: without OpenVINO's Python package, and from what it kept."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from orthoedge.runtime.errors import EngineError
from orthoedge.targets import open_engine
from orthoedge.targets.x86 import build

IMAGES = np.random.default_rng(3).integers(0, 256, (2, 1, 32, 32), dtype=np.uint8)


@pytest.fixture
def no_compiling(monkeypatch):
    """Call it, and whatever compiles after that fails."""

    def refuse(*arguments):
        raise AssertionError("compiled anew")

    return lambda: monkeypatch.setattr(build, "_compile", refuse)


def outputs(engine):
    found = engine.run(IMAGES)
    return found.logits.tobytes(), found.saliency_map.tobytes(), found.feature_vector.tobytes()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_second_start_compiles_nothing_and_answers_alike(
    precision, small_bundle, tmp_path, no_compiling
):
    first = open_engine(small_bundle, "x86", precision, cache=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1
    no_compiling()
    second = open_engine(small_bundle, "x86", precision, cache=tmp_path / "cache")
    assert outputs(second) == outputs(first)
    assert (second.isa, second.precision) == (first.isa, precision)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:], id="a bit"),
        pytest.param(lambda data: bytes(32) + data[32:], id="another digest"),
        pytest.param(lambda data: b"", id="empty"),
    ],
)
def test_a_damaged_cache_is_made_anew(damage, small_bundle, tmp_path):
    first = open_engine(small_bundle, "x86", "int8", cache=tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert outputs(open_engine(small_bundle, "x86", "int8", cache=tmp_path)) == outputs(first)
    content = file.read_bytes()
    assert content[:32] == hashlib.sha256(content[32:]).digest()
    assert len(content) > 1000


def test_other_threads_or_instructions_are_another_cache(small_bundle, tmp_path, monkeypatch):
    open_engine(small_bundle, "x86", "int8", cache=tmp_path)
    open_engine(small_bundle, "x86", "int8", threads=1, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(build, "instruction_sets", lambda: frozenset({"sse4_1"}))
    open_engine(small_bundle, "x86", "int8", cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_a_cache_that_cannot_be_written_is_told(small_bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="compile cache"):
        open_engine(small_bundle, "x86", "int8", cache=tmp_path / "file")


def test_openvino_package_and_telemetry_stay_out_and_can_still_be_imported():
    """In a process of its own, since others here import it."""
    code = """
import sys
from orthoedge.runtime.bundles import EMBEDDED, SAMPLES
from orthoedge.targets import open_pipeline
finding = open_pipeline()(sorted(SAMPLES.glob("*.png"))[0])
assert "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
import openvino
openvino.Core().read_model(open(EMBEDDED / "model.fp32.onnx", "rb").read())
print(finding.label)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
