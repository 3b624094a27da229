"""Many radiographs, read ahead: in order, as they are asked for, and nothing left behind."""

import itertools
import threading
import weakref

import cv2
import numpy as np
import pytest

from orthoedge.runtime.engine import Outputs
from orthoedge.runtime.errors import DeadlineExceeded, EngineError, InputError
from orthoedge.runtime.image_io.radiograph import Radiograph
from orthoedge.runtime.pipeline import Finding, Pipeline
from orthoedge.targets import CallLimits, open_engine, open_pipeline

pytestmark = pytest.mark.parametrize("workers", [1, 3])


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


def all_idle(engine):
    """Whether no inference that `begin` began has kept its memory."""
    idle = {id(slot) for slot in engine._idle}
    of_threads = {id(getattr(engine._local, "slot", None))}
    return {id(it) for it in engine._process._protected if it is not engine} <= idle | of_threads


def test_answers_come_in_order_and_are_those_of_single_calls(pipeline, images, workers):
    found = list(pipeline.map_results(iter(images), workers))
    assert len(found) == len(images)
    for answer, image in zip(found, images, strict=True):
        alone = pipeline(image)
        assert answer.verdict == alone.verdict
        np.testing.assert_array_equal(answer.saliency_map, alone.saliency_map)
    assert threads_of_ours() == []


def test_a_bad_source_has_its_error_in_its_place(pipeline, images, workers, tmp_path):
    png = cv2.imencode(".png", images[0])[1].tobytes()
    (tmp_path / "good.png").write_bytes(png)
    absent = tmp_path / "absent.png"
    sources = [png, absent, images[1], b"text", str(absent), tmp_path / "good.png"]
    found = list(pipeline.map_results(sources, workers))
    kinds = [isinstance(answer, Finding) for answer in found]
    assert kinds == [True, False, True, False, False, True]
    assert [str(found[k]) for k in (1, 4)] == ["no such file"] * 2
    assert isinstance(found[1], InputError)
    assert str(found[3]).startswith("not an image")


def test_sources_are_taken_at_most_so_many_ahead(pipeline, images, workers):
    taken = []

    def sources():
        for image in images:
            taken.append(True)
            yield image

    ahead = [len(taken) - done for done, _ in enumerate(pipeline.map_results(sources(), workers))]
    assert max(ahead) <= 2 * (workers + 1)
    assert len(taken) == len(images)


def test_who_has_had_enough_leaves_no_thread_and_no_work_behind(pipeline, images, workers):
    answers = pipeline.map_results(images, workers)
    next(answers)
    assert (threads_of_ours() != []) == (workers > 1)
    answers.close()
    assert threads_of_ours() == []
    assert all_idle(pipeline.engine)


def test_what_is_no_answer_of_ours_is_raised(small_bundle, images, workers):
    class Broken:
        name, version, precision, isa, threads = "broken", "0", "fp32", "none", 1

        def run(self, images):
            raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError, match="a defect"):
        list(Pipeline(small_bundle, Broken()).map_results(images, workers))
    assert threads_of_ours() == []


def test_an_endless_source_is_no_trouble(pipeline, images, workers):
    answers = pipeline.map_results(itertools.repeat(images[0]), workers)
    first = [next(answers) for _ in range(10)]
    answers.close()
    assert len({answer.verdict.label for answer in first}) == 1


def test_pictures_are_let_go_before_their_findings_are_wanted(small_bundle, images, workers):
    """Else the folder's largest pictures, and not only their inputs, would be kept ahead."""
    pictures = []

    class Picture(np.ndarray):
        pass

    def read(source, *, memory_mb):
        pixels = np.full((64, 64), 90, np.uint8).view(Picture)
        pictures.append(weakref.ref(pixels))
        return Radiograph(pixels=pixels, source_bits=8, spacing_mm=None, notes=())

    engine = open_engine(small_bundle, "x86", "fp32")
    answers = Pipeline(small_bundle, engine, reader=read).map_results([b"picture"] * 40, workers)
    alive = [sum(picture() is not None for picture in pictures) for _ in answers]
    assert len(pictures) == 40
    assert max(alive) <= workers


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "not enough memory"),
        (OSError(5, "Input/output error"), "cannot read the file: Input/output error"),
    ],
)
def test_a_reader_that_fails_otherwise_costs_one_answer(
    small_bundle, images, error, reason, workers
):
    def read(source, *, memory_mb):
        raise error

    engine = open_engine(small_bundle, "x86", "fp32")
    pipeline = Pipeline(small_bundle, engine, reader=read)
    found = list(pipeline.map_results([images[0], b"file", images[1]], workers))
    assert [isinstance(answer, InputError) for answer in found] == [False, True, False]
    assert str(found[1]) == reason


class Failing:
    """An engine that begins inferences, the third of which fails."""

    name, version, precision, isa, threads, notes = "failing", "0", "fp32", "none", 1, ()

    def __init__(self, at_once):
        self.at_once, self.begun, self.abandoned = at_once, 0, 0

    def begin(self, images):
        self.begun += 1
        number, engine = self.begun, self
        if number == 3 and self.at_once:
            raise EngineError("it broke")

        class Begun:
            def result(self):
                if number == 3:
                    raise EngineError("it broke")
                zeros = ((1, 3), (1, 3, 4, 4), (1, 8))
                return Outputs(*(np.zeros(shape, np.float32) for shape in zeros)), 1.0

            def abandon(self):
                engine.abandoned += 1

        return Begun()


@pytest.mark.parametrize("at_once", [True, False])
def test_an_engine_that_fails_has_its_error_in_its_place(small_bundle, images, at_once, workers):
    found = list(Pipeline(small_bundle, Failing(at_once)).map_results(images[:6], workers))
    failed = [isinstance(answer, EngineError) for answer in found]
    assert sum(failed) == 1
    assert workers > 1 or failed[2]


@pytest.mark.parametrize("at_once", [True, False])
def test_another_engine_takes_over_in_the_middle(small_bundle, images, at_once, workers):
    second = open_engine(small_bundle, "x86", "fp32")
    failing = Failing(at_once)
    pipeline = Pipeline(small_bundle, failing, fallback=lambda: second)
    found = list(pipeline.map_results(images, workers))
    ran = [answer.provenance.engine for answer in found]
    assert set(ran) == {"failing", "openvino"}
    assert ran[-1] == "openvino"
    assert pipeline.engine is second
    alone = Pipeline(small_bundle, second)
    for answer, image in zip(found, images, strict=True):
        if answer.provenance.engine == "openvino":
            assert answer.verdict == alone(image).verdict
            assert answer.provenance.fallback == "it broke"


def test_a_deadline_is_that_of_each_call_and_not_of_who_takes_its_time(
    small_bundle, images, workers
):
    engine = open_engine(small_bundle, "x86", "fp32")
    patient = Pipeline(small_bundle, engine, limits=CallLimits(deadline_ms=3.6e6))
    hurried = Pipeline(small_bundle, engine, limits=CallLimits(deadline_ms=0.001))
    assert all(isinstance(it, Finding) for it in patient.map_results(images, workers))
    late = list(hurried.map_results(images, workers))
    assert all(isinstance(answer, DeadlineExceeded) for answer in late)
    assert all_idle(engine)


def test_ctrl_c_in_the_middle_leaves_nothing_begun(small_bundle, images, workers, monkeypatch):
    engine = open_engine(small_bundle, "x86", "fp32")
    pipeline = Pipeline(small_bundle, engine)
    answers = pipeline.map_results(images, workers)
    first = next(answers)

    def pressed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "_decide", pressed)
        with pytest.raises(KeyboardInterrupt):
            next(answers)
    assert threads_of_ours() == []
    assert all_idle(engine)
    assert next(pipeline.map_results(images, workers)).verdict == first.verdict
