"""Damaged bundles, and the error message of the C++ example for each."""

import hashlib
import json
import shutil
from copy import deepcopy

import numpy as np

from orthoedge.compression.quantization.cpu_form import for_cpus
from orthoedge.runtime.bundles.bundle import PHANTOM
from orthoedge.runtime.bundles.manifest import decode_manifest, encode_manifest
from orthoedge.targets import open_model


def changed_bundle(tmp_path, change):
    """Copy the phantom bundle and apply `change` to its manifest.

    `change` edits the decoded manifest in place, or returns the text to write in its place.
    """
    copy = tmp_path / "bundle"
    shutil.copytree(PHANTOM, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    text = change(copy, manifest) or json.dumps(manifest)
    (copy / "manifest.json").write_text(text)
    (copy / "manifest.sha256").unlink()
    return copy


def record(copy, manifest, name):
    """Update the size and hash of a file in the manifest, so that only its content is wrong."""
    data = (copy / name).read_bytes()
    manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}


def flip(copy, manifest):
    data = bytearray((copy / "model.int8.onnx").read_bytes())
    data[len(data) // 2] ^= 1
    (copy / "model.int8.onnx").write_bytes(data)


def swap_models(copy, manifest):
    shutil.copy(copy / "model.fp32.onnx", copy / "model.int8.onnx")
    record(copy, manifest, "model.int8.onnx")


def move_golden(copy, manifest):
    arrays = dict(np.load(copy / "golden" / "int8.npz"))
    np.savez_compressed(copy / "golden" / "int8.npz", **{**arrays, "logits": arrays["logits"] + 1})
    record(copy, manifest, "golden/int8.npz")


def swap_labels(copy, manifest):
    manifest["labels"][:2] = manifest["labels"][1::-1]


def no_temperature(copy, manifest):
    del manifest["calibration"]["int8"]["temperature"]


def other_schema(copy, manifest):
    manifest["schema"] = 6


def put(place, value):
    """Return a change that sets one field of the manifest; `place` is its path."""

    def change(copy, manifest):
        for name in place[:-1]:
            manifest = manifest[name]
        manifest[place[-1]] = value

    change.__name__ = ".".join(place)
    return change


def edit(name, edit_text):
    """Return a change of the manifest's text, for what `json.dumps` cannot write."""

    def change(copy, manifest):
        return edit_text(json.dumps(manifest))

    change.__name__ = name
    return change


def upgrade(copy, manifest):
    """Rewrite the manifest in the current schema."""
    current = encode_manifest(decode_manifest(json.dumps(manifest).encode()))
    manifest.clear()
    manifest.update(json.loads(current))


def add_cpu_file(copy, manifest):
    """Add an INT8 file for CPU engines, with a temperature of its own."""
    upgrade(copy, manifest)
    fp32, int8 = ((copy / f"model.{name}.onnx").read_bytes() for name in ("fp32", "int8"))
    images, labels = np.load(copy / "golden" / "images.npy"), np.array(manifest["labels"])
    model = for_cpus(int8, fp32, images)
    (copy / "model.int8_cpu.onnx").write_bytes(model)
    outputs = open_model(model, manifest["graph"]["size"], "portable", "int8").run(images)
    np.savez(copy / "golden" / "int8_cpu.npz", labels=labels, **outputs.tensors())
    for name in ("model.int8_cpu.onnx", "golden/int8_cpu.npz"):
        record(copy, manifest, name)
    manifest |= {"schema": 5, "int8_cpu": ["x86", "portable"]}
    for table in (manifest["calibration"], manifest["metrics"], manifest["golden"]["tolerance"]):
        table["int8_cpu"] = deepcopy(table["int8"])
    manifest["calibration"]["int8_cpu"]["temperature"] *= 1.1


INT8 = ("calibration", "int8")
SCORE = (*INT8, "out_of_distribution")


def garbage(copy, manifest):
    (copy / "model.int8.onnx").write_bytes(b"garbage")
    record(copy, manifest, "model.int8.onnx")


DAMAGES = [
    (flip, "model.int8.onnx is not the file the manifest describes (SHA-256 differs)"),
    (swap_models, "without integer kernels: model.int8.onnx contains no quantized layers"),
    (move_golden, "golden outputs are not reproduced: logits off by"),
    (swap_labels, "the manifest's labels are not those of the golden outputs"),
    (no_temperature, "manifest.json: calibration.int8.temperature is missing"),
    (other_schema, "schema 6, this program reads 3 to 5"),
    (garbage, "openvino refused the model"),
    (put(("labels",), ["a", "a", "b", "c"]), "labels are not two or more distinct names"),
    (put(("labels",), ["a", "b", "c"]), "labels and graph.classes differ"),
    (put(("alert_labels",), ["else"]), "alert_labels: else is not a label"),
    (put(("preprocess", "size"), 225), "preprocess.size and graph.size differ"),
    (put(("graph", "features"), 0), "graph.features is not 1 or more"),
    (put(("metrics",), {"int8": {}}), "metrics.fp32 is missing"),
    (put((*INT8, "operating_points"), {"a": 0.5}), "does not name every label"),
    (put((*INT8, "operating_points", "fracture"), 1.5), "fracture is not 0 to 1"),
    (put((*INT8, "conformal_coverage"), 1.5), "conformal_coverage is not 0 to 1"),
    (put((*INT8, "conformal_quantile"), -0.5), "conformal_quantile is not 0 to 1"),
    # The calibration of the precision that does not run is checked too.
    (put(("calibration", "fp32", "temperature"), 0), "temperature is not above 0"),
    (put((*SCORE, "features"), [0.5]), "features does not hold"),
    (put((*SCORE, "look_centre"), [0.5]), "statistics_mean does not hold 22 numbers"),
    (put((*SCORE, "look_terms"), [0.5] * 22), "statistics_weights does not hold 275 numbers"),
    (put((*SCORE, "look_spread"), [0.5] * 21 + [0]), "statistics_std is not above 0"),
    (put((*SCORE, "threshold"), 0), "threshold is not above 0"),
    (put((*SCORE, "reject"), 0.5), "reject is not 1 or more"),
    (put(("name",), 1), "manifest.json: name is not a string"),
    (put(("preprocess",), []), "preprocess is not an object"),
    (put(("labels",), "a"), "labels is not an array"),
    (put(("graph", "size"), 224.5), "graph.size is not a whole number"),
    (put((*INT8, "temperature"), True), "calibration.int8.temperature is not a number"),
    (put((*INT8, "temperature"), float("nan")), "parse error at line 1"),
    (edit("infinite", lambda text: text.replace(": 2.0", ": 1e400", 1)), "out_of_range"),
    (
        edit("duplicate", lambda text: text.replace("{", '{"schema": 3, ', 1)),
        "schema is duplicated",
    ),
    (edit("trailing", lambda text: text + "}"), "expected end of input"),
    (edit("nul", lambda text: text + "\0}"), "not JSON: a NUL byte"),
    (edit("deep", lambda text: "[" * 1_000_000), "nested more than 32 levels deep"),
]
