"""Hostile files at full count; the quick part is `tests/runtime/test_hostile_*.py`."""

import contextlib
import io
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle
from orthoedge.runtime.errors import InputError, OrthoEdgeError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.sandbox import SandboxedReader, SandboxLimits
from tests.helpers.hostile.bombs import cost_of, picture_bombs, zip_of, zip_of_members
from tests.helpers.hostile.files import cases, encode, mutate, pictures, radiograph, scans

pytestmark = pytest.mark.slow

FILES, SEED = 5_000, 20
SECONDS, MIB = 2.0, 512.0
FLIPS, CUTS = 2_000, 2_000
ZIPS = 1_000
RUNS = 200_000
BOMB_MS, BOMB_MIB = 50, 50
ROOT = Path(__file__).parents[2]
# What a reader says of a child that did not keep to its limits, and not of the file.
BROKEN = re.compile("decoder crashed|took longer|not enough memory|reading it takes up to")


@pytest.fixture
def importable(monkeypatch):
    """Where the package is not installed, this is how a process that is started finds it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / ".typing")])
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".typing"))


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
@pytest.mark.usefixtures("importable")
def test_files_neither_crash_nor_hang_nor_swell(tally):
    held, read, broken = 0, 0, []
    with SandboxedReader(SandboxLimits(SECONDS, MIB)) as reader:
        for name, data in cases(FILES, SEED):
            for _ in range(2):  # another program may have had the processor the first time
                try:
                    reader(data)
                    answer = ""
                except InputError as error:
                    answer = str(error)
                if "took longer" not in answer:
                    break
            if BROKEN.search(answer) or "\n" in answer:
                broken.append(f"{name}: {answer}")
                continue
            held += 1
            read += not answer
    note = f"each within {SECONDS:g} s and {MIB:g} MiB; {read} read, {held - read} refused "
    tally("hostile files: no crash, no hang", held, FILES, note + "; ".join(broken[:5]))


def test_no_altered_png_and_no_cut_jpeg_is_read_in_silence(tally):
    held = 0
    for name, image in (("8 bits", radiograph(40)), ("16 bits", radiograph(40, 16))):
        data = encode(".png", image)
        whole = read_image(data).pixels
        rng = np.random.default_rng([SEED, len(data)])
        for place in rng.choice(8 * len(data), FLIPS // 2, replace=False):
            changed = bytearray(data)
            changed[place // 8] ^= 1 << int(place) % 8
            held += _refused_or_same(bytes(changed), whole, f"{name}, bit {place}")
    tally("hostile files: bits of PNG", held, FLIPS, "refused, or every pixel as it was")
    held, jpegs = 0, [data for name, data in pictures().items() if name.endswith(".jpg")]
    for place in range(CUTS):
        data = jpegs[place % len(jpegs)]
        cut = 1 + (place // len(jpegs) * (len(data) - 1)) // (CUTS // len(jpegs))
        held += _refused_or_same(data[:-cut], None, f"cut {cut} of {len(data)}")
    tally("hostile files: cuts of JPEG", held, CUTS, "refused")


def _refused_or_same(data, whole, what):
    try:
        found = read_image(data).pixels
    except InputError:
        return True
    assert whole is not None, what
    assert np.array_equal(found, whole), what
    return True


def test_bombs_are_refused_from_their_headers(tally, tmp_path):
    path = tmp_path / "bundle.zip"
    read_image(scans()["JPEG 2000.dcm"])  # loads what DICOM needs
    archives = {
        "zip": zip_of(PHANTOM, MODEL_CARD=bytes(300_000_000)),
        "zip of weights": zip_of(PHANTOM, model=bytes(300_000_000)),
        "zip of members": zip_of_members(65_000),
    }
    costs = {}
    for name, data in {**picture_bombs(), **archives}.items():
        if name in archives:
            path.write_bytes(data)
        source = (
            (lambda: read_bundle(path))
            if name in archives
            else (lambda data=data: read_image(data))
        )
        costs[name] = cost_of(source)
    held = {n: m and ms <= BOMB_MS and mib <= BOMB_MIB for n, (m, ms, mib) in costs.items()}
    failed = [f"{name}: {costs[name]}" for name, fine in held.items() if not fine]
    slowest, most = (max(cost[part] for cost in costs.values()) for part in (1, 2))
    note = f"at most {slowest:.1f} ms, {most:.1f} MiB " + "; ".join(failed)
    tally("hostile files: bombs", sum(map(bool, held.values())), len(costs), note)


def test_archives_are_read_whole_or_refused(tally, tmp_path):
    path, whole = tmp_path / "bundle.zip", zip_of(PHANTOM)
    expected = read_bundle(PHANTOM).files
    held = 0
    for place in range(ZIPS):
        rng = np.random.default_rng([SEED, place])
        # Its directory is at the end; the rest is what the hashes of the manifest are of.
        path.write_bytes(whole[:-1500] + mutate(rng, whole[-1500:]))
        with contextlib.suppress(OrthoEdgeError):
            assert read_bundle(path).files == expected, place
        held += 1
    tally("hostile files: zip directories", held, ZIPS, "read whole, or refused")


@pytest.mark.usefixtures("importable")
def test_coverage_guided_fuzzing_finds_nothing(tally, tmp_path):
    pytest.importorskip("atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    arrays = io.BytesIO()
    np.savez(arrays, labels=np.array(["a", "b"]), logits=np.zeros((2, 2), np.float32))
    seeds = [(0, data) for data in pictures().values()]
    seeds += [(1, data[data.rfind(b"\xff\xd8") :]) for data in scans().values()]
    seeds += [(2, (PHANTOM / "manifest.json").read_bytes()), (4, arrays.getvalue())]
    seeds += [(3, arrays.getvalue()[40:]), (5, (PHANTOM / "model.int8.onnx").read_bytes()[:9000])]
    strip = bytes(range(64))
    encoders = (imagecodecs.lzw_encode, zlib.compress, imagecodecs.packbits_encode)
    seeds += [(6, bytes([kind]) + encode(strip)) for kind, encode in enumerate(encoders)]
    for number, (reader, data) in enumerate(seeds):
        (corpus / str(number)).write_bytes(bytes([reader]) + data)
    program = [
        sys.executable,
        str(ROOT / "tests" / "helpers" / "hostile" / "fuzz_own_code.py"),
        str(corpus),
    ]
    limits = [f"-runs={RUNS}", "-seed=1", "-timeout=10", "-rss_limit_mb=1024", "-max_len=20000"]
    # Linux counts the memory of who starts a program as the program's own peak, and in a run of
    # every test of this folder that is more than the limit: a small shell starts it.
    shell = ["sh", "-c", '"$@"; exit $?', "sh"]
    ended = subprocess.run(
        [*shell, *program, *limits],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    done = int(re.findall(r"Done (\d+) runs", ended.stderr)[-1])
    tally("hostile files: atheris on our own code", min(done, RUNS), RUNS, "runs")
