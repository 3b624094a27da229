"""The wheel holds what the tree holds, and the sdist is enough to build it."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("cli", "clinic", "training", "compression", "runtime", "benchmarks", "targets")
WHEEL_LIMIT = 32_000_000  # bytes; it goes to devices over slow links


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The wheel, built from the sdist as pip would, and the sdist."""
    base = tmp_path_factory.mktemp("packaging")
    checkout, out = base / "checkout", base / "dist"
    # A copy, because setuptools writes build/ beside the sources and would pack what lies there.
    checkout.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, checkout)
        elif path.name in (*FOLDERS, "tests", "docs"):
            shutil.copytree(
                path, checkout / path.name, ignore=shutil.ignore_patterns("__pycache__", ".*")
            )
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), "."]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return checkout, wheel, sdist


def tree_files(checkout, folders):
    return {
        path.relative_to(checkout).as_posix()
        for folder in folders
        for path in (checkout / folder).rglob("*")
        if path.is_file()
    }


def test_the_wheel_holds_every_file_of_the_packages_and_nothing_else(distributions):
    checkout, wheel, _ = distributions
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    packed = {name for name in names if ".dist-info/" not in name}
    expected = {
        "orthoedge/" + name.removeprefix("cli/orthoedge/") for name in tree_files(checkout, FOLDERS)
    }
    assert sorted(expected - packed) == [], "in the tree, not in the wheel: see CONTRIBUTING.md"
    assert sorted(packed - expected) == [], "in the wheel, not in the tree"


def test_orthoedge_is_the_only_top_level_name(distributions):
    _, wheel, _ = distributions
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"orthoedge"}


def test_the_wheel_stays_small(distributions):
    _, wheel, _ = distributions
    assert wheel.stat().st_size < WHEEL_LIMIT


def test_the_wheel_brings_the_command_and_the_licences(distributions):
    _, wheel, _ = distributions
    archive = zipfile.ZipFile(wheel)
    info = {n.split("/", 1)[1]: n for n in archive.namelist() if ".dist-info/" in n}
    assert b"orthoedge = orthoedge.cli.main:main" in archive.read(info["entry_points.txt"])
    metadata = message_from_bytes(archive.read(info["METADATA"]))
    assert metadata["License-Expression"] == (
        "Apache-2.0 AND CC-BY-4.0 AND LicenseRef-orthoedge-real-bones"
    )
    files = metadata.get_all("License-File")
    texts = [archive.read(info[f"licenses/{name}"]).decode() for name in files]
    assert len(texts) == 3
    for words in ("Version 2.0, January 2004", "BTXRD: CC BY-NC-ND 4.0)", "- Changes: none."):
        assert sum(words in text for text in texts) == 1, words


def test_the_attribution_names_every_radiograph_of_the_package(distributions):
    _, wheel, _ = distributions
    folder = "orthoedge/runtime/assets/samples/radiographs/"
    archive = zipfile.ZipFile(wheel)
    names = {n.removeprefix(folder) for n in archive.namelist() if n.startswith(folder)}
    text = archive.read(f"{folder}ATTRIBUTION.md").decode()
    assert len(names) == 5
    assert set(re.findall(r"^\| (\S+\.jpg) \|", text, re.MULTILINE)) == names - {"ATTRIBUTION.md"}


def test_the_sdist_holds_the_sources_the_tests_and_what_runs_them(distributions):
    checkout, _, sdist = distributions
    with tarfile.open(sdist) as archive:
        names = {m.name.split("/", 1)[1] for m in archive.getmembers() if m.isfile()}
    needed = tree_files(checkout, (*FOLDERS, "tests"))
    needed |= {"pyproject.toml", "README.md", "LICENSE", "conftest.py", "Makefile"}
    assert sorted(needed - names) == []


@pytest.mark.parametrize("place", ["wheel", pytest.param("tree", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "module",
    [
        "orthoedge",
        *(pytest.param(f"orthoedge.{m}", marks=pytest.mark.slow) for m in ("cli", "cli.main")),
    ],
)
def test_the_command_line_is_a_module_too(place, module, distributions, tmp_path):
    path = ROOT / ".typing"
    if place == "wheel":
        zipfile.ZipFile(distributions[1]).extractall(tmp_path / "installed")
        path = tmp_path / "installed"
    command = [sys.executable, "-P", "-m", module] if sys.version_info >= (3, 11) else None
    if command is None:
        pytest.skip("-P is of Python 3.11")
    for arguments, status in ((["--help"], 0), (["predict", "/nowhere"], 1)):
        done = subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
    assert "/nowhere: no such file" in done.stderr


@pytest.fixture(scope="module")
def without_bundle(distributions, tmp_path_factory):
    """A function that runs Python with the content of a wheel, less the default bundle."""
    installed = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(distributions[1]).extractall(installed)
    shutil.rmtree(installed / "orthoedge" / "runtime" / "assets" / "bundle")

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-P", *map(str, arguments)],
            cwd=installed.parent,
            env={**os.environ, "PYTHONPATH": str(installed)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


PHANTOM_SAMPLE = ROOT / "runtime" / "assets" / "samples" / "phantoms" / "5-wrist-non-affected.png"
NO_BUNDLE = "this installation has no default bundle: pass one, such as --bundle FOLDER or"
needs_safe_path = pytest.mark.skipif(sys.version_info < (3, 11), reason="-P is of Python 3.11")


@needs_safe_path
@pytest.mark.parametrize(
    "words",
    [
        ("predict", PHANTOM_SAMPLE),
        ("predict", PHANTOM_SAMPLE, "--jobs", 2),
        ("verify",),
        ("benchmark", "run", "--quick"),
        ("benchmark", "claims", "baseline"),
    ],
    ids=lambda words: " ".join(map(str, words[::2])),
)
def test_without_the_default_bundle_a_command_says_to_pass_one(without_bundle, words):
    done = without_bundle("-m", "orthoedge", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"orthoedge: {NO_BUNDLE} --bundle phantom\n"


@pytest.mark.slow
@needs_safe_path
def test_without_the_default_bundle_another_one_works(without_bundle, small_bundle):
    for bundle in ("phantom", small_bundle.path):
        done = without_bundle("-m", "orthoedge", "predict", PHANTOM_SAMPLE, "--bundle", bundle)
        assert (done.returncode, done.stderr) == (0, "")
    code = "import sys; from orthoedge.targets import open_pipeline as f; f(*sys.argv[1:])"
    assert without_bundle("-c", code, "phantom").returncode == 0
    done = without_bundle("-c", code)
    assert done.stderr.splitlines()[-1].startswith(
        f"orthoedge.runtime.errors.BundleError: {NO_BUNDLE}"
    )


@needs_safe_path
def test_without_the_default_bundle_doctor_says_that_there_is_none(without_bundle):
    done = without_bundle("-m", "orthoedge", "doctor")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == f"bundle: {NO_BUNDLE} --bundle phantom"
    done = without_bundle("-m", "orthoedge", "doctor", "--bundle", "phantom")
    assert done.returncode == 0
    assert "bundle: orthovision-mobilenetv4_conv_small" in done.stdout
