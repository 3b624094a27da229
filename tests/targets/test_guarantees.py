"""What docs/embed/embedding.md promises to whoever embeds the runtime."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import EMBEDDED, PHANTOM_SAMPLES
from orthoedge.targets import EngineOptions, open_pipeline
from orthoedge.targets.isa_limit import why_unavailable

TARGETS = {"openvino": "x86", "onnxruntime": "portable"}
ENGINES = [
    ("x86", "int8"),
    pytest.param("x86", "fp32", marks=pytest.mark.slow),
    pytest.param("portable", "int8", marks=pytest.mark.slow),
    pytest.param("portable", "fp32", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def radiographs():
    """A dozen: the samples, and four of them turned and in a size of their own."""
    found = [
        cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        for path in sorted(PHANTOM_SAMPLES.glob("*.png"))
    ]
    for turns, size in ((1, (640, 480)), (2, (224, 224)), (3, (301, 777)), (1, (97, 131))):
        turned = np.ascontiguousarray(np.rot90(found[turns], turns))
        found.append(cv2.resize(turned, size, interpolation=cv2.INTER_LINEAR))
    assert len(found) == 12
    return found


def answer(finding):
    """All that may not differ: the map's bytes, every number of the verdict, where it lies."""
    return finding.saliency_map.tobytes(), finding.verdict, finding.placement


@pytest.mark.parametrize(("target", "precision"), ENGINES)
def test_eight_threads_get_the_answers_of_one(radiographs, target, precision):
    pipeline = open_pipeline(target=target, precision=precision, engine=EngineOptions(threads=2))
    alone = [answer(pipeline(pixels)) for pixels in radiographs]
    assert len({saliency for saliency, *_ in alone}) == len(alone)  # one for another is seen
    together = threading.Barrier(8)

    def work(first):
        order = np.roll(np.arange(len(radiographs)), -first)
        together.wait()
        return [(i, answer(pipeline(radiographs[i]))) for _ in range(2) for i in order]

    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(work, range(8)):
            assert [i for i, got in found if got != alone[i]] == []


def test_asyncio_gets_the_same_answers(radiographs):
    pipeline = open_pipeline(engine=EngineOptions(threads=1))

    async def gather():
        return await asyncio.gather(
            *(asyncio.to_thread(pipeline, pixels) for pixels in radiographs)
        )

    alone = [answer(pipeline(pixels)) for pixels in radiographs]
    assert [answer(finding) for finding in asyncio.run(gather())] == alone


def replay(line, bundle, pixels):
    """The finding again, from nothing but its line of JSON, the bundle's place and the pixels."""
    ran = json.loads(line)["provenance"]
    return open_pipeline(
        bundle,
        target=TARGETS[ran["engine"]],
        precision=ran["precision"],
        engine=EngineOptions(threads=ran["threads"]),
    )(pixels)


def without_times(line):
    record = json.loads(line)
    del record["timing_ms"]
    return record


@pytest.mark.parametrize(("target", "precision"), ENGINES)
def test_replaying_from_provenance_is_exact(radiographs, target, precision):
    pipeline = open_pipeline(target=target, precision=precision, engine=EngineOptions(threads=2))
    for pixels in radiographs[::4]:
        first = pipeline(pixels)
        again = replay(first.to_json(), EMBEDDED, pixels)
        assert answer(again) == answer(first)
        assert without_times(again.to_json()) == without_times(first.to_json())


@pytest.mark.slow
def test_another_bundle_is_noticed(radiographs, tmp_path):
    line = open_pipeline(engine=EngineOptions(threads=1))(radiographs[0]).to_json()
    other = tmp_path / "other"
    shutil.copytree(EMBEDDED, other)
    manifest = json.loads((other / "manifest.json").read_text())
    for calibration in manifest["calibration"].values():
        calibration["temperature"] *= 1.01
    (other / "manifest.json").write_text(json.dumps(manifest))
    (other / "manifest.sha256").unlink()
    again, ran = json.loads(replay(line, other, radiographs[0]).to_json()), json.loads(line)
    assert again["provenance"].pop("bundle_sha256") != ran["provenance"].pop("bundle_sha256")
    assert again["provenance"] == ran["provenance"]
    assert again["probabilities"] != ran["probabilities"]


@pytest.mark.skipif(bool(why_unavailable("AVX2")), reason=why_unavailable("AVX2"))
def test_another_instruction_set_is_noticed(radiographs):
    here = open_pipeline(precision="fp32", engine=EngineOptions(threads=1))(radiographs[0])
    if here.provenance.isa == "avx2":
        pytest.skip("this processor has nothing wider than AVX2")
    code = (
        "from orthoedge.targets import EngineOptions, open_pipeline\n"
        "print(open_pipeline(precision='fp32', engine=EngineOptions(threads=1)).engine.isa)"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["avx2"]
