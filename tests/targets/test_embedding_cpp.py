"""The C++ example of docs/embed/cpp compiles and gives the results of the Python pipeline."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM, PHANTOM_SAMPLES
from orthoedge.runtime.image_quality import measure_image_quality
from orthoedge.runtime.preprocess import STANDARD, Preprocess
from orthoedge.targets import EngineOptions, open_pipeline
from orthoedge.targets.verification import deviation
from tests.conftest import ROOT
from tests.helpers.damaged_bundles import DAMAGES, add_cpu_file, changed_bundle, upgrade

pytestmark = pytest.mark.slow

EXAMPLE = ROOT / "docs" / "embed" / "cpp"
NATIVE = ROOT / "native"


def run(*command):
    arguments = [str(argument) for argument in command]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder of both programs, compiled with warnings as errors."""
    from openvino.utils import get_cmake_path

    for tool, package in {"cmake": "cmake", "g++": "g++"}.items():
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is missing: apt install {package} libssl-dev zlib1g-dev")
    folder = tmp_path_factory.mktemp("embedding")
    for command in (
        ("cmake", "-S", EXAMPLE, "-B", folder, f"-DOpenVINO_DIR={get_cmake_path()}",
         "-DCMAKE_CXX_COMPILER=g++", "-DCMAKE_CXX_FLAGS=-Werror"),
        ("cmake", "--build", folder, "-j1"),
    ):  # fmt: skip
        done = run(*command)
        if done.returncode != 0 and "nlohmann_jsonConfig.cmake" in done.stderr:
            pytest.skip("nlohmann/json is missing: apt install nlohmann-json3-dev")
        if done.returncode != 0 and "Highway is missing" in done.stderr:
            pytest.skip("Highway is missing: apt install libhwy-dev")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def radiograph(rng, height, width):
    """Draw blobs and noise, often with collimator margins, some of them rotated."""
    coarse = rng.integers(20, 170, (8, 8), dtype=np.uint8)
    pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    pixels = cv2.add(pixels, rng.integers(0, 30, (height, width), dtype=np.uint8))
    for side in np.flatnonzero(rng.random(4) < 0.35):
        view = np.rot90(pixels, side)
        view[: int(rng.uniform(0, 0.35) * len(view))] = rng.choice([0, 180, 255])
    if rng.random() < 0.3:
        turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-3, 3), 1)
        pixels = cv2.warpAffine(pixels, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return pixels


def write(folder, images):
    folder.mkdir()
    paths = [folder / f"{i}.pgm" for i in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        assert cv2.imwrite(str(path), pixels)
    return paths


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (msgspec.structs.astuple(STANDARD), 300),
        ((193, "keep", "before", 3.7, 7), 60),
        ((250, "crop", "after", 0.4, 12), 60),
        ((64, "crop", "none", 2.0, 8), 60),
    ],
)
def test_the_preprocessing_gives_the_same_bytes(built, tmp_path, settings, count):
    preprocess = Preprocess(**dict(zip(Preprocess.__struct_fields__, settings, strict=True)))

    def change(copy, manifest):
        manifest["preprocess"] = msgspec.to_builtins(preprocess)

    rng = np.random.default_rng(5)
    # Random sizes, then sizes that shrink by 1, 2 and 8, and the size of a detector.
    sides = [*rng.integers(32, 700, (count, 2)), (224, 224), (448, 448), (1792, 896), (2500, 2048)]
    images = [radiograph(rng, int(height), int(width)) for height, width in sides]
    paths = write(tmp_path / "images", images)
    bundle, out = changed_bundle(tmp_path, change), tmp_path / "out"
    done = run(built / "orthoedge-prepare", bundle, out, *paths)
    assert done.returncode == 0, done.stderr
    cropped = 0
    for pixels, path, line in zip(images, paths, done.stdout.splitlines(), strict=True):
        model_input, transform = preprocess.prepare(pixels)
        from_cpp = cv2.imread(str(out / path.name), cv2.IMREAD_GRAYSCALE)
        np.testing.assert_array_equal(from_cpp, model_input, err_msg=f"{pixels.shape}")
        assert tuple(map(int, line.split()[:8])) == transform.field + transform.content
        cropped += transform.field != (0, 0, *pixels.shape[::-1])
    assert (cropped > count / 4) == (preprocess.collimated_field == "crop")


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    """The samples resized to various sizes, and their files."""
    sizes = [(97, 131), (256, 256), (301, 220), (640, 333), (224, 224), (1200, 777), (450, 99)]
    images = []
    for path, (height, width) in zip(sorted(PHANTOM_SAMPLES.glob("*.png")), sizes, strict=False):
        pixels = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        images.append(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR))
    images[2][:40] = 255  # a margin to be cropped
    return images, write(tmp_path_factory.mktemp("radiographs") / "images", images)


RUNS = [("int8", 3), ("fp32", 3), ("int8", 4), ("int8", 5)]


@pytest.mark.parametrize(("precision", "schema"), RUNS)
def test_results_are_those_of_the_pipeline(built, tmp_path, radiographs, precision, schema):
    images, paths = radiographs
    changes = {4: upgrade, 5: add_cpu_file}
    bundle = changed_bundle(tmp_path, changes[schema]) if schema in changes else PHANTOM
    assert f'"schema": {schema}' in (bundle / "manifest.json").read_text()
    pipeline = open_pipeline(bundle, precision=precision, engine=EngineOptions(threads=1))
    manifest = pipeline.bundle.manifest
    done = run(built / "orthoedge-classify", bundle, precision, tmp_path, *paths)
    assert done.returncode == 0, done.stderr
    start, *results = map(json.loads, done.stdout.splitlines())
    assert start["provenance"]["bundle_sha256"] == pipeline.bundle.sha256
    for pixels, path, result in zip(images, paths, results, strict=True):
        finding = pipeline(pixels)
        outputs = pipeline.engine.run(manifest.preprocess(pixels)[None, None])
        # The same engine on the same bytes with one thread gives the same bits.
        logits = np.array([result["logits"][label] for label in manifest.labels], np.float32)
        np.testing.assert_array_equal(logits, outputs.logits[0])
        saliency = np.load(tmp_path / f"{path.name}.map.npy")
        np.testing.assert_array_equal(saliency, outputs.saliency_map[0])
        # The programs add doubles in different orders.
        assert result["probabilities"] == pytest.approx(finding.probabilities, rel=1e-12)
        ood_score = finding.verdict.out_of_distribution
        assert result["out_of_distribution"] == pytest.approx(ood_score, rel=1e-9, abs=1e-9)
        assert tuple(result["label_set"]) == finding.verdict.label_set
        x0, y0, x1, y1 = finding.placement.field
        measures = measure_image_quality(pixels[y0:y1, x0:x1])
        assert result["quality"] == measures._asdict()
        assert tuple(result["field"]) == finding.placement.field
        assert tuple(result["content"]) == finding.placement.content


@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_the_golden_outputs_are_reproduced(built, tmp_path, radiographs, precision):
    pipeline = open_pipeline(PHANTOM, precision=precision, engine=EngineOptions(threads=1))
    bundle, limit = pipeline.bundle, pipeline.bundle.manifest.golden.tolerance[precision]
    expected, images = bundle.golden_outputs(precision), bundle.golden_images()
    singles = [pipeline.engine.run(images[i : i + 1]) for i in range(len(images))]
    done = run(built / "orthoedge-classify", PHANTOM, precision, tmp_path, radiographs[1][0])
    golden = json.loads(done.stdout.splitlines()[0])["golden"]
    for name in ("logits", "saliency_map", "feature_vector"):
        actual = np.concatenate([getattr(single, name) for single in singles])
        measured = deviation(actual, getattr(expected, name))
        # Python takes the standard deviation in float32, the example in double.
        assert golden[name] == pytest.approx(measured, rel=1e-4)
        assert 0 < golden[name] <= getattr(limit, name)


@pytest.mark.parametrize(("change", "reason"), DAMAGES)
def test_a_damaged_bundle_is_refused_in_one_line(built, tmp_path, radiographs, change, reason):
    bundle = changed_bundle(tmp_path, change)
    done = run(built / "orthoedge-classify", bundle, "int8", tmp_path, radiographs[1][0])
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert reason in done.stderr
    assert not list(tmp_path.glob("*.npy"))


def test_the_lines_of_the_page_compile(built, tmp_path):
    import openvino

    page = (EXAMPLE.parent / "embedding.md").read_text()
    lines = re.search(r"^```cpp\n(.*?)^```$", page, re.DOTALL | re.MULTILINE).group(1)
    source = tmp_path / "page.cpp"
    source.write_text(
        '#include "decision.h"\n'
        "void page(const std::uint8_t* pixels, int rows, int columns, std::ptrdiff_t stride) {\n"
        f"{lines}(void)inputs;\n}}\n"
    )
    folders = [EXAMPLE, NATIVE / "include", Path(openvino.__file__).parent / "include"]
    done = run("g++", "-std=c++17", "-fsyntax-only", *(f"-I{folder}" for folder in folders), source)
    assert done.returncode == 0, done.stderr


OUTSIDE = """\
#include <cstdio>
#include <vector>
#include "orthoedge/preparation.h"
int main() {
  std::vector<std::uint8_t> pixels(300 * 200, 90), model_input(224 * 224);
  const auto stage = orthoedge::Preprocess::Stage::kAfter;
  const auto placed = orthoedge::prepare({224, true, stage, 2.0, 8}, {pixels.data(), 300, 200, 200},
                                         model_input.data());
  for (const int edge : placed.content) std::printf("%d ", edge);
}
"""
"""A program that knows the library only as CMake finds it installed."""


def test_a_program_outside_finds_the_installed_library(built, tmp_path):
    page = (NATIVE / "README.md").read_text()
    lines = re.search(r"^```cmake\n(.*?)^```$", page, re.DOTALL | re.MULTILINE).group(1)
    (tmp_path / "yours.cpp").write_text(OUTSIDE)
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.18)\nproject(yours LANGUAGES CXX)\n"
        f"add_executable(yours yours.cpp)\n{lines}"
    )
    for command in (
        ("cmake", "--install", built, "--prefix", tmp_path / "prefix"),
        ("cmake", "-S", tmp_path, "-B", tmp_path / "build", "-DCMAKE_CXX_COMPILER=g++",
         f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"),
        ("cmake", "--build", tmp_path / "build"),
    ):  # fmt: skip
        done = run(*command)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    _, placement = STANDARD.prepare(np.full((300, 200), 90, np.uint8))
    done = run(tmp_path / "build" / "yours")
    assert tuple(map(int, done.stdout.split())) == placement.content


def test_a_cut_image_does_not_stop_the_others(built, tmp_path, radiographs):
    cut = tmp_path / "cut.pgm"
    cut.write_bytes(radiographs[1][0].read_bytes()[:-1])
    done = run(built / "orthoedge-classify", PHANTOM, "int8", tmp_path, cut, radiographs[1][1])
    reason = "the file is cut, or longer than its header says"
    assert (done.returncode, done.stderr) == (1, f"orthoedge-classify: {cut}: {reason}\n")
    assert json.loads(done.stdout.splitlines()[-1])["path"] == str(radiographs[1][1])


def test_a_file_name_that_is_not_utf8_is_printed_as_json(built, tmp_path, radiographs):
    path = tmp_path / os.fsdecode(b"\xff.pgm")
    shutil.copy(radiographs[1][0], path)
    done = run(built / "orthoedge-classify", PHANTOM, "int8", tmp_path, path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["path"] == str(tmp_path / "\ufffd.pgm")
