"""How the x86 engine starts: without OpenVINO's Python package, and from its cache."""

import os
import subprocess
import sys

import numpy as np
import pytest

from orthoedge.benchmarks.timing.startup import first_finding_processes
from orthoedge.cli.main import main
from orthoedge.runtime.errors import EngineError
from orthoedge.targets import EngineOptions, choose_precision, open_engine, open_pipeline
from orthoedge.targets.x86 import compile as x86_compile
from orthoedge.targets.x86 import precision as x86_precision
from orthoedge.targets.x86.compile_cache import load

UNNEEDED = (
    *("argparse", "asyncio", "email", "importlib.metadata", "json"),
    *("numpy.fft", "numpy.ma", "numpy.polynomial", "numpy.random", "numpy.testing"),
    *("openvino", "pydicom", "orthoedge.runtime.dicom.reader", "orthoedge.runtime.image_io.folder"),
    *("orthoedge.runtime.image_io.tiff", "orthoedge.targets.verification"),
)
IMAGES = np.random.default_rng(3).integers(0, 256, (2, 1, 32, 32), dtype=np.uint8)


@pytest.fixture
def no_compiling(monkeypatch):
    """Call it, and whatever compiles after that fails."""

    def refuse(*arguments):
        raise AssertionError("compiled again")

    return lambda: monkeypatch.setattr(x86_compile, "_compile", refuse)


def outputs(engine):
    found = engine.run(IMAGES)
    return found.logits.tobytes(), found.saliency_map.tobytes(), found.feature_vector.tobytes()


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_second_start_compiles_nothing_and_answers_alike(
    precision, small_bundle, tmp_path, no_compiling
):
    first = open_engine(
        small_bundle, "x86", precision, options=EngineOptions(cache=tmp_path / "cache")
    )
    assert len(list((tmp_path / "cache").iterdir())) == 1
    no_compiling()
    second = open_engine(
        small_bundle, "x86", precision, options=EngineOptions(cache=tmp_path / "cache")
    )
    assert outputs(second) == outputs(first)
    assert (second.isa, second.precision) == (first.isa, precision)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda data: data[:-1], id="cut"),
        pytest.param(lambda data: data[:500] + bytes([data[500] ^ 1]) + data[501:], id="a bit"),
        pytest.param(lambda data: bytes(32) + data[32:], id="another digest"),
        pytest.param(lambda data: b"", id="empty"),
    ],
)
def test_a_damaged_cache_is_made_anew(damage, small_bundle, tmp_path):
    first = open_engine(small_bundle, "x86", "int8", options=EngineOptions(cache=tmp_path))
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    second = open_engine(small_bundle, "x86", "int8", options=EngineOptions(cache=tmp_path))
    assert outputs(second) == outputs(first)
    assert (first.notes, len(second.notes)) == ((), 1)
    assert second.notes[0].startswith(f"compile cache: {file.name} was damaged")
    assert second.notes[0].endswith(", and was made anew")
    assert load(file)[0] is not None


def test_a_cache_under_another_ones_name_is_made_anew(small_bundle, tmp_path):
    """Undamaged and of the right precision and interface, but of another model."""
    other = open_engine(
        small_bundle, "x86", "fp32", options=EngineOptions(threads=1, cache=tmp_path / "a")
    )
    engine = open_engine(
        small_bundle, "x86", "fp32", options=EngineOptions(threads=2, cache=tmp_path / "b")
    )
    (theirs,), (ours,) = (tmp_path / "a").iterdir(), (tmp_path / "b").iterdir()
    assert (other.notes, engine.notes) == ((), ())
    ours.write_bytes(theirs.read_bytes())
    (note,) = open_engine(
        small_bundle, "x86", "fp32", options=EngineOptions(threads=2, cache=tmp_path / "b")
    ).notes
    assert ours.name in note


def test_a_finding_tells_of_a_damaged_cache(tmp_path):
    image = np.full((64, 64), 90, np.uint8)
    image[20:40, 10:50] = np.arange(40, dtype=np.uint8) * 4
    first = open_pipeline(precision="int8", engine=EngineOptions(cache=tmp_path))(image)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    second = open_pipeline(precision="int8", engine=EngineOptions(cache=tmp_path))(image)
    assert second.verdict == first.verdict
    assert [file.name in note for note in second.notes] == [False] * len(first.notes) + [True]


def test_other_threads_streams_or_instructions_are_another_cache(
    small_bundle, tmp_path, monkeypatch
):
    open_engine(small_bundle, "x86", "int8", options=EngineOptions(cache=tmp_path))
    open_engine(small_bundle, "x86", "int8", options=EngineOptions(threads=1, cache=tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(x86_compile, "instruction_sets", lambda: frozenset({"sse4_1"}))
    open_engine(small_bundle, "x86", "int8", options=EngineOptions(cache=tmp_path))
    assert len(list(tmp_path.iterdir())) == 3
    monkeypatch.undo()
    open_engine(small_bundle, "x86", "int8", options=EngineOptions(cache=tmp_path, streams=2))
    assert len(list(tmp_path.iterdir())) == 4


def test_a_cache_that_cannot_be_written_is_told(small_bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="compile cache"):
        open_engine(small_bundle, "x86", "int8", options=EngineOptions(cache=tmp_path / "file"))


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """An empty Python environment in place of this one, as far as it keeps compiled models."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    return tmp_path / "share/orthoedge/compiled"


@pytest.fixture
def warmed(installation, small_bundle, capsys):
    assert main(["doctor", "--bundle", str(small_bundle.path), "--warm"]) == 0
    assert f"kept in {installation}" in capsys.readouterr().out
    return installation


def test_in_a_warmed_installation_no_start_compiles_or_writes(warmed, small_bundle, no_compiling):
    before = {file.name: file.read_bytes() for file in warmed.iterdir()}
    assert len(before) == 2  # for one file, and for several
    with_cache = warmed.parent / "elsewhere"
    expected = open_engine(small_bundle, "x86", "int8", options=EngineOptions(cache=with_cache))
    no_compiling()
    engine = open_engine(small_bundle, "x86")
    assert engine.notes == ()
    assert outputs(engine) == outputs(expected)
    assert {file.name: file.read_bytes() for file in warmed.iterdir()} == before
    with pytest.raises(AssertionError, match="compiled again"):  # other threads, another file
        open_engine(small_bundle, "x86", options=EngineOptions(threads=7))


def test_warming_serves_the_threads_that_are_given(installation, small_bundle, no_compiling):
    threads = ["--threads", "1"]
    assert main(["doctor", "--bundle", str(small_bundle.path), "--warm", *threads]) == 0
    no_compiling()
    assert open_engine(small_bundle, "x86", options=EngineOptions(threads=1)).threads == 1


def test_warming_a_cache_serves_starts_with_that_cache(
    installation, small_bundle, tmp_path, no_compiling
):
    bundle, cache = str(small_bundle.path), tmp_path / "cache"
    assert main(["doctor", "--bundle", bundle, "--warm", "--cache", str(cache)]) == 0
    assert not installation.exists()
    no_compiling()
    engine = open_engine(small_bundle, "x86", options=EngineOptions(cache=cache))
    assert engine.notes == ()


@pytest.mark.parametrize("damage", ["cut", "unreadable"])
def test_a_damaged_model_of_the_installation_is_noted_and_left(damage, installation, small_bundle):
    """Starts do not write there; `doctor --warm` mends it."""
    warm = ["doctor", "--bundle", str(small_bundle.path), "--warm", "--threads", "2"]
    assert main(warm) == 0
    (file,) = installation.iterdir()
    whole = file.read_bytes()
    file.unlink()
    if damage == "cut":
        file.write_bytes(whole[:-1])
    else:
        file.mkdir()
    (note,) = open_engine(small_bundle, "x86", options=EngineOptions(threads=2)).notes
    assert note.startswith(f"compile cache: {file.name} ")
    if damage == "cut":
        assert note.endswith("; orthoedge doctor --warm makes it anew")
        assert file.read_bytes() == whole[:-1]
        assert main(warm) == 0
        assert open_engine(small_bundle, "x86", options=EngineOptions(threads=2)).notes == ()


def test_an_installation_that_cannot_be_written_is_told(installation, small_bundle, capsys):
    installation.parent.parent.write_text("")
    assert main(["doctor", "--bundle", str(small_bundle.path), "--warm"]) == 2
    assert capsys.readouterr().err.startswith(f"orthoedge: compile cache {installation}: ")


@pytest.mark.parametrize("option", [["--cache", "somewhere"], ["--threads", "2"]])
def test_options_of_warming_alone_are_refused(option, capsys):
    assert main(["doctor", *option]) == 2
    assert "belong to --warm" in capsys.readouterr().err


def test_no_start_is_measured_as_compiled_in_a_warmed_installation(warmed, small_bundle):
    with (
        pytest.raises(EngineError, match="no start would compile"),
        first_finding_processes(small_bundle.path, warmed, 1),
    ):
        pass


def test_a_start_imports_nothing_that_its_first_finding_does_not_need():
    """In a process of its own: nothing of the list is there after the first finding."""
    code = f"""
import sys
from orthoedge.runtime.bundles.bundle import PHANTOM, PHANTOM_SAMPLES
from orthoedge.targets import open_pipeline
open_pipeline(PHANTOM)(sorted(PHANTOM_SAMPLES.glob("*.png"))[0])
print(sorted(set({UNNEEDED!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_openvino_package_and_telemetry_stay_out_and_can_still_be_imported():
    """In a process of its own, since others here import it."""
    code = """
import sys
from orthoedge.runtime.bundles.bundle import EMBEDDED, PHANTOM_SAMPLES
from orthoedge.targets import open_pipeline
finding = open_pipeline()(sorted(PHANTOM_SAMPLES.glob("*.png"))[0])
assert "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules
import openvino
openvino.Core().read_model(open(EMBEDDED / "model.fp32.onnx", "rb").read())
print(finding.label)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_auto_is_measured_once_and_remembered(small_bundle, tmp_path, monkeypatch):
    chosen, reason = choose_precision("x86", small_bundle, options=EngineOptions(cache=tmp_path))
    assert "measured now" in reason
    assert (
        open_engine(small_bundle, "x86", "auto", options=EngineOptions(cache=tmp_path)).precision
        == chosen
    )

    def forbid(*arguments):
        raise AssertionError("timed again")

    monkeypatch.setattr(x86_precision, "_time", forbid)
    again, reason = choose_precision("x86", small_bundle, options=EngineOptions(cache=tmp_path))
    assert (again, "remembered" in reason) == (chosen, True)


@pytest.mark.parametrize(("int8", "expected"), [(1.0, "int8"), (3.0, "fp32")])
def test_the_faster_precision_is_taken(int8, expected, small_bundle, monkeypatch):
    """What was measured is given; only the choice is looked at."""
    monkeypatch.setattr(
        x86_precision, "_time", lambda *arguments: x86_precision._Milliseconds(fp32=2.0, int8=int8)
    )
    assert choose_precision("x86", small_bundle)[0] == expected


def test_a_damaged_memory_is_measured_again(small_bundle, tmp_path):
    choose_precision("x86", small_bundle, options=EngineOptions(cache=tmp_path))
    (file,) = tmp_path.glob("*.precision")
    file.write_text('{"fp32": "fast"')
    assert (
        "measured now"
        in choose_precision("x86", small_bundle, options=EngineOptions(cache=tmp_path))[1]
    )
    assert (
        "remembered"
        in choose_precision("x86", small_bundle, options=EngineOptions(cache=tmp_path))[1]
    )


def test_where_integers_are_slow_nothing_is_measured_and_fp32_runs():
    """OpenVINO kept to SSE4.1, in a process of its own: the set is read once, at load."""
    code = (
        "from orthoedge.runtime.bundles.bundle import EMBEDDED, read_bundle\n"
        "from orthoedge.targets import choose_precision\n"
        "print(choose_precision('x86', read_bundle(EMBEDDED)))"
    )
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "SSE41"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith("('fp32', 'ONEDNN_MAX_CPU_ISA=SSE41"), done.stdout
