"""The runtime takes orthoedge-native where it is installed, says so, and refuses a wrong one."""

import os
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
from orthoedge.runtime.errors import EngineError
from orthoedge.runtime.preparation.native import find_native_library
from orthoedge.runtime.preprocess import STANDARD
from tests.conftest import ROOT

SAMPLES = sorted(PHANTOM_SAMPLES.glob("*.png"))


def orthoedge(*arguments, path=None):
    """Run the command line with a folder of packages in front of all others."""
    folders = [path, ROOT / ".typing", os.environ.get("PYTHONPATH")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(str(f) for f in folders if f)}
    command = [sys.executable, "-m", "orthoedge.cli.main", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=120
    )


def findings(path=None):
    arguments = ("predict", *SAMPLES[:3], "--bundle", "phantom", "--threads", "1", "--json")
    done = orthoedge(*arguments, path=path)
    assert done.returncode == 0, done.stderr
    lines = [re.sub(r'"timing_ms":{[^}]*}', "", line) for line in done.stdout.splitlines()]
    assert len(lines) == 3
    return lines


def test_a_finding_says_which_library_prepared_it_and_differs_in_nothing_else(built):
    named = ',"preprocessing":"native 0.1.0"'
    native = findings(built)
    assert all(line.count(named) == 1 for line in native)
    assert [line.replace(named, "") for line in native] == findings()


WRONG = {
    "__version__ = '9.0'\nINTERFACE = 99\n": "orthoedge-native 9.0 does not fit",
    "__version__ = '0.0.1'\n": "orthoedge-native 0.0.1 does not fit",
    "": "orthoedge-native unknown does not fit",
    "from orthoedge_native._library import prepare\n": "cannot be loaded: No module named",
    "import ctypes\nctypes.CDLL('libgone.so.1')\n": "cannot be loaded: libgone.so.1",
}
"""Contents of a package that does not fit, and what is said of it."""


def fake_package(folder, text):
    package = folder / "orthoedge_native"
    package.mkdir()
    (package / "__init__.py").write_text(text)
    return folder


@pytest.fixture
def not_imported(monkeypatch):
    """Without the library, and without what a test imports in its place."""

    def imported():
        return [name for name in sys.modules if name.partition(".")[0] == "orthoedge_native"]

    for name in imported():
        monkeypatch.delitem(sys.modules, name)
    yield
    for name in imported():
        del sys.modules[name]


@pytest.mark.parametrize(("text", "reason"), WRONG.items())
@pytest.mark.usefixtures("not_imported")
def test_a_library_that_does_not_fit_is_an_error(tmp_path, monkeypatch, text, reason):
    monkeypatch.syspath_prepend(fake_package(tmp_path, text))
    with pytest.raises(EngineError, match=re.escape(reason)):
        find_native_library.__wrapped__()


def test_predict_says_so_in_one_line_and_predicts_nothing(tmp_path):
    path = fake_package(tmp_path, "")
    done = orthoedge("predict", SAMPLES[0], "--bundle", "phantom", path=path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "orthoedge-native unknown does not fit" in done.stderr


@pytest.mark.slow
def test_doctor_names_the_library(built, tmp_path):
    with_it, without = orthoedge("doctor", path=built), orthoedge("doctor")
    assert (with_it.returncode, without.returncode) == (0, 0)
    assert re.search(r"^  orthoedge-native +0\.1\.0, kernels [A-Z]\w+$", with_it.stdout, re.M)
    assert re.search(r"^  orthoedge-native +not installed: pip install", without.stdout, re.M)
    wrong = orthoedge("doctor", path=fake_package(tmp_path, ""))
    assert wrong.returncode == 1
    assert re.search(r"^  orthoedge-native +not usable: .* does not fit", wrong.stdout, re.M)


def test_the_gil_is_not_held(library):
    pixels = np.random.default_rng(1).integers(0, 256, (6000, 6000), dtype=np.uint8)
    model_input, statistics = np.empty((224, 224), np.uint8), np.empty(22, np.float32)
    begun, ended = threading.Event(), threading.Event()

    def prepare():
        begun.set()
        for _ in range(3):
            library.prepare(pixels, True, "before", 2.0, 8, model_input, statistics)
        ended.set()

    thread = threading.Thread(target=prepare)
    thread.start()
    begun.wait()
    steps = 0
    while not ended.is_set():
        steps += 1
        time.sleep(0.001)
    thread.join()
    assert steps > 3  # with the GIL held, this thread would hardly run between the calls


def test_threads_prepare_at_the_same_time(library):
    rng = np.random.default_rng(4)
    images = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((300, 200), (512, 700))]
    right = [STANDARD(image).tobytes() for image in images]
    wrong = []

    def prepare(number):
        model_input, statistics = np.empty((224, 224), np.uint8), np.empty(22, np.float32)
        for turn in range(100):
            at = (number + turn) % 2
            library.prepare(images[at], True, "after", 2.0, 8, model_input, statistics)
            if model_input.tobytes() != right[at]:
                wrong.append((number, turn))

    threads = [threading.Thread(target=prepare, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_versions_agree(library):
    project = (ROOT / "native" / "pyproject.toml").read_text()
    assert f'version = "{library.__version__}"' in project
    cmake = (ROOT / "native" / "CMakeLists.txt").read_text()
    assert f"project(orthoedge_native VERSION {library.__version__} " in cmake
    bounds = re.search(
        r'"orthoedge-native>=([\d.]+),<([\d.]+)"', (ROOT / "pyproject.toml").read_text()
    )
    numbers = [tuple(map(int, text.split("."))) for text in (*bounds.groups(), library.__version__)]
    assert numbers[0] <= numbers[2] < numbers[1]
