"""What stands in for a GPU that is not there, or no longer: a finding that says so, or an error."""

import importlib.util
import platform
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES, model_file
from orthoedge.runtime.errors import (
    BundleError,
    ConfigError,
    DeadlineExceeded,
    EngineError,
    MissingDependency,
)
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import CallLimits, EngineOptions, check_target, open_engine, open_pipeline
from orthoedge.targets.jetson.device import Device
from orthoedge.targets.jetson.engine import TensorRtEngine
from orthoedge.targets.jetson.tensorrt_module import Modules
from tests.helpers.tensorrt_standin import gpu as standin_gpu

# Where they can be installed their absence is a failure and not a skip.
needs_real = pytest.mark.skipif(
    (platform.machine(), sys.platform) != ("x86_64", "linux"), reason="no NVIDIA packages here"
)
NO_DEVICE = Device("none", "0.0", 0, 0, "0.0", "0.0", "0.0")
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)


@pytest.fixture
def store(tmp_path):
    return tmp_path / "plans"


def test_a_finding_comes_from_tensorrt_and_says_so(jetpack, small_bundle, store):
    pipeline = open_pipeline(small_bundle, target="jetson", engine=EngineOptions(cache=store))
    ran = pipeline(PIXELS).provenance
    assert (ran.engine, ran.precision, ran.isa, ran.fallback) == ("tensorrt", "int8", "sm_87", "")
    assert ran.engine_version == {"JetPack 6.2": "10.3.0", "JetPack 7.2": "11.4.0"}[jetpack]
    assert len(list(store.glob("*.tensorrt"))) == 1
    standin_gpu.BOOKS.deserialized = 0
    again = open_pipeline(
        small_bundle, target="jetson", precision="int8", engine=EngineOptions(cache=store)
    )
    assert again(PIXELS).probabilities == pipeline(PIXELS).probabilities
    assert standin_gpu.BOOKS.deserialized == 1, "taken from the store by this process alone"


def test_a_finding_tells_of_a_plan_that_was_damaged(jetpack, small_bundle, store):
    first = open_pipeline(small_bundle, target="jetson", engine=EngineOptions(cache=store))(PIXELS)
    (file,) = store.glob("*.tensorrt")
    file.write_bytes(file.read_bytes()[:-1])
    second = open_pipeline(small_bundle, target="jetson", engine=EngineOptions(cache=store))(PIXELS)
    assert second.probabilities == first.probabilities
    (note,) = set(second.notes) - set(first.notes)
    assert note.startswith(f"engine plan made anew: {file.name} is damaged")
    # Only in a run of the whole suite one of the two engines is still held here; what holds it was
    # not found. Engines that are let go are the subject of the other tests.
    standin_gpu.reset()


def test_its_decisions_are_those_of_the_cpu(jetpack):
    pipeline = open_pipeline("phantom", target="jetson")
    expected = open_pipeline("phantom", target="portable")
    path = min(PHANTOM_SAMPLES.glob("*.png"))
    pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    found, wanted = pipeline(pixels), expected(pixels)
    assert found.provenance.engine == "tensorrt"
    assert (found.label, found.decision) == (wanted.label, wanted.decision)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"devices": 0}, "cudaErrorNoDevice"),
        ({"driver": 0}, "no CUDA driver"),
        ({"driver": 12000}, "the CUDA driver supports 12.0"),
        ({"crash": True}, "SIGSEGV"),
    ],
)
@pytest.mark.parametrize("jetpack", ["JetPack 7.2"], indirect=True)
def test_without_a_gpu_the_cpu_answers_and_says_why(jetpack, gpu, small_bundle, fault, reason):
    gpu(**fault)
    with pytest.raises(EngineError, match=reason):
        open_engine(small_bundle, "jetson")
    pipeline = open_pipeline(small_bundle, target="jetson", precision="fp32")
    ran = pipeline(PIXELS).provenance
    assert (ran.engine, ran.precision) == ("openvino", "fp32")
    assert ran.fallback.startswith("target jetson: ")
    assert reason in ran.fallback
    assert standin_gpu.BOOKS.deserialized == 0


def test_without_tensorrt_the_cpu_answers_and_says_why(small_bundle, monkeypatch):
    hide(monkeypatch, "tensorrt")
    with pytest.raises(MissingDependency, match="JetPack"):
        check_target("jetson")
    with pytest.raises(MissingDependency, match="JetPack"):
        open_engine(small_bundle, "jetson")
    ran = open_pipeline(small_bundle, target="jetson")(PIXELS).provenance
    assert (ran.engine, ran.precision) == ("openvino", "int8")
    assert ran.fallback.startswith("target jetson: tensorrt is not installed")


def test_without_openvino_the_portable_engine_is_the_fallback(small_bundle, monkeypatch):
    hide(monkeypatch, "tensorrt", "openvino")
    ran = open_pipeline(small_bundle, target="jetson")(PIXELS).provenance
    assert (ran.engine, ran.precision) == ("onnxruntime", "int8")


def test_without_any_engine_both_reasons_are_told(small_bundle, monkeypatch):
    hide(monkeypatch, "tensorrt", "openvino", "onnxruntime")
    with pytest.raises(EngineError, match=r"tensorrt is not installed.*; and no CPU engine: onnxr"):
        open_pipeline(small_bundle, target="jetson")


def hide(monkeypatch, *packages):
    """As if these were not installed, for whoever asks."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name in packages else find(name)
    )


def test_bad_input_is_no_reason_to_fall_back(small_bundle, monkeypatch):
    hide(monkeypatch, "tensorrt")
    with pytest.raises(BundleError, match=r"holds no model\.bf16\.onnx"):
        open_pipeline(small_bundle, target="jetson", precision="bf16")
    with pytest.raises(ConfigError, match="streams must be >= 1"):
        open_pipeline(small_bundle, target="jetson", engine=EngineOptions(streams=0))


@pytest.mark.parametrize("jetpack", ["JetPack 6.2"], indirect=True)
def test_a_gpu_lost_in_the_middle_is_replaced_once_for_all_threads(jetpack, gpu, small_bundle):
    pipeline = open_pipeline(small_bundle, target="jetson")
    pictures = [np.roll(PIXELS, shift, 1) for shift in range(8)]
    expected = [
        open_pipeline(small_bundle, target="x86", precision="int8")(picture) for picture in pictures
    ]
    assert pipeline(PIXELS).provenance.engine == "tensorrt"
    standin_gpu.FAULTS.runs = standin_gpu.BOOKS.runs + 3
    opened = []
    fallback = pipeline._open_fallback
    pipeline._open_fallback = lambda: opened.append(1) or fallback()
    with ThreadPoolExecutor(8) as pool:
        findings = [*pool.map(pipeline, pictures), *pool.map(pipeline, pictures)]
    engines = [finding.provenance.engine for finding in findings]
    assert set(engines) == {"tensorrt", "openvino"}
    assert engines[8:] == ["openvino"] * 8, "for good"
    assert opened == [1]
    for finding in findings:
        assert ("cudaErrorLaunchFailure" in finding.provenance.fallback) == (
            finding.provenance.engine == "openvino"
        )
    for finding, wanted in zip(findings[8:], expected, strict=True):
        assert finding.verdict == wanted.verdict
    assert pipeline.engine.name == "openvino"


class Failing:
    """An engine that was opened and then fails."""

    name, version, isa, precision, threads = "failing", "1", "none", "fp32", 1

    def __init__(self, error):
        self.error = error

    def run(self, images, timeout_s=None):
        raise self.error


def test_without_a_fallback_the_error_is_the_callers(small_bundle):
    with pytest.raises(EngineError, match="it broke"):
        Pipeline(small_bundle, Failing(EngineError("it broke")))(PIXELS)


def test_a_fallback_that_cannot_be_opened_is_reported_with_the_first_reason(small_bundle):
    def fallback():
        raise MissingDependency("onnxruntime", "portable", "target portable")

    pipeline = Pipeline(small_bundle, Failing(EngineError("it broke")), fallback=fallback)
    with pytest.raises(EngineError, match="it broke; and the fallback engine: onnxruntime is not"):
        pipeline(PIXELS)


def test_a_fallback_that_fails_too_has_no_fallback(small_bundle):
    fallbacks = [Failing(EngineError("so did this"))]
    pipeline = Pipeline(small_bundle, Failing(EngineError("it broke")), fallback=fallbacks.pop)
    for _ in range(2):  # a second fallback would be one too many to pop
        with pytest.raises(EngineError, match="so did this"):
            pipeline(PIXELS)


def test_an_overrun_is_no_reason_to_take_the_fallback(small_bundle):
    engine = Failing(DeadlineExceeded("too late"))
    pipeline = Pipeline(
        small_bundle,
        engine,
        fallback=lambda: pytest.fail("opened"),
        limits=CallLimits(deadline_ms=6e4),
    )
    with pytest.raises(DeadlineExceeded):
        pipeline(PIXELS)
    assert pipeline.engine is engine


def test_the_fallback_keeps_the_deadline(small_bundle):
    def fallback():
        engine = open_engine(small_bundle, "portable")
        pipeline._deadline_ms = 6e4
        return engine

    pipeline = Pipeline(small_bundle, Failing(EngineError("it broke")), fallback=fallback)
    pipeline._deadline_ms = 6e4
    ran = pipeline(PIXELS).provenance
    assert (ran.engine, ran.fallback) == ("onnxruntime", "it broke")


@pytest.fixture
def with_half(small_bundle):
    """A bundle that has a model for fp16; that of fp32, which these engines cannot tell."""
    name, model = model_file("fp16"), small_bundle.model("fp32")
    record = small_bundle.manifest.files[model_file("fp32")]
    manifest = msgspec.structs.replace(
        small_bundle.manifest, files={**small_bundle.manifest.files, name: record}
    )
    return replace(small_bundle, manifest=manifest, files={**small_bundle.files, name: model})


def test_fp16_is_for_jetson(with_half):
    for target in ("x86", "portable"):
        with pytest.raises(EngineError, match=f"target {target} runs fp32 and int8, not fp16"):
            open_engine(with_half, target, "fp16")


def test_fp16_falls_back_to_fp32(with_half, monkeypatch):
    hide(monkeypatch, "tensorrt")
    ran = open_pipeline(with_half, target="jetson", precision="fp16")(PIXELS).provenance
    assert (ran.engine, ran.precision) == ("openvino", "fp32")
    assert "tensorrt is not installed" in ran.fallback


@pytest.mark.parametrize("jetpack", ["JetPack 7.2"], indirect=True)
def test_fp16_is_decided_with_the_calibration_of_fp32(jetpack, with_half):
    finding = open_pipeline(with_half, target="jetson", precision="fp16")(PIXELS)
    assert (finding.provenance.engine, finding.provenance.precision) == ("tensorrt", "fp16")
    wanted = with_half.manifest.calibration["fp32"]
    assert finding.thresholds.temperature == wanted.temperature


@needs_real
@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="a GPU's driver is here")
def test_nvidias_own_packages_without_a_driver_are_no_gpu(small_bundle, tmp_path, monkeypatch):
    """cuda-python itself, and the package of TensorRT's interface under TensorRT's name."""
    (tmp_path / "tensorrt.py").write_text("from tensorrt_rtx import *\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineError, match="cudaStreamCreateWithFlags: cudaError"):
        TensorRtEngine(b"", 32, "int8", NO_DEVICE, Modules("tensorrt_rtx"))
    ran = open_pipeline(small_bundle, target="jetson")(PIXELS).provenance
    assert (ran.engine, ran.precision) == ("openvino", "int8")
    assert "no CUDA driver is installed" in ran.fallback
