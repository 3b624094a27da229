"""Sandboxed reading: the same pixels, and a decoder's failure does not reach the parent."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from orthoedge.runtime.errors import ConfigError, InputError, MissingDependency
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.image_io.sandbox import SandboxedReader, SandboxLimits
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.subprocesses import code_command
from tests.helpers.hostile.files import pictures, scans
from tests.runtime.dicom.drawn import drawn

ROOT = Path(__file__).parents[3]
GREY = pictures()["grey.png"]
# Where the package is not installed, this is how a process that is started finds it.
IMPORTABLE = str(ROOT / ".typing")

# Stands for a decoder: what it does with a file is written in the file.
STANDIN = """
import os, signal, time

def read_dataset(file, **settings):
    file.seek(132)
    word = file.read(5)
    if word == b"abort":
        os.abort()
    if word == b"kill ":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"sleep":
        time.sleep(600)
    if word == b"spin ":
        while True:
            pass
    if word == b"swell":
        return bytearray(4 << 30)
    os.write(1, b"on standard output\\n" * 9000)
    os.write(2, b"on standard error\\n")
    raise ValueError("unreadable")
"""


def dicom(word):
    return bytes(128) + b"DICM" + word


@pytest.fixture(scope="module")
def reader():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [*sys.path, IMPORTABLE])
        with SandboxedReader() as reader:
            yield reader


@pytest.fixture(scope="module")
def fragile(tmp_path_factory):
    """A reader whose child finds the stand-in where pydicom would be, and has a second a file."""
    folder = tmp_path_factory.mktemp("standin")
    (folder / "pydicom").mkdir()
    (folder / "pydicom" / "__init__.py").write_text("dcmread = None")
    (folder / "pydicom" / "filereader.py").write_text(STANDIN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(folder), *sys.path, IMPORTABLE])
        with SandboxedReader(SandboxLimits(time_s=1.0)) as reader:
            yield reader


@pytest.fixture
def importable(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, IMPORTABLE])


@pytest.mark.parametrize("name", sorted({*pictures(), *scans()} - {"deflated.dcm"}))
def test_the_answer_is_the_one_of_this_process(name, reader, tmp_path):
    data = {**pictures(), **scans()}[name]
    path = tmp_path / "file"
    path.write_bytes(data)
    expected = read_image(data)
    for source in (data, path, str(path)):
        read = reader(source)
        assert np.array_equal(read.pixels, expected.pixels)
        assert (read.source_bits, read.spacing_mm) == (expected.source_bits, expected.spacing_mm)
        assert read.notes == expected.notes


@pytest.mark.parametrize(
    "changes",
    [
        [(0x00181164, "DS", "0.2\\0.2")],
        [(0x00280030, "DS", "0.2\\0.2"), (0x00280A02, "CS", "FIDUCIAL")],
        [(0x00280030, "DS", "0,2"), (0x00080068, "CS", "FOR PROCESSING")],
    ],
)
def test_plane_notes_and_reasons_are_those_of_this_process(changes, reader):
    pytest.importorskip("pydicom")
    read, expected = reader(drawn(changes)), read_image(drawn(changes))
    assert read.notes == expected.notes
    assert read.spacing_plane == expected.spacing_plane
    assert read.refer_reasons == expected.refer_reasons
    assert read.refer_reason_ids == expected.refer_reason_ids
    assert any((read.spacing_plane, read.refer_reasons))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        (b"abort", "its decoder crashed: the process ended by SIGABRT"),
        (b"kill ", "its decoder crashed: the process ended by SIGKILL, perhaps for memory"),
        (b"sleep", "reading it took longer than 1 s and was given up"),
        (b"spin ", "reading it took longer than 1 s and was given up"),
        (b"swell", "there is not enough memory to read it"),
        (b"print", "damaged DICOM: it cannot be decoded"),
    ],
)
def test_what_a_decoder_does_costs_that_file_alone_and_is_named(word, message, fragile, capfd):
    with pytest.raises(InputError, match=f"^{message}$"):
        fragile(dicom(word))
    assert np.array_equal(fragile(GREY).pixels, read_image(GREY).pixels)
    output = capfd.readouterr()
    assert ("on standard" in output.err) == (word == b"print")
    assert output.out == ""


def test_one_child_reads_all_files_that_do_not_break_it(reader):
    def processes():
        return [child._process.pid for child in reader._idle]

    before = processes()
    for data in (b"", b"text", GREY[:50], scans()["deflated.dcm"], GREY, scans()["native.dcm"]):
        with contextlib.suppress(InputError):
            reader(data)
    assert processes() == before


def test_a_limit_of_memory_is_kept_from_the_header_on(reader):
    with pytest.raises(InputError, match=r"reading it takes up to \d+ MiB, limit 8"):
        reader(GREY, memory_mb=8)
    with pytest.raises(InputError, match=r"^empty file$"):
        reader(b"")
    with pytest.raises(ConfigError, match="time_s: expected a number above 0"):
        SandboxedReader(SandboxLimits(time_s=0))


@pytest.mark.usefixtures("importable")
def test_a_missing_package_is_named_as_in_this_process(tmp_path, monkeypatch):
    (tmp_path / "pydicom.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path))
    with (
        SandboxedReader() as reader,
        pytest.raises(MissingDependency, match=r"pip install 'orthoedge\[dicom\]'"),
    ):
        reader(scans()["JPEG.dcm"])


@pytest.mark.usefixtures("importable")
def test_nothing_of_the_working_folder_is_imported(tmp_path, monkeypatch):
    (tmp_path / "cv2.py").write_text("raise SystemExit('from the working folder')")
    monkeypatch.chdir(tmp_path)
    with SandboxedReader() as reader:
        assert reader(GREY).pixels.shape == (96, 96)


def test_a_pipeline_reads_with_it(small_bundle, reader):
    from orthoedge.targets import open_engine

    engine = open_engine(small_bundle, "portable", "fp32")
    pipeline = Pipeline(small_bundle, engine, reader=reader)
    here, there = Pipeline(small_bundle, engine)(GREY), pipeline(GREY)
    assert there.verdict == here.verdict
    assert np.array_equal(there.saliency_map, here.saliency_map)
    results = pipeline.map_results([GREY] * 6, workers=3)
    assert all(isinstance(result.verdict.label, str) for result in results)


@pytest.mark.usefixtures("importable")
def test_the_child_ends_with_a_parent_that_is_killed():
    code = (
        f"import sys, time; sys.path[:] = {sys.path!r}\n"
        "from orthoedge.runtime.image_io.sandbox import SandboxedReader\n"
        "reader = SandboxedReader()\n"
        "print(reader._idle[0]._process.pid, flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
    end = time.monotonic() + 60
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < end, "the child stayed behind"
        time.sleep(0.02)


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_CPU"])
def test_a_lower_limit_of_the_user_applies_and_is_no_crash(kind):
    program = f"""
import cv2, numpy as np, resource
from orthoedge.runtime import SandboxedReader, SandboxLimits
image = np.random.default_rng(0).integers(0, 256, (64, 48), dtype=np.uint8)
most = {{"RLIMIT_AS": 4 * 2**30, "RLIMIT_CPU": 600}}["{kind}"]
resource.setrlimit(resource.{kind}, (most, most))
with SandboxedReader(SandboxLimits(1e6, 1e6)) as reader:
    assert (reader(cv2.imencode(".png", image)[1].tobytes()).pixels == image).all()
"""
    done = subprocess.run(code_command(program), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_descriptors_the_error_is_in_the_tree():
    program = """
import os, resource
from orthoedge.runtime import EngineError, SandboxedReader
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held = []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for free in range(5):
    try:
        SandboxedReader()
    except EngineError as error:
        assert "Too many open files" in str(error)
    else:
        raise AssertionError(free)
    os.close(held.pop())
"""
    done = subprocess.run(code_command(program), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
