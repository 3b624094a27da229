"""`verify` fails, with a clear line, on whatever is not as it was."""

import io
import json
import shutil
from functools import partial

import numpy as np
import pytest

from orthoedge.benchmarks import device_record
from orthoedge.cli.main import main
from orthoedge.runtime.atomic_files import sha256


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


def edit_manifest(folder, change):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    (folder / "manifest.sha256").unlink(missing_ok=True)


def failures(bundle, capsys):
    assert main(["verify", str(bundle)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("FAIL")]
    assert lines
    return lines


def test_an_untouched_bundle_passes(bundle, capsys):
    assert main(["verify", str(bundle)]) == 0
    terms = "note: licence: Apache-2.0; training data: rendered by orthoedge, Apache-2.0\n"
    assert terms in capsys.readouterr().out


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("tensor", ["logits", "saliency_map"])
def test_a_golden_answer_changed_by_5_percent_fails(bundle, capsys, precision, tensor):
    name = f"golden/{precision}.npz"
    with np.load(bundle / name) as arrays:
        changed = {key: arrays[key] * 1.05 if key == tensor else arrays[key] for key in arrays}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **changed)
    (bundle / name).write_bytes(buffer.getvalue())
    (line,) = failures(bundle, capsys)
    assert name in line


def test_it_fails_even_where_the_hash_was_made_to_match(bundle, capsys):
    name = "golden/fp32.npz"
    with np.load(bundle / name) as arrays:
        changed = {key: arrays[key] * 1.05 for key in arrays if key != "labels"}
        changed["labels"] = arrays["labels"]
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **changed)
    content = buffer.getvalue()
    (bundle / name).write_bytes(content)
    record = {"sha256": sha256(content), "bytes": len(content)}
    edit_manifest(bundle, lambda m: m["files"].update({name: record}))
    lines = failures(bundle, capsys)
    assert any("golden logits" in line for line in lines)
    assert any("golden saliency_map" in line for line in lines)


def test_a_removed_label_fails(bundle, capsys):
    edit_manifest(bundle, lambda m: m["labels"].pop())
    (line,) = failures(bundle, capsys)
    assert "3 labels for a graph of 4 classes" in line


@pytest.mark.parametrize("model", ["model.fp32.onnx", "model.int8.onnx"])
def test_one_flipped_byte_of_a_model_fails(bundle, capsys, model):
    content = bytearray((bundle / model).read_bytes())
    content[len(content) // 3] ^= 0xFF
    (bundle / model).write_bytes(content)
    (line,) = failures(bundle, capsys)
    assert model in line


def test_labels_in_another_order_fail(bundle, capsys):
    """The hashes cannot see it, and every answer would carry a wrong name."""
    edit_manifest(bundle, lambda m: m["labels"].reverse())
    (line,) = failures(bundle, capsys)
    assert "labels tumor-malignant, tumor-benign" in line


def test_a_model_of_the_wrong_precision_fails(bundle, capsys):
    content = (bundle / "model.fp32.onnx").read_bytes()
    name = "model.int8_cpu.onnx"  # which x86 runs
    (bundle / name).write_bytes(content)
    record = {"sha256": sha256(content), "bytes": len(content)}
    edit_manifest(bundle, lambda m: m["files"].update({name: record}))
    (line,) = failures(bundle, capsys)
    assert "without integer kernels" in line


def test_accuracy_on_labelled_images_is_held_against_the_manifest(bundle, phantoms, capsys):
    assert main(["verify", str(bundle), "--data", str(phantoms)]) == 0
    assert "accuracy" in capsys.readouterr().out

    def boast(manifest):
        for part in manifest["metrics"].values():
            part["accuracy"] = 1.0

    edit_manifest(bundle, boast)
    assert main(["verify", str(bundle), "--data", str(phantoms)]) == 1
    assert "FAIL  openvino int8 accuracy" in capsys.readouterr().out


def test_images_of_another_class_are_refused_by_name(bundle, tmp_path, capsys):
    (tmp_path / "data" / "arthritis").mkdir(parents=True)
    (tmp_path / "data" / "arthritis" / "a.png").write_bytes(b"x")
    assert main(["verify", str(bundle), "--data", str(tmp_path / "data")]) == 2
    assert "label arthritis is not one of the bundle's" in capsys.readouterr().err


def test_a_record_is_written_beside_the_same_checks(small_bundle, tmp_path, capsys, monkeypatch):
    quick = partial(device_record.make_record, _calls=5, _seconds=0)
    monkeypatch.setattr(device_record, "make_record", quick)
    given = ["verify", str(small_bundle.path), "--target", "portable"]
    assert main(given) == 0
    checks = [x for x in capsys.readouterr().out.splitlines() if x.startswith("pass")]
    file = tmp_path / "record.json"
    assert main([*given, "--record", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("pass")] == checks
    assert lines[-1] == f"record: {file}"
    written = json.loads(file.read_text())
    assert written["passed"] is True
    assert [ran["precision"] for ran in written["ran"]] == ["fp32", "int8"]


def test_a_record_and_labelled_images_are_asked_for_one_at_a_time(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", "--record", "r.json", "--data", "d"])
    assert ended.value.code == 2
    assert "not allowed with" in capsys.readouterr().err


def test_what_was_compiled_is_kept_where_it_is_asked_for(small_bundle, tmp_path):
    assert main(["verify", str(small_bundle.path), "--cache", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("*.openvino"))) == 2
