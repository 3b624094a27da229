"""The runtime over many calls: the same bytes each time, and no memory that is not given back."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

RUNS = int(os.environ.get("ORTHOEDGE_ENDURANCE_RUNS", "100000"))
"""Predictions of the memory test. Fewer show only that it works."""

HASHES = """
import hashlib, sys
from concurrent.futures import ThreadPoolExecutor
import cv2, msgspec
from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
from orthoedge.targets import EngineOptions, open_pipeline

target, precision, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
paths = sorted(PHANTOM_SAMPLES.glob("*.png"))
images = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in paths]
for threads in (1, 2, 4):
    options = EngineOptions(threads=threads)
    pipeline = open_pipeline(target=target, precision=precision, engine=options)

    def work(i):
        finding = pipeline(images[i % len(images)])
        numbers = msgspec.json.encode([finding.verdict, finding.placement])
        return hashlib.sha256(finding.saliency_map.tobytes() + numbers).hexdigest()

    found = [set() for _ in images]
    with ThreadPoolExecutor(threads) as pool:  # as many callers as threads of the engine
        for i, digest in enumerate(pool.map(work, range(runs))):
            found[i % len(images)].add(digest)
    assert all(len(digests) == 1 for digests in found), found
    print(threads, hashlib.sha256("".join(min(d) for d in found).encode()).hexdigest())
"""

RESIDENT = """
import gc, os, sys, threading
from pathlib import Path
import cv2
from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
from orthoedge.targets import EngineOptions, open_pipeline

def resident():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

def sources():
    # Arrays, and the bytes of files of the same small size: decoding is watched too.
    found = []
    for path in sorted(PHANTOM_SAMPLES.glob("*.png")):
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        found.append(cv2.resize(pixels, (224, 224), interpolation=cv2.INTER_AREA))
        found.append(cv2.imencode(".png", found[-1])[1].tobytes())
    return found
"""

CALLS = (
    RESIDENT
    + """
target, runs = sys.argv[1], int(sys.argv[2])
pipeline, given = open_pipeline(target=target, engine=EngineOptions(threads=1)), sources()
def predict(count):
    for i in range(count):
        pipeline(given[i % len(given)])
predict(1000)
before = resident()
for _ in range(10):
    predict(runs // 10)
    print(f"{resident() - before:.2f}", flush=True)
"""
)

SHORT_THREADS = (
    RESIDENT
    + """
pipeline, given = open_pipeline(target=sys.argv[1], engine=EngineOptions(threads=1)), sources()
def start(count):
    for i in range(count):
        thread = threading.Thread(target=pipeline, args=(given[i % len(given)],))
        thread.start()
        thread.join()
start(100)
before = resident()
start(2000)
print(f"{resident() - before:.2f}")
"""
)


def child(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_a_thousand_runs_by_1_2_and_4_threads_in_3_processes_have_one_hash(precision):
    found = [child(HASHES, "x86", precision, 1000) for _ in range(3)]
    print(*found, sep="\n")
    assert [line.split()[0] for line in found[0]] == ["1", "2", "4"]
    assert len({line.split()[1] for lines in found for line in lines}) == 1


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_with_onnx_runtime_each_number_of_threads_has_one_hash(precision):
    """It divides sums among its threads, so another number of them rounds otherwise."""
    found = [child(HASHES, "portable", precision, 200) for _ in range(3)]
    assert found[0] == found[1] == found[2]
    assert [line.split()[0] for line in found[0]] == ["1", "2", "4"]


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_memory_does_not_grow_with_predictions(target):
    growth = [float(line) for line in child(CALLS, target, RUNS)]
    print(f"\n{target}: resident memory after each tenth of {RUNS} predictions, MB more: {growth}")
    assert len(growth) == 10
    assert max(growth) <= 5


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_threads_that_end_give_back_what_they_held(target):
    """Each calling thread has an inference request of its own."""
    (growth,) = map(float, child(SHORT_THREADS, target))
    print(f"\n{target}: 2,000 threads of one prediction each, MB more: {growth}")
    assert growth <= 5
