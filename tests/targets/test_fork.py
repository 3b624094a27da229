"""A child forked from a process with an open pipeline raises at once, and never hangs."""

import subprocess

import pytest

from orthoedge.runtime.subprocesses import code_command

COMMON = """
import gc, multiprocessing, os, signal, sys, threading, time, traceback
import cv2, numpy as np
from orthoedge.runtime import EngineError, OrthoEdgeError, SandboxedReader, read_image
from orthoedge.targets import CallLimits, EngineOptions, open_pipeline

target = sys.argv[1]
image = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
png = cv2.imencode(".png", image)[1].tobytes()


def refused(call, *arguments):
    try:
        call(*arguments)
    except EngineError as error:
        assert "forked" in str(error) and "child" in str(error), error
        return True
    return False


def in_child(work):
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)  # far above what any of them takes: ends a child that hangs
        try:
            assert work()
        except Exception:
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)  # the normal end, with destructors
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
"""

# Each of these hung in 0.1.0 on x86, or was not an EngineError, or broke the parent.
PROGRAMS = {
    "a call of a pipeline that was only opened": """
pipeline = open_pipeline(target=target)
in_child(lambda: refused(pipeline, png))
assert pipeline(png)
""",
    "a call of a pipeline that was used": """
pipeline = open_pipeline(target=target)
before = pipeline(png)
in_child(lambda: refused(pipeline, png) and refused(pipeline.predict_with_image, image))
assert pipeline(png).probabilities == before.probabilities
""",
    "a call with a deadline": """
pipeline = open_pipeline(target=target, limits=CallLimits(deadline_ms=60_000))
pipeline(png)
in_child(lambda: refused(pipeline, png))
""",
    "the engine itself": """
pipeline = open_pipeline(target=target)
images = pipeline.bundle.golden_images()[:1]
pipeline.engine.run(images)
in_child(lambda: refused(pipeline.engine.run, images) and refused(pipeline.engine.run, images, 9))
pipeline.engine.run(images)
""",
    "the end of a child that never calls": """
pipeline = open_pipeline(target=target)
in_child(lambda: True)
assert pipeline(png)
""",
    "destructors and garbage collection": """
pipeline = open_pipeline(target=target)
pipeline(png)
def drop():
    global pipeline
    del pipeline
    gc.collect()
    return True
in_child(drop)
assert pipeline(png)
""",
    "a second pipeline, opened in the child": """
pipeline = open_pipeline(target=target)
before = pipeline(png)
def reopen():
    other = open_pipeline(target=target)
    return other(png).probabilities == before.probabilities
in_child(reopen)
in_child(reopen)
assert pipeline(png).probabilities == before.probabilities
""",
    "a pool of forked processes": """
pipeline = open_pipeline(target=target)
pipeline(png)
def work(number):
    return refused(pipeline, png)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(work, range(6)) == [True] * 6
assert pipeline(png)
""",
    "a fork in a thread, while another thread predicts": """
pipeline = open_pipeline(target=target)
ended = threading.Event()
def busy():
    while not ended.is_set():
        pipeline(png)
threads = [threading.Thread(target=busy) for _ in range(2)]
for thread in threads:
    thread.start()
forking = threading.Thread(target=lambda: [in_child(lambda: refused(pipeline, png)) for _ in "abc"])
forking.start()
forking.join()
ended.set()
for thread in threads:
    thread.join()
""",
    "a child of the child": """
pipeline = open_pipeline(target=target)
pipeline(png)
def again():
    in_child(lambda: refused(pipeline, png))
    return refused(pipeline, png)
in_child(again)
""",
    "an iteration that the parent began": """
pipeline = open_pipeline(target=target)
results = pipeline.map_results([png] * 20, 2)
next(results)
def go_on():
    done = refused(next, results)
    return done and all(isinstance(it, EngineError) for it in pipeline.map_results([png] * 3, 2))
in_child(go_on)
assert len(list(results)) == 19
""",
    "an iteration that the parent began and reads itself": """
pipeline = open_pipeline(target=target)
results = pipeline.map_results([png] * 20, 1)
next(results)
def go_on():
    global results
    done = refused(next, results)
    del results
    return done and all(isinstance(it, EngineError) for it in pipeline.map_results([png] * 3, 1))
in_child(go_on)
assert len(list(results)) == 19
""",
    "a fallback engine is not opened for it": """
from orthoedge.runtime import Pipeline
pipeline = open_pipeline(target=target)
opened = []
guarded = Pipeline(pipeline.bundle, pipeline.engine, fallback=lambda: opened.append(1))
in_child(lambda: refused(guarded, png) and not opened)
""",
    "a reader with a subprocess": """
reader = SandboxedReader()
pipeline = open_pipeline(target=target, reader=reader)
before = pipeline(png)
def own():
    same = np.array_equal(reader(png, memory_mb=None).pixels, image)
    reader.close()
    return same and refused(pipeline, png)
in_child(own)
in_child(lambda: reader.close() or True)  # leaves the parent's alone
assert pipeline(png).probabilities == before.probabilities
reader.close()
""",
    "a file of a child that has a child, where the reader had its own": """
reader = SandboxedReader()
def twice():
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(64)]  # numbers the reader had
    def still_open():
        return all(os.fstat(number) for number in held)
    in_child(still_open)
    return True
in_child(twice)
reader.close()
""",
    "an iteration whose results another thread was about to set": """
pipeline = open_pipeline(target=target)
results = pipeline.map_results([png] * 20, 2)
next(results)
import concurrent.futures
cancel = concurrent.futures.Future.cancel
def hang(self):  # its lock is held by a thread that does not exist here
    signal.pause()
def drop():
    global results
    concurrent.futures.Future.cancel = hang
    done = refused(next, results)
    del results
    return done
in_child(drop)
results.close()
""",
    "reading DICOM files while the parent reads one": """
from orthoedge.runtime.dicom import silence
with_lock, ended = threading.Event(), threading.Event()
def hold():
    with silence._changing:
        with_lock.set()
        ended.wait()
thread = threading.Thread(target=hold)
thread.start()
with_lock.wait()
def read():
    with silence.quiet_pydicom():
        return True
in_child(read)
ended.set()
thread.join()
""",
}
QUICK = (
    "a call of a pipeline that was used",
    "a fork in a thread, while another thread predicts",
    "a reader with a subprocess",
)


@pytest.mark.parametrize("target", ["x86", pytest.param("portable", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PROGRAMS],
)
def test_after_a_fork(name, target):
    pytest.importorskip({"x86": "openvino", "portable": "onnxruntime"}[target])
    command = code_command(COMMON + PROGRAMS[name])
    done = subprocess.run([*command, target], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
