"""What a target takes to carry and to start."""

from importlib import metadata

import pytest

from orthoedge.benchmarks.baselines.folder_throughput import samples
from orthoedge.benchmarks.timing import footprint as footprint_module
from orthoedge.benchmarks.timing.footprint import footprint
from orthoedge.benchmarks.timing.startup import PythonProcess
from orthoedge.runtime.errors import EngineError, MissingDependency


@pytest.mark.slow
def test_sizes_starts_and_memory_of_a_target(small_bundle):
    pytest.importorskip("onnxruntime")
    found, _ = footprint(small_bundle, "portable", "fp32", samples()[0], threads=1, starts=2)
    assert found.model_mb == len(small_bundle.model("fp32")) / 1e6
    on_disk = sum(file.stat().st_size for file in small_bundle.path.rglob("*.*"))
    assert found.bundle_mb == on_disk / 1e6
    assert 1 < found.wheel_mb < 32  # MB; the packaging test keeps the second
    assert found.cold_start_ms.count == 2
    assert found.cached_start_ms is None  # it has nothing to keep
    assert (
        30 < found.cold_peak_rss_mb.value < 1000
    )  # numpy and OpenCV alone take more than the first


@pytest.mark.slow
def test_a_compile_cache_is_used_where_there_is_one(small_bundle):
    pytest.importorskip("openvino")
    found, _ = footprint(small_bundle, "x86", "int8", samples()[0], threads=1, starts=1)
    assert found.cold_start_ms.count == found.cached_start_ms.count == 1


@pytest.mark.slow
def test_a_target_that_cannot_start_has_its_reason_and_its_sizes(small_bundle, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    found, skipped = footprint(small_bundle, "jetson", "int8", samples()[0], threads=1, starts=1)
    assert found.cold_start_ms is found.cold_peak_rss_mb is found.environment_mb is None
    assert found.model_mb > 0
    assert [one.name for one in skipped] == ["jetson int8: environment", "jetson int8: starts"]
    assert "JetPack" in skipped[0].reason


class Located:
    def __init__(self, path):
        self._path = path

    def locate(self):
        return self._path


@pytest.fixture
def packages(tmp_path, monkeypatch):
    """Fake installed packages, and how large the environment of a target is with them."""
    known = {}

    def distribution(name):
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    def add(name, size, *requires):
        folder = tmp_path / name
        folder.mkdir()
        for file, count in (("module.py", size), ("module.pyc", 5000)):
            (folder / file).write_bytes(b"0" * count)
        files = [Located(folder / file) for file in ("module.py", "module.pyc", "gone.py")]
        known[name] = type("Fake", (), {"requires": list(requires), "files": files})

    monkeypatch.setattr(footprint_module.metadata, "distribution", distribution)
    monkeypatch.setattr(footprint_module, "_our_files", list)
    add.size = footprint_module.environment_bytes.__wrapped__
    return add


def test_an_environment_is_what_the_target_requires_and_what_that_requires(packages):
    packages(
        "orthoedge",
        9000,
        "base>=1",
        'engine>=2; extra == "x86"',
        'other; extra == "portable"',
        "win32-only; sys_platform == 'win32'",
    )
    packages("base", 1, "Shared.Name (>=1)")
    packages("engine", 20, "base", 'extra-of-it; extra == "dev"')
    packages("Shared.Name", 300, "base")
    packages("other", 4000)
    assert packages.size("x86") == 321
    assert packages.size("portable") == 4301


def test_what_is_not_installed_has_no_size(packages):
    with pytest.raises(MissingDependency, match="orthoedge is not installed"):
        packages.size("x86")
    packages("orthoedge", 1, 'engine; extra == "x86"')
    with pytest.raises(MissingDependency, match=r"engine is not installed.*orthoedge\[x86\]"):
        packages.size("x86")
    with pytest.raises(EngineError, match="JetPack"):
        packages.size("jetson")


def test_a_child_that_says_all_at_once_is_heard_to_the_end():
    child = PythonProcess("print('first\\nsecond\\nlast')", {})
    taken, last = child.run()
    assert taken > 0
    assert last == "last"
    assert child.last_line() == "last"
