"""Students and cuts become candidates, and a killed search ends in the same Pareto front."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import pytest
import torch

from orthoedge.compression import candidates as module
from orthoedge.compression import search
from orthoedge.compression.candidates import measure_candidates
from orthoedge.compression.context import Sources, prepare_context
from orthoedge.compression.distillation.stages import initial_student
from orthoedge.compression.prune import cut
from orthoedge.compression.report.schema import CandidateRecord
from orthoedge.compression.search import prune_and_distil, search_candidates
from orthoedge.compression.selection import candidate_front
from orthoedge.training.model.batch_norm import fix_batch_norms, release_batch_norms
from orthoedge.training.run_folder import load_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def searched(tiny_run, tmp_path_factory):
    """Context, candidates and trace of a search over one student and two cuts."""
    run = load_run(tiny_run)
    settings = msgspec.structs.replace(
        run.recipe.compress, epochs=1, prune=(0.25, 0.5), quantization_images=16
    )
    recipe = msgspec.structs.replace(run.recipe, compress=settings)
    sources = Sources(None, None, None, None, "not stated")
    context = prepare_context(run, recipe, "x86", sources, tmp_path_factory.mktemp("search"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROUNDS", 3)
        return context, *search_candidates(context)


def test_every_cut_is_traced_and_only_faster_ones_are_built_upon(searched):
    _, candidates, trace = searched
    assert [step.share for step in trace] == [0.25, 0.5]
    accepted = [step.share for step in trace if step.accepted]
    assert [candidate.share for candidate in candidates] == [0.0, *accepted]
    for step in trace:
        assert step.accepted == (step.ratio < 1)
        assert step.macs < step.macs_before
        assert (step.macro_f1 is None) == (not step.accepted)


def test_a_second_call_trains_times_and_quantizes_nothing_again(searched, monkeypatch):
    context, candidates, trace = searched

    def forbid(*arguments, **options):
        raise AssertionError("done before")

    for name in ("interleaved", "quantize"):
        monkeypatch.setattr(module, name, forbid)
    monkeypatch.setattr(
        "orthoedge.compression.distillation.train_student.distillation_loss", forbid
    )
    again, trace_again = search_candidates(context)
    assert trace_again == trace
    assert [(c.name, c.fp32, c.int8) for c in again] == [
        (c.name, c.fp32, c.int8) for c in candidates
    ]


def test_candidates_are_timed_once(searched, monkeypatch):
    context, candidates, _ = searched
    monkeypatch.setattr(module, "_ROUNDS", 3)
    first = measure_candidates(context, candidates)
    assert measure_candidates(context, candidates) == first
    for record, candidate in zip(first, candidates, strict=True):
        assert (record.student, record.pruned) == (candidate.student, candidate.share)
        assert record.bytes == len(candidate.int8)
        assert record.accuracy_low <= record.accuracy <= record.accuracy_high
        assert record.p50_low <= record.p50_ms <= record.p50_high


def test_a_cut_that_is_not_faster_is_rejected(searched, tmp_path, monkeypatch):
    """The clock is the only thing replaced: the cut network is timed as slower."""
    context, candidates, _ = searched

    def slower(candidates, **settings):
        times = real(candidates, **settings)
        times["after"] = replace(times["after"], samples_ms=times["before"].samples_ms * 1.01)
        return times

    real = module.interleaved
    monkeypatch.setattr(module, "_ROUNDS", 3)
    monkeypatch.setattr(module, "interleaved", slower)
    step, smaller = prune_and_distil(replace(context, work=tmp_path), candidates[0], 1, 0.25)
    assert not step.accepted
    assert step.ratio == pytest.approx(1.01)
    assert smaller is None


def test_students_start_alike_whatever_was_tried_before(searched):
    context, *_ = searched
    first, _ = initial_student(context, "test_efficientnet")
    initial_student(context, "test_resnet")
    again, _ = initial_student(context, "test_efficientnet")
    for name, tensor in first.state_dict().items():
        assert tensor.equal(again.state_dict()[name]), name


def test_a_search_that_is_killed_ends_in_the_same_front(tiny_run, tmp_path):
    """Killed by SIGKILL at three places; what was measured before is what the report says."""
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "orthoedge.cli.main", "compress", str(tiny_run)]
    command += ["--out", str(out), "--students", "test_efficientnet,test_resnet", "--prune", "0.25"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    work = tmp_path / "bundle.work"
    kept = {}
    for pattern in ("test_efficientnet-whole.pt", "pruning-*.json", "candidates-*.json"):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
            deadline = time.monotonic() + 300
            while not list(work.glob(pattern)) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert list(work.glob(pattern)), pattern
        now = {path.name: path.read_bytes() for path in work.glob("*.json")}
        assert kept.items() <= now.items(), "what was decided stays decided"
        kept = now
    (measured,) = (content for name, content in kept.items() if name.startswith("candidates"))
    before = msgspec.convert(json.loads(measured)["candidates"], list[CandidateRecord])
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "bundle.report/report.json").read_text())
    after = [
        msgspec.structs.replace(candidate, chosen=False)
        for candidate in msgspec.convert(report["candidates"], list[CandidateRecord])
    ]
    assert after == before
    assert candidate_front(after) == candidate_front(before)

    other = [part.replace(str(out), str(tmp_path / "other")) for part in command]
    assert subprocess.run(other, env=environment, check=False).returncode == 0
    report = json.loads((tmp_path / "other.report/report.json").read_text())
    straight = msgspec.convert(report["candidates"], list[CandidateRecord])
    # Which cuts are faster is a measurement; what is learned must be the same to the last bit.
    learned = {(c.student, c.pruned): (c.macs, c.bytes, c.accuracy, c.macro_f1) for c in after}
    for c in straight:
        same = learned.get((c.student, c.pruned))
        assert same in (None, (c.macs, c.bytes, c.accuracy, c.macro_f1))


def test_a_cut_of_a_folded_network_is_normalized_by_statistics_of_its_own(searched, monkeypatch):
    """Folded layers keep mean 0 and variance 1, and would keep the scales of what was cut away."""
    context, candidates, _ = searched
    before = copy.deepcopy(candidates[0].network)
    fix_batch_norms(before, [])
    release_batch_norms(before)
    cuts = []

    def note(network, ratio, size):
        cuts.append(copy.deepcopy(network))
        return cut(network, ratio, size)

    monkeypatch.setattr(search, "cut", note)
    monkeypatch.setattr(module, "_ROUNDS", 3)
    settings = msgspec.structs.replace(context.recipe.compress, prune_epochs=0)
    recipe = msgspec.structs.replace(context.recipe, compress=settings)
    prune_and_distil(
        replace(context, recipe=recipe), replace(candidates[0], network=before), 1, 0.25
    )
    norms = [norm for norm in cuts[0].modules() if isinstance(norm, torch.nn.BatchNorm2d)]
    assert all(norm.running_mean.any() for norm in norms)
    images = torch.from_numpy(context.quantization_images[:4])
    with torch.inference_mode():
        torch.testing.assert_close(cuts[0](images), before.eval()(images), rtol=1e-3, atol=1e-3)
