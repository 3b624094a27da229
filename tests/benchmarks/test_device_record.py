"""The record of a target: everything a figure depends on, or why there is none."""

from functools import partial

import msgspec
import numpy as np
import pytest

from orthoedge.benchmarks import device_record as recording
from orthoedge.benchmarks.device_record import make_record, write_record
from orthoedge.benchmarks.device_record_schema import Record
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import UnknownTarget
from orthoedge.targets import open_engine

quick = partial(make_record, _calls=30, _seconds=0)


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_a_target_without_a_gpu_has_the_same_record(small_bundle, target, tmp_path):
    said = []
    made = quick(small_bundle, target, ("fp32", "int8"), say=said.append, _root=tmp_path)
    write_record(made, tmp_path / "record.json")
    record = msgspec.json.decode((tmp_path / "record.json").read_bytes(), type=Record)
    assert record == made
    assert record.passed
    assert record.missing == ()
    assert record.bundle_sha256 == small_bundle.sha256
    assert record.device is None
    assert record.machine.packages["numpy"] == np.__version__
    assert "rails_mw" in [absent.what for absent in record.before.absent]
    fp32, int8 = record.ran
    for ran, precision in ((fp32, "fp32"), (int8, "int8")):
        engine = open_engine(small_bundle, target, precision)
        assert ran.precision == precision
        assert ran.model_sha256 == sha256(small_bundle.model(precision))
        assert (ran.engine, ran.version, ran.isa) == (engine.name, engine.version, engine.isa)
        assert ran.plan is None
        assert any("clear decisions changed" in check.name for check in ran.checks)
        assert all(check.passed and check.name in "\n".join(said) for check in ran.checks)
        for times in (ran.engine_alone, ran.pipeline):
            assert times.calls == 30
            assert 0 < times.p50_ms <= times.p90_ms <= times.p99_ms
            assert times.p99_ms <= times.p999_ms <= times.highest_ms
            assert times.power is None
            assert "INA3221" in times.no_power


def test_a_stretch_lasts_as_long_as_it_must(small_bundle, tmp_path):
    """As many calls as fit into it, in whole rounds."""
    record = make_record(
        small_bundle, "portable", ("fp32",), say=len, _root=tmp_path, _calls=5, _seconds=0.2
    )
    assert record.ran[0].engine_alone.calls > 5
    assert record.ran[0].engine_alone.calls % 5 == 0


class Damaged:
    """An engine whose answers are off."""

    def __init__(self, engine):
        self._engine = engine

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, images, timeout_s=None):
        right = self._engine.run(images)
        return Outputs(right.logits * 1.05, right.saliency_map, right.feature_vector * np.nan)


def test_an_answer_that_is_not_the_bundles_fails(small_bundle, tmp_path, monkeypatch):
    damaged = Damaged(open_engine(small_bundle, "portable", "fp32"))
    monkeypatch.setattr(recording, "open_engine", lambda *given, **named: damaged)
    record = quick(small_bundle, "portable", ("fp32",), say=len, _root=tmp_path)
    assert not record.passed
    assert record.missing == ()
    failed = {check.name: check.measured for check in record.ran[0].checks if not check.passed}
    assert failed["onnxruntime fp32 golden feature_vector"] is None
    assert failed["onnxruntime fp32 golden logits"] > 0.001
    write_record(record, tmp_path / "record.json")
    assert msgspec.json.decode((tmp_path / "record.json").read_bytes(), type=Record) == record


def test_one_precision_that_cannot_run_leaves_the_others(small_bundle, tmp_path):
    said = []
    record = quick(small_bundle, "portable", ("fp16", "int8"), say=said.append, _root=tmp_path)
    assert not record.passed
    assert [ran.precision for ran in record.ran] == ["int8"]
    (missing,) = record.missing
    assert missing.what == "portable fp16"
    assert said[0] == f"FAIL  portable fp16: {missing.why}"


def test_a_target_that_is_not_installed_is_on_record_with_the_reason(
    small_bundle, tmp_path, monkeypatch
):
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    record = quick(small_bundle, "x86", ("fp32", "int8"), say=len, _root=tmp_path)
    assert not record.passed
    assert record.ran == ()
    (missing,) = record.missing
    assert missing.what == "x86"
    assert "pip install 'orthoedge[x86]'" in missing.why


def test_a_target_of_an_unknown_name_has_no_record(small_bundle):
    with pytest.raises(UnknownTarget, match="abacus"):
        quick(small_bundle, "abacus", ("fp32",), say=len)
