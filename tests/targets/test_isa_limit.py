"""OpenVINO kept to an older instruction set, in a process of its own."""

import numpy as np
import pytest

from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import EngineError
from orthoedge.targets import cpu, isa_limit, open_engine
from orthoedge.targets.engine_utils import run_batched
from orthoedge.targets.isa_limit import ISA_LIMITS, run_with_isa_limit, why_unavailable

IMAGES = np.random.default_rng(2).integers(0, 256, (35, 1, 32, 32), dtype=np.uint8)
CAPPED = [
    pytest.param(
        *case,
        marks=pytest.mark.skipif(bool(why_unavailable(case[0])), reason=why_unavailable(case[0])),
    )
    for case in (("AVX2", "avx2", "int8"), ("SSE41", "sse42", "fp32"))
]


@pytest.mark.parametrize(("cap", "isa", "precision"), CAPPED)
def test_a_cap_takes_effect_and_the_answers_stay(small_bundle, cap, isa, precision):
    outputs, ran = run_with_isa_limit(small_bundle.model(precision), 32, precision, IMAGES, cap)
    expected = open_engine(small_bundle, "x86", precision).run(IMAGES)
    assert ran == isa
    for name in ("logits", "saliency_map", "feature_vector"):
        got, wanted = getattr(outputs, name), getattr(expected, name)
        assert got.dtype == np.float32
        # Rounding of float32 sums; kernels that saturate, or images out of order, differ by far.
        np.testing.assert_allclose(got, wanted, atol=0.01 * wanted.std())


@pytest.mark.parametrize("cap", ISA_LIMITS)
def test_a_processor_without_the_instructions_is_recognized(tmp_path, cap, monkeypatch):
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpu, "_CPUINFO", cpuinfo)
    assert "cannot be read" in why_unavailable(cap)
    cpuinfo.write_text("processor : 0\nflags\t\t: sse4_1 avx2 avx_vnni avx512_vnni\n")
    assert why_unavailable(cap) == ""
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu\n")
    assert "this processor has no " in why_unavailable(cap)


def test_a_cap_that_the_processor_lacks_is_refused(small_bundle, monkeypatch):
    monkeypatch.setattr(isa_limit, "instruction_sets", lambda: frozenset({"avx2"}))
    with pytest.raises(EngineError, match=r"cannot be limited to AVX2_VNNI: .* has no avx_vnni"):
        run_with_isa_limit(small_bundle.model("int8"), 32, "int8", IMAGES, "AVX2_VNNI")


def test_a_cap_without_effect_is_an_error(small_bundle, monkeypatch):
    monkeypatch.setattr(isa_limit, "_VARIABLE", "NOT_READ_BY_ANYONE")
    with pytest.raises(EngineError, match=r"NOT_READ_BY_ANYONE=SSE41 had no effect: .* avx\w+"):
        run_with_isa_limit(small_bundle.model("int8"), 32, "int8", IMAGES, "SSE41")


def test_what_the_child_could_not_do_is_said_in_its_own_words():
    with pytest.raises(EngineError, match=r"limited to SSE41: openvino refused the fp32 model"):
        run_with_isa_limit(b"garbage", 32, "fp32", IMAGES, "SSE41")


def test_a_child_that_never_answers_is_ended(small_bundle, monkeypatch):
    monkeypatch.setattr(isa_limit, "_TIMEOUT_S", 0.01)
    with pytest.raises(EngineError, match=r"SSE41 did not end within 0\.01 s"):
        run_with_isa_limit(small_bundle.model("fp32"), 32, "fp32", IMAGES, "SSE41")


def test_batches_are_put_together_in_order(small_bundle):
    engine = open_engine(small_bundle, "portable", "fp32")
    joined, whole = run_batched(engine, IMAGES), engine.run(IMAGES)
    np.testing.assert_allclose(joined.logits, whole.logits, atol=1e-5)
    assert joined.saliency_map.shape == whole.saliency_map.shape
    assert joined.feature_vector.shape == whole.feature_vector.shape


def test_an_engine_whose_logits_are_not_finite_is_refused():
    class Overflowing:
        name, version, precision, isa = "overflowing", "1", "fp32", "none"

        def run(self, images):
            logits = np.where(images[:, :, 0, 0] > 128, np.inf, 0).astype(np.float32)
            return Outputs(logits, logits, logits)

    images = np.zeros((20, 1, 4, 4), np.uint8)
    assert run_batched(Overflowing(), images).logits.shape == (20, 1)
    images[[3, 17]] = 255
    with pytest.raises(EngineError, match="overflowing: logits of 2 of 20 images are not finite"):
        run_batched(Overflowing(), images)
