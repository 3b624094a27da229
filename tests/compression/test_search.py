"""The search: students and cuts become candidates, and a killed one ends in the same front."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import msgspec
import pytest

from orthoedge.compression import search as module
from orthoedge.compression.data_splits import read_parts
from orthoedge.compression.distillation.stages import open_school
from orthoedge.compression.evaluation.evaluator import balanced
from orthoedge.compression.report.schema import Candidate
from orthoedge.compression.search import Search
from orthoedge.compression.search_results import measure_trials
from orthoedge.compression.selection import pareto
from orthoedge.training.run_folder import load_run


@pytest.fixture(scope="module")
def found(tiny_run, tmp_path_factory):
    """A search over one student and one cut, and what it found."""
    run = load_run(tiny_run)
    settings = msgspec.structs.replace(run.recipe.compress, epochs=1, prune=(0.25, 0.5))
    recipe = msgspec.structs.replace(run.recipe, compress=settings)
    parts = read_parts(run, recipe, None, None, None)
    work = tmp_path_factory.mktemp("search")
    school = open_school(run, recipe, "x86", parts.train, parts.val, work)
    chosen = balanced(parts.train, 16, 0)
    search = Search(
        run, recipe, school, parts.train.images[chosen, None], tuple(chosen), parts.val, "x86", None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_ROUNDS", 3)
        return search, *search.trials()


def test_every_cut_is_traced_and_only_faster_ones_are_built_upon(found):
    _, trials, trace = found
    assert [step.share for step in trace] == [0.25, 0.5]
    assert [t.share for t in trials] == [0.0, *(step.share for step in trace if step.kept)]
    for step in trace:
        assert step.kept == (step.ratio < 1)
        assert step.macs < step.macs_before
        assert (step.macro_f1 is None) == (not step.kept)


def test_a_second_call_teaches_times_and_quantizes_nothing_again(found, monkeypatch):
    search, trials, trace = found

    def forbid(*arguments, **options):
        raise AssertionError("done before")

    for name in ("interleaved", "quantize"):
        monkeypatch.setattr(module, name, forbid)
    monkeypatch.setattr(
        "orthoedge.compression.distillation.train_student.distillation_loss", forbid
    )
    again, traced = search.trials()
    assert traced == trace
    assert [(t.name, t.fp32, t.int8) for t in again] == [(t.name, t.fp32, t.int8) for t in trials]


def test_candidates_are_timed_once(found, monkeypatch):
    search, trials, _ = found
    arguments = search.recipe, search.val, "x86", search.school.work
    monkeypatch.setattr(module, "_ROUNDS", 3)
    first = measure_trials(trials, *arguments)
    assert measure_trials(trials, *arguments) == first
    for candidate, trial in zip(first, trials, strict=True):
        assert (candidate.student, candidate.pruned) == (trial.student, trial.share)
        assert candidate.bytes == len(trial.int8)
        assert candidate.accuracy_low <= candidate.accuracy <= candidate.accuracy_high
        assert candidate.p50_low <= candidate.p50_ms <= candidate.p50_high


def test_a_cut_that_is_not_faster_is_not_kept(found, tmp_path, monkeypatch):
    """The clock is the only thing replaced: the cut network is timed as slower."""
    search, trials, _ = found

    def slower(candidates, **settings):
        times = real(candidates, **settings)
        times["after"] = replace(times["after"], samples_ms=times["before"].samples_ms * 1.01)
        return times

    real = module.interleaved
    monkeypatch.setattr(module, "_ROUNDS", 3)
    monkeypatch.setattr(module, "interleaved", slower)
    school = replace(search.school, work=tmp_path)
    step, smaller = replace(search, school=school)._prune(trials[0], 1, 0.25)
    assert not step.kept
    assert step.ratio == pytest.approx(1.01)
    assert smaller is None


def test_students_start_alike_whatever_was_tried_before(found):
    search, *_ = found
    first, _ = search.start("test_efficientnet")
    search.start("test_resnet")
    again, _ = search.start("test_efficientnet")
    for name, tensor in first.state_dict().items():
        assert tensor.equal(again.state_dict()[name]), name


@pytest.mark.slow
def test_a_search_that_is_killed_ends_in_the_same_front(tiny_run, tmp_path):
    """Killed by SIGKILL at three places; what was measured before is what the report says."""
    out = tmp_path / "bundle"
    command = [sys.executable, "-m", "orthoedge.cli.main", "compress", str(tiny_run)]
    command += ["--out", str(out), "--students", "test_efficientnet,test_resnet", "--prune", "0.25"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    work = tmp_path / "bundle.work"
    kept = {}
    for pattern in ("test_efficientnet-whole.pt", "cut-*.json", "candidates-*.json"):
        with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
            deadline = time.monotonic() + 300
            while not list(work.glob(pattern)) and time.monotonic() < deadline:
                time.sleep(0.01)
            process.send_signal(signal.SIGKILL)
        assert list(work.glob(pattern)), pattern
        now = {path.name: path.read_bytes() for path in work.glob("c*.json")}
        assert kept.items() <= now.items(), "what was decided stays decided"
        kept = now
    (measured,) = (content for name, content in kept.items() if name.startswith("candidates"))
    before = msgspec.convert(json.loads(measured)["candidates"], list[Candidate])
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads((tmp_path / "bundle.report/report.json").read_text())
    after = [
        msgspec.structs.replace(candidate, chosen=False)
        for candidate in msgspec.convert(report["candidates"], list[Candidate])
    ]
    assert after == before
    assert pareto(after) == pareto(before)

    other = [part.replace(str(out), str(tmp_path / "other")) for part in command]
    assert subprocess.run(other, env=environment, check=False).returncode == 0
    report = json.loads((tmp_path / "other.report/report.json").read_text())
    straight = msgspec.convert(report["candidates"], list[Candidate])
    # Which cuts are faster is a measurement; what is learned must be the same to the last bit.
    learned = {(c.student, c.pruned): (c.macs, c.bytes, c.accuracy, c.macro_f1) for c in after}
    for c in straight:
        same = learned.get((c.student, c.pruned))
        assert same in (None, (c.macs, c.bytes, c.accuracy, c.macro_f1))
