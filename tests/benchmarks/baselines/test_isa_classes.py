"""Instruction-set classes: a cap that holds, or the reason why there is none."""

import subprocess
import sys

import pytest

from orthoedge.benchmarks.baselines.isa_classes import limited_environment, why_not_limited
from orthoedge.runtime.errors import EngineError
from orthoedge.targets.isa_limit import why_unavailable

WHAT_RUNS = """
import sys
import cv2
from pathlib import Path
from orthoedge.targets import open_pipeline
print(open_pipeline(Path(sys.argv[1]), "x86", "fp32").engine.isa)
print(cv2.getCPUFeaturesLine())
"""


@pytest.mark.parametrize(
    ("cap", "isa", "opencv"),
    [("AVX2", "avx2", ("AVX2", "AVX512-SKX")), ("SSE41", "sse42", ("SSE4.1", "AVX2"))],
)
def test_a_process_with_the_cap_runs_no_wider_instructions(cap, isa, opencv, small_bundle):
    pytest.importorskip("openvino")
    if reason := why_unavailable(cap):
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-c", WHAT_RUNS, str(small_bundle.path)],
        env=limited_environment(cap, small_bundle),
        capture_output=True,
        text=True,
        check=True,
    )
    found, *features = done.stdout.split()
    assert found == isa
    # OpenCV marks what it could run and was told not to with a question mark.
    kept, left = (f"*{name}" for name in opencv)
    if left in {name.rstrip("?") for name in features}:
        assert f"{left}?" in features
    if kept in {name.rstrip("?") for name in features}:
        assert kept in features


def test_what_this_processor_lacks_is_refused_with_the_reason(small_bundle, monkeypatch):
    with pytest.raises(EngineError, match=r"--isa AVX9 is unknown: choose one of AVX512_CORE"):
        limited_environment("AVX9", small_bundle)
    monkeypatch.setattr("orthoedge.targets.isa_limit.instruction_sets", lambda: {"sse4_1"})
    with pytest.raises(EngineError, match="this processor has no avx2"):
        limited_environment("AVX2", small_bundle)


def test_only_the_engine_that_can_be_capped_is():
    assert why_not_limited("x86") == ""
    assert "portable" in why_not_limited("portable")
