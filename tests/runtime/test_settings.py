"""The settings dataclasses, and the old form of the functions that take them."""

import ast
import inspect
import math
import re
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.runtime import SandboxedReader, SandboxLimits
from orthoedge.runtime.bundles.bundle import EMBEDDED, PHANTOM_SAMPLES, read_bundle
from orthoedge.runtime.errors import BundleError, ConfigError, IntegrityError, OrthoEdgeError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.settings import BundleTrust, CallLimits, EngineOptions, plain
from orthoedge.targets import choose_precision, open_engine, open_model, open_pipeline

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (EngineOptions, {"threads": 0}, "threads must be >= 1, got 0"),
        (EngineOptions, {"streams": 0}, "streams must be >= 1, got 0"),
        (EngineOptions, {"threads": 2.0}, "threads must be a whole number below 2**31, got 2.0"),
        (EngineOptions, {"streams": "2"}, "streams must be a whole number below 2**31, got '2'"),
        (
            EngineOptions,
            {"threads": 2**31},
            "threads must be a whole number below 2**31, got 2147483648",
        ),
        (CallLimits, {"deadline_ms": "5"}, "deadline_ms must be > 0, got 5"),
        (CallLimits, {"memory_mb": [5]}, "memory_mb must be > 0, got [5]"),
        (EngineOptions, {"cache": "folder"}, "cache must be a pathlib.Path, got 'folder'"),
        (CallLimits, {"deadline_ms": -1}, "deadline_ms must be > 0, got -1"),
        (CallLimits, {"deadline_ms": float("nan")}, "deadline_ms must be > 0, got nan"),
        (CallLimits, {"memory_mb": 0}, "memory_mb must be > 0, got 0"),
        (BundleTrust, {"public_key": b"short"}, "public_key must be 32 bytes, got 5"),
        (BundleTrust, {"min_version": "new"}, "min_version must be numbers with dots, got 'new'"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name_and_value(kind, setting, message):
    with pytest.raises(ConfigError) as raised:
        kind(**setting)
    assert str(raised.value) == message


@pytest.mark.parametrize("limit", [1e9, 1e15, 1e25, 1e306, math.inf])
@pytest.mark.parametrize("target", ["x86", "portable"])
def test_a_limit_that_no_call_reaches_is_no_limit(limit, target, small_bundle, recwarn):
    limits = CallLimits(deadline_ms=limit, memory_mb=limit)
    png = cv2.imencode(".png", PIXELS)[1].tobytes()
    with SandboxedReader(SandboxLimits(limit, limit)) as reader:
        for chosen in (read_image, reader):
            pipeline = open_pipeline(small_bundle, target=target, limits=limits, reader=chosen)
            assert pipeline(png).notes == ()
    assert not list(recwarn)  # such as pytest's for an error in a thread that measures the time


@pytest.mark.parametrize("kind", [EngineOptions, CallLimits, BundleTrust])
def test_settings_have_defaults_cannot_change_and_are_described_where_they_stand(kind):
    with pytest.raises(AttributeError):
        kind().threads = 1
    source = inspect.getsource(kind)
    assert source.count('"""') >= 2 * (1 + len(inspect.signature(kind).parameters))
    assert "see `" not in source


@pytest.fixture
def deprecated():
    """Every warning is an error but the one that is expected."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield lambda form: pytest.warns(DeprecationWarning, match=form)


def test_the_old_arguments_of_a_pipeline_still_work(small_bundle, tmp_path, deprecated):
    with deprecated(r"write target=portable, precision=fp32, engine=EngineOptions\(threads=1, "):
        old = open_pipeline(small_bundle, "portable", "fp32", 1)
    new = open_pipeline(
        small_bundle, target="portable", precision="fp32", engine=EngineOptions(threads=1)
    )
    before, now = old(PIXELS), new(PIXELS)
    assert (before.verdict, before.provenance) == (now.verdict, now.provenance)
    with deprecated(r"write limits=CallLimits.* in place of deadline_ms, memory_mb"):
        limited = open_pipeline(small_bundle, target="portable", deadline_ms=2e4, memory_mb=9.0)
    assert limited._limits == CallLimits(2e4, 9.0)
    with deprecated("in place of threads, cache, streams"):
        cached = open_pipeline(small_bundle, precision="fp32", threads=2, cache=tmp_path, streams=2)
    assert cached.engine.native.get_property("NUM_STREAMS") == 2
    assert list(tmp_path.iterdir())
    with deprecated("in place of deadline_ms"):
        assert Pipeline(small_bundle, new.engine, deadline_ms=5)._limits == CallLimits(5)


def test_the_old_arguments_of_trust_still_count(deprecated):
    with deprecated("trust=BundleTrust"), pytest.raises(BundleError, match="older than 9"):
        open_pipeline(oldest="9")
    with deprecated("trust=BundleTrust"), pytest.raises(IntegrityError, match="must be signed by"):
        open_pipeline(key=bytes(32))
    with deprecated("trust=BundleTrust"), pytest.raises(IntegrityError, match="must be signed by"):
        read_bundle(EMBEDDED, bytes(32))


def test_the_old_arguments_of_engines_still_work(small_bundle, deprecated):
    with deprecated(r"options=EngineOptions\(threads=1"):
        assert open_engine(small_bundle, "portable", "fp32", 1).threads == 1
    with deprecated(r"options=EngineOptions\(threads=1"):
        model = small_bundle.model("fp32")
        assert open_model(model, 32, "portable", "fp32", threads=1).threads == 1
    with deprecated("options=EngineOptions"):
        choose_precision("portable", None, 1)


def test_what_was_never_an_argument_is_a_type_error(small_bundle):
    with pytest.raises(TypeError, match="thread"):
        open_pipeline(small_bundle, thread=1)
    with (
        pytest.raises(TypeError, match="multiple values"),
        pytest.warns(DeprecationWarning, match="engine="),
    ):
        open_pipeline(small_bundle, threads=1, engine=EngineOptions())
    with pytest.raises(TypeError, match="positional"):
        open_engine(small_bundle, "x86", "fp32", 1, None, 1, 1)


def test_help_shows_the_new_form():
    form = str(inspect.signature(open_pipeline))
    assert "deadline_ms=None" in form
    assert "args" not in form
    assert "see `" not in open_pipeline.__doc__


def test_a_pipeline_reads_with_the_reader_it_is_given(small_bundle, deprecated):
    engine = open_engine(small_bundle, "portable", "fp32")
    asked = []

    def reader(source, *, memory_mb):
        asked.append((source, memory_mb))
        return read_image(source, memory_mb=memory_mb)

    path = min(PHANTOM_SAMPLES.glob("*.png"))
    pipeline = Pipeline(small_bundle, engine, reader=reader, limits=CallLimits(memory_mb=50))
    radiograph, finding = pipeline.predict_with_image(path)
    assert asked == [(path, 50)]
    assert np.array_equal(radiograph.pixels, read_image(path).pixels)
    assert pipeline.predict(path).verdict == pipeline(path).verdict == finding.verdict
    with deprecated("reader="):
        pipeline.read = read_image
    pipeline(path)
    assert len(asked) == 3


def test_map_is_the_old_name_of_map_results(small_bundle, deprecated):
    pipeline = Pipeline(small_bundle, open_engine(small_bundle, "portable", "fp32"))
    with deprecated("map_results"):
        (finding, error) = pipeline.map([PIXELS, Path("absent")], 1)
    assert finding.verdict == pipeline(PIXELS).verdict
    assert isinstance(error, OrthoEdgeError)


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (1600.4, 3, "1,600"),
        (1600.4, 6, "1,600.4"),
        (1500.0, 6, "1,500"),
        (2e6, 6, "2,000,000"),
        (123_456_789.0, 3, "123,456,789"),
        (0.25, 6, "0.25"),
        (99.96, 3, "100"),
        (3.1e-7, 2, "0.00000031"),
        (-0.00012, 6, "-0.00012"),
        (1e-300, 3, "almost 0"),
        (1e308, 3, "over 1,000,000,000,000,000"),
        (-1e22, 3, "under -1,000,000,000,000,000"),
        (0, 3, "0"),
        (7, 3, "7"),
        (math.inf, 3, "inf"),
        (math.nan, 3, "nan"),
        (np.float32(1e6), 6, "1,000,000"),
    ],
)
def test_a_number_for_people_has_no_exponent(value, digits, text):
    assert plain(value, digits) == text


def test_the_separator_of_thousands_can_be_left_out():
    assert plain(1_234_567.0, group="") == "1234567"


# Constants, and numbers that are bounded and lie far from where an exponent begins.
BOUNDED = {
    "runtime/image_io/reader.py": "16-bit samples",
    "runtime/image_quality.py": "a constant",
    "targets/jetson/telemetry.py": "a constant",
    "training/datasets/boxes.py": "the numbers of a file, as they stand there",
    "benchmarks/report/plots.py": "ticks of percentiles",
    "runtime/settings.py": "infinite, or 0",
    "compression/calibration/ood_score.py": "rounding, not text",
    "benchmarks/report/formatting.py": "0.1 to 99.95",
    "training/segmentation/markdown.py": "constants",
    "clinic/results/source.py": "a decimal string of DICOM, which may have an exponent",
}


def test_no_message_formats_a_number_so_that_it_may_have_an_exponent():
    root = Path(__file__).parents[2]
    found = set()
    folders = "runtime", "targets", "cli", "clinic", "training", "compression", "benchmarks"
    for folder in folders:
        for file in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                spec = node.format_spec if isinstance(node, ast.FormattedValue) else None
                if spec is not None and re.search(r"[geGE]'?$", ast.unparse(spec)):
                    found.add(str(file.relative_to(root)))
    assert found == set(BOUNDED)
