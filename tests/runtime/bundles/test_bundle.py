"""A bundle is read whole and unchanged, or refused with the file named."""

import io
import json
import os
import shutil
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles import paths
from orthoedge.runtime.bundles.bundle import (
    EMBEDDED,
    PHANTOM,
    bundle_argument,
    bundle_path,
    read_bundle,
)
from orthoedge.runtime.errors import BundleError, IntegrityError


@pytest.fixture
def copy(small_bundle, tmp_path):
    return shutil.copytree(small_bundle.path, tmp_path / "bundle")


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    (folder / "manifest.sha256").unlink(missing_ok=True)


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
        with pytest.raises(IntegrityError, match=r"model\.int8\.onnx .*SHA-256 differs"):
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


def test_no_field_of_the_manifest_but_the_licence_is_optional_and_none_is_unknown(
    copy, small_bundle
):
    names = set(json.loads((copy / "manifest.json").read_text())) - {"licence"}
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
        (
            lambda m: m["metrics"].update(fp16=m["metrics"]["fp32"]),
            "metrics has fp16, which uses the calibration of fp32",
        ),
        (lambda m: m["calibration"]["fp32"].update(temperature=0), "temperature must be above 0"),
        (
            lambda m: m["calibration"]["fp32"]["operating_points"].popitem(),
            "must name every label",
        ),
        (
            lambda m: m["calibration"]["int8"]["out_of_distribution"].update(features=[1.0]),
            "features must hold 8 numbers",
        ),
        (
            lambda m: m["calibration"]["int8"]["out_of_distribution"]["statistics_weights"].pop(),
            "statistics_weights must hold 275 numbers",
        ),
        (
            lambda m: m["calibration"]["int8"]["out_of_distribution"]["statistics_std"].append(0),
            "statistics_std must hold 22 numbers",
        ),
        (
            lambda m: m["calibration"]["int8"]["out_of_distribution"].update(
                statistics_std=[0] * 22
            ),
            "statistics_std must be above 0",
        ),
        (
            lambda m: m["calibration"]["int8"]["out_of_distribution"].update(threshold=0),
            "threshold must be above 0",
        ),
        (
            lambda m: m["calibration"]["fp32"]["out_of_distribution"].update(reject=0.5),
            "reject must be at least 1",
        ),
        (lambda m: m["graph"].update(features=0), "graph.features is 0"),
        (lambda m: m["files"]["MODEL_CARD.md"].update(bytes=-1), "MODEL_CARD.md has -1 bytes"),
        (
            lambda m: m["calibration"]["int8"].update(conformal_quantile=-7),
            "int8: conformal_quantile must be 0 to 1",
        ),
        (
            lambda m: m["calibration"]["fp32"]["operating_points"].update(fracture=1.5),
            "fp32: fracture must be 0 to 1",
        ),
    ],
)
def test_fields_that_contradict_each_other_are_refused(copy, change, message):
    edit_manifest(copy, change)
    with pytest.raises(BundleError, match=message) as raised:
        read_bundle(copy)
    assert str(raised.value).startswith(str(copy))


def test_the_hash_of_a_bundle_covers_every_file(copy, small_bundle):
    records = read_bundle(copy).manifest.files
    on_disk = {p.relative_to(copy).as_posix() for p in copy.rglob("*") if p.is_file()}
    assert set(records) == on_disk - {"manifest.json", "manifest.sha256"}
    for name, record in records.items():
        assert record.sha256 == sha256((copy / name).read_bytes())
    assert small_bundle.sha256 == sha256((copy / "manifest.json").read_bytes())


def replace(folder, name, content):
    """Put another file into a bundle, its hash into the manifest."""
    (folder / name).write_bytes(content)
    record = {"sha256": sha256(content), "bytes": len(content)}
    edit_manifest(folder, lambda m: m["files"].update({name: record}))


def saved(array, **settings):
    buffer = io.BytesIO()
    np.save(buffer, array, **settings)
    return buffer.getvalue()


def test_a_half_precision_model_and_its_tolerance_come_together(copy):
    model = (copy / "model.fp32.onnx").read_bytes()
    replace(copy, "model.fp16.onnx", model)
    with pytest.raises(BundleError, match=r"lists model\.fp16\.onnx, which does not belong"):
        read_bundle(copy)
    limit = {"logits": 0.1, "saliency_map": 0.1, "feature_vector": 0.1}
    edit_manifest(copy, lambda m: m["golden"]["tolerance"].update(fp16=limit))
    assert read_bundle(copy).model("fp16") == model
    (copy / "model.fp16.onnx").unlink()
    edit_manifest(copy, lambda m: m["files"].pop("model.fp16.onnx"))
    with pytest.raises(BundleError, match=r"needs model\.fp16\.onnx, which is missing"):
        read_bundle(copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        saved(np.array([print], object), allow_pickle=True),
        saved(np.zeros((0, 1, 32, 32), np.uint8)),
        saved(np.zeros((4, 1, 32, 32))),
        saved(np.uint8(0)),
    ],
)
def test_golden_images_that_are_something_else_are_refused(copy, content):
    replace(copy, "golden/images.npy", content)
    with pytest.raises(BundleError, match=r"golden/images\.npy"):
        read_bundle(copy).golden_images()


@pytest.mark.parametrize("kind", ["empty", "text", "array", "others", "cut"])
def test_golden_answers_that_are_something_else_are_refused(copy, kind):
    whole = (copy / "golden/int8.npz").read_bytes()
    others = io.BytesIO()
    np.savez(others, logits=np.zeros(3))
    contents = {
        "empty": b"",
        "text": b"text",
        "array": saved(np.zeros(3)),
        "others": others.getvalue(),
        "cut": whole[: len(whole) // 2],
    }
    replace(copy, "golden/int8.npz", contents[kind])
    with pytest.raises(BundleError, match=r"golden/int8\.npz"):
        read_bundle(copy).golden_outputs("int8")


def test_a_member_that_does_not_inflate_is_refused(copy, tmp_path):
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted(copy.rglob("*")):
            file.write(path, path.relative_to(copy))
        offsets = [i.header_offset + 30 + len(i.filename) for i in file.infolist()]
    content = bytearray(archive.read_bytes())
    for offset in offsets:
        content[offset : offset + 2] = b"\xff\xff"  # no deflate block has this type
    archive.write_bytes(content)
    with pytest.raises(IntegrityError, match="cannot be read"):
        read_bundle(archive)


def test_a_pipe_is_no_bundle_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BundleError, match="neither a folder nor"):
        read_bundle(tmp_path / "pipe")


def test_the_manifest_reads_back_as_written(small_bundle):
    data = (small_bundle.path / "manifest.json").read_bytes()
    assert msgspec.json.decode(msgspec.json.encode(small_bundle.manifest)) == json.loads(data)


def test_the_word_phantom_names_the_bundle_in_the_package_and_a_path_never_does():
    assert bundle_path() == EMBEDDED
    assert bundle_path("phantom") == PHANTOM
    assert bundle_path("./phantom") == bundle_path(Path("phantom")) == Path("phantom")
    assert bundle_path("bundles/mine") == Path("bundles/mine")
    for path in (EMBEDDED, PHANTOM, Path("phantom"), Path("bundles/mine")):
        assert bundle_path(bundle_argument(path)) == path


def test_an_installation_without_a_default_bundle_says_what_to_pass(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "EMBEDDED", tmp_path / "left out")
    with pytest.raises(BundleError, match="no default bundle: pass one, such as --bundle FOLDER"):
        bundle_path()
    assert bundle_path("phantom") == PHANTOM


def test_a_bundle_without_its_models_keeps_everything_else(small_bundle):
    light = small_bundle.without_models()
    left_out = set(small_bundle.files) - set(light.files)
    assert left_out == {f"model.{name}.onnx" for name in small_bundle.manifest.golden.tolerance}
    assert np.array_equal(light.golden_images(), small_bundle.golden_images())
    with pytest.raises(BundleError, match=r"holds no model\.fp32"):
        light.model("fp32")


def test_a_bundle_of_before_states_no_licence(copy):
    edit_manifest(copy, lambda m: m.pop("licence", None))
    assert read_bundle(copy).manifest.licences == "licence: not stated; training data: none"


def test_a_licence_is_listed_and_hashed_as_every_file(copy):
    text = b"Research only\nNo warranty.\n"
    (copy / "LICENSE").write_bytes(text)
    with pytest.raises(BundleError, match="found LICENSE, which does not belong"):
        read_bundle(copy)
    record = {"sha256": sha256(text), "bytes": len(text)}
    edit_manifest(copy, lambda m: m["files"].update(LICENSE=record) or m.update(licence="Mine"))
    bundle = read_bundle(copy)
    assert bundle.files["LICENSE"] == text
    assert bundle.manifest.licences.startswith("licence: Mine;")
    (copy / "LICENSE").write_bytes(text.swapcase())
    with pytest.raises(IntegrityError, match="LICENSE is not the file"):
        read_bundle(copy)
    (copy / "LICENSE").unlink()
    with pytest.raises(BundleError, match="LICENSE, which is missing"):
        read_bundle(copy)
