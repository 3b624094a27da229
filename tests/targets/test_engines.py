"""Both CPU engines keep one contract, and say what really ran."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
from orthoedge.runtime.errors import ConfigError, EngineError, MissingDependency, UnknownTarget
from orthoedge.targets import EngineOptions, cpu, open_engine, open_model, open_pipeline
from orthoedge.targets.verification import check_engine, deviation

IMAGES = np.random.default_rng(2).integers(0, 256, (3, 1, 32, 32), dtype=np.uint8)


@pytest.fixture(params=["x86", "portable"])
def target(request):
    return request.param


@pytest.fixture(params=["fp32", "int8"])
def engine(request, target, small_bundle):
    return open_engine(small_bundle, target, request.param)


def test_the_golden_answers_come_back(engine, small_bundle):
    checks = check_engine(small_bundle, engine)
    assert [str(check) for check in checks if not check.passed] == []
    assert len(checks) == 7


def test_shapes_and_types_are_the_contract(engine):
    outputs = engine.run(IMAGES)
    assert outputs.logits.shape == (3, 3)
    assert outputs.saliency_map.shape == (3, 3, 4, 4)
    assert outputs.feature_vector.shape == (3, 8)
    for array in (outputs.logits, outputs.saliency_map, outputs.feature_vector):
        assert array.dtype == np.float32


def test_a_later_call_does_not_change_an_answer(engine):
    first = engine.run(IMAGES[:1])
    kept = first.logits.copy(), first.saliency_map.copy(), first.feature_vector.copy()
    engine.run(IMAGES[1:2])
    np.testing.assert_array_equal(first.logits, kept[0])
    np.testing.assert_array_equal(first.saliency_map, kept[1])
    np.testing.assert_array_equal(first.feature_vector, kept[2])


def test_inferences_that_were_begun_have_their_own_images_and_outputs(small_bundle):
    engine = open_engine(small_bundle, "x86", "int8")
    expected = [engine.run(IMAGES[i : i + 1]) for i in range(3)]
    shared = IMAGES[:1].copy()
    begun = []
    for image in IMAGES:
        shared[:] = image  # copied as it begins
        begun.append(engine.begin(shared))
    shared[:] = 0
    first = begun[0].result()[0]
    begun.append(engine.begin(IMAGES[2:]))  # in the memory of the first
    results = [first, *(inference.result()[0] for inference in begun[1:])]
    for outputs, alone in zip(results, [*expected, expected[2]], strict=True):
        for name, array in outputs.tensors().items():
            np.testing.assert_array_equal(array, alone.tensors()[name])
    assert len(engine._idle) == 3


def test_an_inference_that_is_abandoned_leaves_its_memory_to_the_next(small_bundle):
    engine = open_engine(small_bundle, "x86", "fp32")
    expected = engine.run(IMAGES[:1]).logits
    for _ in range(20):
        begun = [engine.begin(IMAGES[1:2]) for _ in range(3)]
        for inference in begun:
            inference.abandon()
            inference.abandon()
        assert len(engine._idle) == 3
        outputs, milliseconds = engine.begin(IMAGES[:1]).result()
        np.testing.assert_array_equal(outputs.logits, expected)
        assert milliseconds > 0
    with pytest.raises(EngineError, match="expected one image, got 3"):
        engine.begin(IMAGES)


def test_ctrl_c_leaves_no_inference_behind(small_bundle, monkeypatch):
    """It may come after an inference began and before it is waited for."""
    engine = open_engine(small_bundle, "x86", "fp32")
    expected = engine.run(IMAGES[:1]).logits
    slot, done = engine._local.slot, []

    class Pressed:
        def start_async(self, *arguments):
            slot.request.start_async(*arguments)
            raise KeyboardInterrupt

        def wait(self):
            slot.request.wait()
            done.append("waited")

    with monkeypatch.context() as patch:
        patch.setattr(engine._local, "slot", replace(slot, request=Pressed()))
        with pytest.raises(KeyboardInterrupt):
            engine.run(IMAGES[1:2], 60.0)
    assert done == ["waited"]
    np.testing.assert_array_equal(engine.run(IMAGES[:1]).logits, expected)


def test_ctrl_c_during_an_inference_is_raised_after_it_and_harms_no_later_one():
    """Inference runs in the calling thread, the main one; in a process of its own."""
    code = """
import os, signal, sys, threading
import numpy as np
from orthoedge.targets import EngineOptions, open_pipeline
pipeline = open_pipeline(target="x86", engine=EngineOptions(threads=1))
images = np.repeat(pipeline.bundle.golden_images()[:1], 1000, 0)
expected = pipeline.engine.run(images[:1])
signal.signal(signal.SIGINT, signal.default_int_handler)
for delay in (0.003, 0.01, 0.05):
    threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        pipeline.engine.run(images)
    except KeyboardInterrupt:
        print("caught")
    for name, array in pipeline.engine.run(images[:1]).tensors().items():
        assert np.array_equal(array, expected.tensors()[name])
"""
    done = run_code(code)
    assert (done.returncode, done.stdout) == (0, "caught\n" * 3), done.stderr


def run_code(code, *arguments):
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root / ".typing")}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=root, env=environment
    )


@pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack as Linux has it")
def test_a_signal_after_engines_went_in_any_order_ends_nothing(small_bundle):
    """OpenVINO left a signal stack in freed memory behind; in a process of its own."""
    code = """
import gc, os, signal, sys
from pathlib import Path
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.targets import EngineOptions, open_engine
bundle = read_bundle(Path(sys.argv[1]))
options = [EngineOptions(threads) for threads in (1, 2, 1)]
engines = [open_engine(bundle, "x86", "fp32", options=it) for it in options]
while engines:
    del engines[0]
    gc.collect()
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job is deaf to it
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("caught")
"""
    done = run_code(code, str(small_bundle.path))
    assert (done.returncode, done.stdout) == (0, "caught\n"), done.stderr


def test_threads_sharing_an_engine_get_their_own_answers(engine):
    expected = [engine.run(IMAGES[i : i + 1]).logits for i in range(3)]
    wrong = []

    def work(i):
        for _ in range(50):
            if not np.array_equal(engine.run(IMAGES[i : i + 1]).logits, expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "images",
    [IMAGES.astype(np.float32), IMAGES[0], IMAGES[:, :, :16], IMAGES[:0], np.repeat(IMAGES, 3, 1)],
)
def test_wrong_input_is_refused_with_what_was_expected(engine, images):
    with pytest.raises(EngineError, match="expected"):
        engine.run(images)


def test_a_strided_view_gives_the_same_answer(engine):
    mirrored = IMAGES[..., ::-1]
    np.testing.assert_array_equal(engine.run(mirrored).logits, engine.run(mirrored.copy()).logits)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_streams_and_threads_do_not_change_a_bit_of_an_answer(precision):
    """On the default network, whose kernels are large enough to be shared out."""
    sources = sorted(PHANTOM_SAMPLES.glob("*.png"))[:4]
    results = set()
    for threads, streams in ((1, 1), (2, 1), (2, 2)):
        pipeline = open_pipeline(
            target="x86",
            precision=precision,
            engine=EngineOptions(threads=threads, streams=streams),
        )
        findings = [
            finding for workers in (1, 4) for finding in pipeline.map_results(sources, workers)
        ]
        records = [json.loads(finding.to_json()) for finding in findings]
        for record, finding in zip(records, findings, strict=True):
            del record["timing_ms"]
            assert record["provenance"].pop("threads") == threads
            record["saliency_map"] = finding.saliency_map.tobytes().hex()
        results.add(json.dumps(records))
    assert len(results) == 1


def test_streams_are_those_asked_for_and_one_at_least(small_bundle):
    for streams in (1, 2):
        engine = open_engine(
            small_bundle, "x86", "fp32", options=EngineOptions(threads=2, streams=streams)
        )
        assert engine.native.get_property("NUM_STREAMS") == streams
    with pytest.raises(ConfigError, match="streams must be >= 1"):
        open_engine(small_bundle, "x86", "fp32", options=EngineOptions(streams=0))


def test_where_a_number_of_threads_is_given_none_is_pinned_to_a_core(small_bundle):
    """Several processes of one thread each would all be pinned to the first core."""
    engine = open_engine(small_bundle, "x86", "fp32", options=EngineOptions(threads=1))
    assert not engine.native.get_property("ENABLE_CPU_PINNING")


def test_openvino_reports_the_kernels_it_compiled(small_bundle):
    engine = open_engine(small_bundle, "x86", "int8")
    assert engine.precision == "int8"
    assert engine.isa in {"sse41", "sse42", "avx", "avx2", "avx2_vnni", "avx512", "avx512_amx"}


def test_a_model_that_is_not_what_it_says_is_refused(small_bundle):
    with pytest.raises(EngineError, match=r"without integer kernels: .* no quantized layers"):
        open_model(small_bundle.model("fp32"), 32, "x86", "int8")


def test_garbage_is_refused(target):
    with pytest.raises(EngineError, match=r"refused the .* model: (?!Exception from)"):
        open_model(b"garbage", 32, target, "fp32")


def test_an_unknown_target_or_precision_is_refused_by_name(small_bundle):
    with pytest.raises(UnknownTarget, match="'abacus' is unknown: choose one of x86"):
        open_pipeline(small_bundle, target="abacus")
    with pytest.raises(EngineError, match="'int4' is unknown"):
        open_engine(small_bundle, "x86", "int4")


def test_a_missing_engine_names_the_pip_line(small_bundle, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match=r"pip install 'orthoedge\[portable\]'"):
        open_engine(small_bundle, "portable")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse4_1 sse4_2 avx avx2 avx512f avx512_vnni", "int8"),
        ("fpu sse4_1 sse4_2 avx avx2 avx_vnni", "int8"),
        ("fpu sse4_1 sse4_2", "fp32"),
    ],
)
def test_auto_follows_the_instruction_sets(tmp_path, monkeypatch, flags, expected):
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(cpu, "_CPUINFO", cpuinfo)
    assert cpu.choose_precision()[0] == expected
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    assert cpu.choose_precision()[0] == "fp32"


def test_auto_without_readable_flags_takes_fp32(tmp_path, monkeypatch):
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "absent")
    assert cpu.choose_precision()[0] == "fp32"


def test_deviation_sees_shapes_and_scale():
    a = np.array([[0.0, 2.0]], np.float32)
    assert deviation(a, a) == 0
    assert deviation(a + 0.5, a) == pytest.approx(0.5)
    assert deviation(a[:, :1], a) == float("inf")
