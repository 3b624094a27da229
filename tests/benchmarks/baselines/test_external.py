"""A peer's program and the line protocol it speaks."""

import shlex
import sys

import numpy as np
import pytest

from orthoedge.benchmarks.baselines.external import ExternalProgram, OnnxRuntimeByHand
from orthoedge.benchmarks.baselines.folder_throughput import sample
from orthoedge.benchmarks.timing.latency import CallCounts, SelfTimed, run_rounds
from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle
from orthoedge.runtime.errors import EngineError
from orthoedge.targets import EngineOptions, open_pipeline

SPEAKS = """
import sys, numpy
side = numpy.load(sys.argv[-1]).shape[0]
print("ready", flush=True)
for number, _ in enumerate(sys.stdin):
    print(side + number / 2, flush=True)
"""


@pytest.fixture
def image(tmp_path):
    np.save(tmp_path / "image.npy", np.zeros((512, 512), np.uint8))
    return tmp_path / "image.npy"


def command(program, *arguments):
    return shlex.join([sys.executable, "-c", program, *arguments])


def test_a_peer_is_given_the_image_and_answers_line_by_line(image):
    peer = ExternalProgram("theirs", command(SPEAKS, "an argument"), image)
    try:
        assert [peer.predict() for _ in range(3)] == [512.0, 512.5, 513.0]
    finally:
        peer.close()
    assert peer._process.returncode is not None


def test_answers_that_come_in_one_piece_are_told_apart(image):
    peer = ExternalProgram(
        "theirs", command("print('ready\\n1.5\\n2.5', flush=True); input(); input()"), image
    )
    try:
        assert [peer.predict(), peer.predict()] == [1.5, 2.5]
    finally:
        peer.close()


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no licence')", "ended with status 1: no licence"),
        ("print('hello')", "expected 'ready', got 'hello'"),
        ("", "ended with status 0"),
    ],
)
def test_a_peer_that_does_not_get_ready_is_one_line(program, said, image):
    with pytest.raises(EngineError) as raised:
        ExternalProgram("theirs", command(program), image)
    assert str(raised.value) == f"external program theirs: {said}"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("input(); print('fast')", "expected milliseconds, got 'fast'"),
        ("input(); print('nan')", "expected milliseconds, got 'nan'"),
        ("input(); print(-1)", "expected milliseconds, got '-1'"),
        ("input(); raise SystemExit('out of memory')", "ended with status 1: out of memory"),
    ],
)
def test_a_peer_that_breaks_off_or_talks_nonsense_is_one_line(program, said, image):
    peer = ExternalProgram("theirs", command(f"print('ready', flush=True); {program}"), image)
    try:
        with pytest.raises(EngineError) as raised:
            peer.predict()
    finally:
        peer.close()
    assert str(raised.value) == f"external program theirs: {said}"


def test_a_silent_peer_is_given_up(image, monkeypatch):
    monkeypatch.setattr("orthoedge.benchmarks.baselines.external._LOADING_S", 0.2)
    with pytest.raises(EngineError, match="external program theirs: no response within"):
        ExternalProgram("theirs", command("input()"), image)


@pytest.mark.parametrize("line", ["no-such-program at all", "'unbalanced"])
def test_a_command_that_cannot_be_run_is_one_line(line, image):
    with pytest.raises(EngineError, match="external program theirs: cannot be started: "):
        ExternalProgram("theirs", line, image)


def test_a_programs_own_time_counts_and_not_what_the_request_took():
    reported = iter([9.0, 3.0, 9.0, 4.0])  # warm-up calls and timed calls alternate
    calls = {"here": lambda _: None, "there": SelfTimed(lambda _: next(reported))}
    counts = dict.fromkeys(calls, CallCounts(warmup_calls=1, calls=1))
    times = run_rounds(calls, counts, rounds=2)
    np.testing.assert_array_equal(times["there"][:, 0], [3.0, 4.0])
    assert (times["here"] < 3).all()


def test_onnx_runtime_by_hand_finds_the_pipelines_label_and_map():
    bundle = read_bundle(PHANTOM)
    pixels = sample(512)[:300]
    label, probability, saliency = OnnxRuntimeByHand(
        bundle, bundle.model("int8"), [pixels], threads=1
    )(0)
    finding = open_pipeline(
        bundle, target="portable", precision="int8", engine=EngineOptions(threads=1)
    )(pixels)
    assert bundle.manifest.labels[label] == finding.label
    assert 1 / len(bundle.manifest.labels) <= probability <= 1
    # One engine on one file, but for the rounding of biases that the portable target forbids.
    np.testing.assert_allclose(saliency, finding.saliency_map, atol=0.2 * saliency.max())
