"""Many radiographs in threads: in order, as they are asked for, and nothing left behind."""

import itertools
import threading

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.pipeline import Finding, Pipeline
from orthoedge.targets import open_pipeline

WORKERS = 3


@pytest.fixture(scope="module")
def pipeline(small_bundle):
    return open_pipeline(small_bundle, target="x86", precision="fp32")


@pytest.fixture
def images():
    rng = np.random.default_rng(6)
    return [rng.integers(0, 256, (40 + 20 * (k % 5), 60), dtype=np.uint8) for k in range(40)]


def threads_of_ours():
    """Those of `map`; threads that wait to decode a file stay, as many as there are cores."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("orthoedge") and name != "orthoedge-decoder"]


def test_answers_come_in_order_and_are_those_of_single_calls(pipeline, images):
    found = list(pipeline.map_results(iter(images), WORKERS))
    assert len(found) == len(images)
    for answer, image in zip(found, images, strict=True):
        alone = pipeline(image)
        assert answer.verdict == alone.verdict
        np.testing.assert_array_equal(answer.saliency_map, alone.saliency_map)
    assert threads_of_ours() == []


def test_a_bad_source_has_its_error_in_its_place(pipeline, images, tmp_path):
    png = cv2.imencode(".png", images[0])[1].tobytes()
    (tmp_path / "good.png").write_bytes(png)
    absent = tmp_path / "absent.png"
    sources = [png, absent, images[1], b"text", str(absent), tmp_path / "good.png"]
    found = list(pipeline.map_results(sources, WORKERS))
    kinds = [isinstance(answer, Finding) for answer in found]
    assert kinds == [True, False, True, False, False, True]
    assert [str(found[k]) for k in (1, 4)] == ["no such file"] * 2
    assert isinstance(found[1], InputError)
    assert str(found[3]).startswith("not an image")


def test_sources_are_taken_at_most_twice_the_workers_ahead(pipeline, images):
    taken = []

    def sources():
        for image in images:
            taken.append(True)
            yield image

    ahead = [len(taken) - done for done, _ in enumerate(pipeline.map_results(sources(), WORKERS))]
    assert max(ahead) <= 2 * WORKERS
    assert len(taken) == len(images)


def test_who_has_had_enough_leaves_no_thread_and_no_work_behind(pipeline, images):
    answers = pipeline.map_results(images, WORKERS)
    next(answers)
    assert threads_of_ours() != []
    answers.close()
    assert threads_of_ours() == []


def test_what_is_no_answer_of_ours_is_raised(small_bundle, images):
    class Broken:
        name, version, precision, isa, threads = "broken", "0", "fp32", "none", 1

        def run(self, images):
            raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(Pipeline(small_bundle, Broken()).map_results(images, WORKERS))
    assert threads_of_ours() == []


def test_an_endless_source_is_no_trouble(pipeline, images):
    answers = pipeline.map_results(itertools.repeat(images[0]), 2)
    first = [next(answers) for _ in range(10)]
    answers.close()
    assert len({answer.verdict.label for answer in first}) == 1
