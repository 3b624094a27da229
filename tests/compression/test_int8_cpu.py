"""A bundle may have a second INT8 file: CPU engines run it, with its own calibration."""

import json

import msgspec
import onnx
import pytest

from orthoedge.cli.main import main
from orthoedge.compression.bundle_writer import write_bundle
from orthoedge.compression.quantization.cpu_form import for_cpus
from orthoedge.compression.quantization.onnx_rules import EXPLAIN
from orthoedge.compression.report.model_card import model_card
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.bundles.bundle import EMBEDDED, PHANTOM, read_bundle
from orthoedge.runtime.bundles.manifest import decode_manifest, encode_manifest, schema_of
from orthoedge.runtime.errors import BundleError
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.targets import (
    EngineOptions,
    check_engine,
    choose_precision,
    open_engine,
    open_model,
    open_pipeline,
    precisions_of,
)

TEMPERATURE = 2.5
"""Of `int8_cpu` alone, so that a finding shows which calibration decided."""


def with_cpu_file(bundle, folder, targets=("x86", "portable")):
    """Write such a bundle at `folder`."""
    replace, manifest, images = msgspec.structs.replace, bundle.manifest, bundle.golden_images()
    models = {key: bundle.model(key) for key in ("fp32", "int8")}
    models["int8_cpu"] = for_cpus(_with_marked_head(models["int8"]), models["fp32"], images)
    golden = {key: bundle.golden_outputs(key) for key in ("fp32", "int8")}
    engine = open_model(models["int8_cpu"], manifest.graph.size, "portable", "int8")
    golden["int8_cpu"] = engine.run(images)
    calibration, tolerance = manifest.calibration, manifest.golden.tolerance
    own = replace(calibration["int8"], temperature=TEMPERATURE)
    manifest = replace(
        manifest,
        schema=schema_of(targets),
        int8_cpu=targets,
        calibration=calibration | {"int8_cpu": own},
        metrics=manifest.metrics | {"int8_cpu": manifest.metrics["int8"]},
        golden=replace(manifest.golden, tolerance=tolerance | {"int8_cpu": tolerance["int8"]}),
    )
    return write_bundle(folder, manifest, models, images, golden, "# Card\n")


def _with_marked_head(model):
    """Name head and map as `export` does, which the small bundle's file lacks."""
    proto = onnx.load_from_string(model)
    for node in proto.graph.node:
        if node.output[0] in ("feature_vector", "logits", "map", "saliency_map"):
            node.name = f"{EXPLAIN}{node.output[0]}"
    return proto.SerializeToString()


@pytest.fixture(scope="module")
def cpu_bundle(small_bundle, tmp_path_factory):
    return with_cpu_file(small_bundle, tmp_path_factory.mktemp("cpu") / "bundle")


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_cpu_engines_run_it_and_the_finding_says_so(cpu_bundle, small_bundle, target):
    pixels = cpu_bundle.golden_images()[0, 0]
    finding = open_pipeline(cpu_bundle, target=target, precision="int8")(pixels)
    assert finding.provenance.precision == "int8"
    assert finding.provenance.model_sha256 == sha256(cpu_bundle.model("int8_cpu"))
    assert finding.thresholds.temperature == TEMPERATURE
    other = open_pipeline(small_bundle, target=target, precision="int8")(pixels)
    assert other.provenance.model_sha256 == sha256(small_bundle.model("int8"))
    assert other.thresholds.temperature == 1.5


@pytest.mark.parametrize("target", ["x86", "portable"])
def test_each_file_is_judged_by_its_own_golden_outputs(cpu_bundle, target):
    """Also the one that the target would not take."""
    size = cpu_bundle.manifest.graph.size
    for key in ("int8", "int8_cpu"):
        engine = open_model(cpu_bundle.model(key), size, target, "int8")
        assert cpu_bundle.manifest.key_of(engine) == key
        assert all(check.passed for check in check_engine(cpu_bundle, engine))
        finding = Pipeline(cpu_bundle, engine)(cpu_bundle.golden_images()[0, 0])
        expected = cpu_bundle.manifest.calibration_for(key).temperature
        assert finding.thresholds.temperature == expected


def test_a_jetson_takes_the_signed_file(cpu_bundle):
    assert cpu_bundle.manifest.key_for("jetson", "int8") == "int8"
    assert precisions_of(cpu_bundle, "jetson") == ("fp32", "int8")


def test_a_file_for_one_target_is_not_run_on_the_other(small_bundle, tmp_path):
    bundle = with_cpu_file(small_bundle, tmp_path / "bundle", ("x86",))
    for target, key in (("x86", "int8_cpu"), ("portable", "int8")):
        engine = open_engine(bundle, target, "int8")
        assert engine.model_sha256 == sha256(bundle.model(key))
    assert choose_precision("portable", bundle)[0] == "fp32"


def test_auto_is_int8_on_portable_where_the_bundle_has_it(cpu_bundle, small_bundle, monkeypatch):
    for flags, expected in (
        ({"avx2", "avx_vnni"}, "int8"),
        ({"avx2", "avx512_vnni"}, "int8"),
        ({"avx2"}, "fp32"),
        (set(), "fp32"),
    ):
        monkeypatch.setattr("orthoedge.targets.cpu.instruction_sets", lambda flags=flags: flags)
        assert choose_precision("portable", cpu_bundle)[0] == expected
        assert open_engine(cpu_bundle, "portable").precision == expected
        assert choose_precision("portable", small_bundle)[0] == "fp32"


def test_a_measured_precision_times_the_file_that_will_run(cpu_bundle, tmp_path, monkeypatch):
    opened = []

    class Engine:
        def __init__(self, model, size, precision, options):
            opened.append(model)

        def run(self, images):
            pass

    monkeypatch.setattr("orthoedge.targets.x86.precision.OpenVinoEngine", Engine)
    choose_precision("x86", cpu_bundle, options=EngineOptions(cache=tmp_path))
    assert opened == [cpu_bundle.model("fp32"), cpu_bundle.model("int8_cpu")]


def test_verify_and_doctor_know_it(cpu_bundle, capsys):
    for target in ("x86", "portable"):
        assert main(["verify", str(cpu_bundle.path), "--target", target]) == 0
    assert main(["doctor", "--bundle", str(cpu_bundle.path)]) == 0
    shown = capsys.readouterr().out
    assert "FAIL" not in shown
    assert "target portable: yes: onnxruntime" in shown


def test_verify_refuses_it_when_it_computes_something_else(small_bundle, tmp_path, capsys):
    bundle = with_cpu_file(small_bundle, tmp_path / "bundle")
    golden = bundle.path / "golden" / "int8_cpu.npz"
    golden.write_bytes((bundle.path / "golden" / "fp32.npz").read_bytes())
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    data = golden.read_bytes()
    manifest["files"]["golden/int8_cpu.npz"] = {"sha256": sha256(data), "bytes": len(data)}
    manifest["golden"]["tolerance"]["int8_cpu"] = dict.fromkeys(
        ("logits", "saliency_map", "feature_vector"), 1e-4
    )
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    (bundle.path / "manifest.sha256").unlink()
    assert main(["verify", str(bundle.path), "--precision", "int8"]) == 1
    assert "FAIL  openvino int8 golden logits" in capsys.readouterr().out
    assert main(["verify", str(bundle.path), "--precision", "fp32"]) == 0


def test_every_file_of_it_is_hashed(small_bundle, tmp_path):
    for name in ("model.int8_cpu.onnx", "golden/int8_cpu.npz"):
        folder = with_cpu_file(small_bundle, tmp_path / name.replace("/", "-")).path
        data = bytearray((folder / name).read_bytes())
        data[len(data) // 2] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(BundleError, match=rf"{name} is not the file"):
            read_bundle(folder)


def test_only_a_bundle_with_it_has_the_schema_that_earlier_versions_refuse(
    cpu_bundle, small_bundle
):
    """They read 3 and 4, and name the schema that they do not know."""
    written = json.loads(encode_manifest(cpu_bundle.manifest))
    assert (written["schema"], written["int8_cpu"]) == (5, ["x86", "portable"])
    before = json.loads(encode_manifest(small_bundle.manifest))
    assert before["schema"] == 4
    assert "int8_cpu" not in before
    assert decode_manifest(encode_manifest(cpu_bundle.manifest)) == cpu_bundle.manifest


FAULTS = {
    "schema 4, expected 5": lambda m: m.update(schema=4),
    "schema 5, expected 4": lambda m: m.pop("int8_cpu"),
    "metrics has no int8_cpu": lambda m: m["metrics"].pop("int8_cpu"),
    "calibration has no int8_cpu": lambda m: m["calibration"].pop("int8_cpu"),
    "golden.tolerance has no int8_cpu": lambda m: m["golden"]["tolerance"].pop("int8_cpu"),
    "calibration has int8_cpu, which no": lambda m: m.update(schema=4, int8_cpu=[]),
    "Invalid enum value 'jetson'": lambda m: m.update(int8_cpu=["jetson"]),
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_manifest_that_contradicts_itself_is_refused(cpu_bundle, message):
    tree = json.loads(encode_manifest(cpu_bundle.manifest))
    FAULTS[message](tree)
    with pytest.raises(BundleError, match=message):
        decode_manifest(json.dumps(tree).encode())


def test_a_signed_bundle_with_it_verifies(small_bundle, tmp_path, capsys):
    pytest.importorskip("cryptography")
    bundle, key = with_cpu_file(small_bundle, tmp_path / "bundle"), tmp_path / "key"
    assert main(["bundle", "keys", str(key)]) == 0
    assert main(["bundle", "sign", str(bundle.path), "--key", str(key)]) == 0
    assert main(["bundle", "verify", str(bundle.path), "--key", f"{key}.pub"]) == 0
    assert "every file matches" in capsys.readouterr().out


def test_the_card_says_which_target_runs_which_file(cpu_bundle, small_bundle):
    card = model_card(cpu_bundle.manifest, [], [])
    assert "`model.int8_cpu.onnx` (x86 and portable)" in card
    assert "| fp32 | int8 | int8_cpu |" in card
    assert "int8_cpu" not in model_card(small_bundle.manifest, [], [])


@pytest.mark.parametrize("place", [EMBEDDED, PHANTOM], ids=["default", "phantom"])
def test_the_bundles_of_the_package_are_complete(place):
    manifest = read_bundle(place).manifest
    assert set(manifest.calibrated) == set(manifest.metrics) == set(manifest.calibration)
    assert msgspec.json.decode(encode_manifest(manifest))["schema"] in (4, 5)
