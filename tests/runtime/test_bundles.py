"""A bundle is read whole and unchanged, or refused with the file named."""

import json
import shutil
import zipfile

import msgspec
import numpy as np
import pytest

from orthoedge.runtime.bundles import read_bundle
from orthoedge.runtime.errors import BundleError, IntegrityError
from orthoedge.runtime.files import sha256


@pytest.fixture
def copy(small_bundle, tmp_path):
    return shutil.copytree(small_bundle.path, tmp_path / "bundle")


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def test_a_zip_reads_as_the_folder_does(copy, tmp_path):
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(copy.rglob("*")):
            file.write(path, path.relative_to(copy))
    zipped, folder = read_bundle(archive), read_bundle(copy)
    assert zipped.sha256 == folder.sha256
    assert zipped.files == folder.files


@pytest.mark.parametrize(
    "name", ["model.fp32.onnx", "model.int8.onnx", "golden/images.npy", "MODEL_CARD.md"]
)
def test_one_flipped_bit_is_refused_with_the_file_named(copy, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        read_bundle(copy)


def test_a_truncated_and_a_grown_file_are_refused(copy):
    path = copy / "model.int8.onnx"
    content = path.read_bytes()
    for changed in (content[:-1], content + b"x"):
        path.write_bytes(changed)
        with pytest.raises(IntegrityError, match=r"model\.int8\.onnx"):
            read_bundle(copy)


def test_a_missing_and_an_extra_file_are_refused(copy):
    (copy / "extra.txt").write_text("x")
    with pytest.raises(BundleError, match=r"found extra\.txt"):
        read_bundle(copy)
    (copy / "extra.txt").unlink()
    (copy / "MODEL_CARD.md").unlink()
    with pytest.raises(BundleError, match=r"MODEL_CARD\.md, which is missing"):
        read_bundle(copy)


def test_no_bundle_no_manifest_and_no_archive_are_told_apart(tmp_path):
    with pytest.raises(BundleError, match="no such bundle"):
        read_bundle(tmp_path / "absent")
    with pytest.raises(BundleError, match=r"manifest\.json is missing"):
        read_bundle(tmp_path)
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(BundleError, match=r"neither a folder nor a \.zip"):
        read_bundle(tmp_path / "text.zip")


def test_no_field_of_the_manifest_is_optional_and_none_is_unknown(copy, small_bundle):
    names = set(json.loads((copy / "manifest.json").read_text()))
    for name in names:
        shutil.copy(small_bundle.path / "manifest.json", copy / "manifest.json")
        edit_manifest(copy, lambda m, name=name: m.pop(name))
        with pytest.raises(BundleError, match=f"missing required field `{name}`"):
            read_bundle(copy)
    shutil.copy(small_bundle.path / "manifest.json", copy / "manifest.json")
    edit_manifest(copy, lambda m: m.update(surprise=1))
    with pytest.raises(BundleError, match="unknown field `surprise`"):
        read_bundle(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["labels"].pop(), "2 labels for a graph of 3 classes"),
        (lambda m: m.update(schema=99), "schema 99"),
        (lambda m: m["labels"].__setitem__(0, m["labels"][1]), "distinct"),
        (lambda m: m.update(alert_labels=["ghost"]), "alert_labels"),
        (lambda m: m["preprocess"].update(size=64), "differs from graph.size"),
        (lambda m: m["preprocess"].update(size=1), "expected 32 to 1024"),
        (lambda m: m["calibration"].pop("int8"), "calibration has no int8"),
        (lambda m: m["calibration"]["fp32"].update(temperature=0), "temperature must be above 0"),
        (
            lambda m: m["calibration"]["fp32"]["operating_points"].popitem(),
            "must name every label",
        ),
        (
            lambda m: m["calibration"]["int8"]["out_of_distribution"]["mean"].pop(),
            "needs 8 means and deviations",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(copy, change, message):
    edit_manifest(copy, change)
    with pytest.raises(BundleError, match=message):
        read_bundle(copy)


def test_the_hash_of_a_bundle_covers_every_file(copy, small_bundle):
    records = read_bundle(copy).manifest.files
    on_disk = {p.relative_to(copy).as_posix() for p in copy.rglob("*") if p.is_file()}
    assert set(records) == on_disk - {"manifest.json"}
    for name, record in records.items():
        assert record.sha256 == sha256((copy / name).read_bytes())
    assert small_bundle.sha256 == sha256((copy / "manifest.json").read_bytes())


def test_golden_answers_hold_no_pickle(copy):
    np.save(copy / "golden/images.npy", np.array([print], object), allow_pickle=True)
    content = (copy / "golden/images.npy").read_bytes()
    edit_manifest(
        copy,
        lambda m: m["files"].update(
            {"golden/images.npy": {"sha256": sha256(content), "bytes": len(content)}}
        ),
    )
    bundle = read_bundle(copy)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        bundle.golden_images()


def test_the_manifest_reads_back_as_written(small_bundle):
    data = (small_bundle.path / "manifest.json").read_bytes()
    assert msgspec.json.decode(msgspec.json.encode(small_bundle.manifest)) == json.loads(data)
