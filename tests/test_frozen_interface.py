"""What users build on stays what it was: commands, file formats, public names, and findings.

tests/golden/frozen/ was recorded before the redesign. `python tests/test_frozen_interface.py`
records it again; do so only in a change that says what moved and still reads the old form.

Changed since: in recipes `split.by = "group"|"centre"` is `"patient"|"site"`, `split.test_centres`
is `test_sites`, and `compress.calibration_images`, `retreat_layers` and `tune_epochs` are
`quantization_images`, `float_layers` and `qat_epochs`. tests/training/test_old_formats.py reads
files of the old form.

manifest.json of schema 4 and recipes say `collimated_field` for `field`, and the
manifest says `statistics_mean`, `statistics_std` and `statistics_weights` for `look_centre`,
`look_spread` and `look_terms`. old/manifest-schema-3.json keeps the fields of schema 3, which
tests/runtime/bundles/test_schema_3.py reads; tests/training/test_recipe.py reads old recipes.

Added since: `--min-version` of predict, verify and bundle verify (`--oldest` stays, hidden), and
`compress --student`, which was an abbreviation.

Since then `benchmark` has the actions run, compare, claims and training in place of --compare,
--ratios and --training; --baseline and --external are the former --seeds and --peer, and
--cpu-quota has gone. The former options are still understood, see tests/cli/commands/benchmark.
The benchmark's report has schema orthoedge-benchmark-2; old/benchmark-report-1.json is still read.
ratios.json is no longer written: its figures are in the report.

In recipes, `max_net_flips` of a gate takes the place of `min_teacher_agreement`, which failed a
student for being better than its teacher; old files are read, without that limit. A compression's
report.json has added fields, all with defaults: a check's `setting` and `interval`, a stage's
`flips`, and the margins within which an engine's decision was near its threshold.

Recipes have the settings of `orthoedge.training.recipe.ADDED_KEYS`; files without them are read,
and nothing changes by them. `split.by` can be "source". evaluation.json has schema 2: the scores
within each collection and the audit of the network are added, with defaults. A line of log.csv has
`val_auc`, and a file of weights its repository and revision. `train` has --leave-out.

A gate has `max_auc_drop` and `max_alert_sensitivity_drop`; 1 where a recipe lacks them. `data` has
the action parts. An index has the columns age and sex, which may be absent.

manifest.json has `licence`, with a default, and a bundle may hold a LICENSE, which `compress
--licence` writes. The default bundle is no longer the phantom demonstration: the findings are those
of the latter, which is now `--bundle phantom`.

`node` is added, with the actions serve, check, status and selftest, and `watch`.

`archive` is added, with the actions run and report, and the formats of its store.

A recipe may have a table `segmentation`; None where there is none. A run of that stage has metrics
and an evaluation of its own. The columns of a classifier's log.csv have another order.

A finding has `reason_ids` next to `reasons`, which are the same sentences. The recorded findings
were given them by hand; nothing else of them moved. `report` is added.

A network may have the output `lesion_mask`: in manifest.json `graph.mask_height` and `mask_width`,
a tolerance's `lesion_mask` and the metrics' `dice` are absent without it. A recipe has a table
`mask`, and a gate `max_dice_drop`, both in ADDED_KEYS. `train` takes a finished run in the place of
RECIPE, and --mask-teacher. A finding has `lesions` where its bundle outlines them.
`clinic` is added, with the actions backup, restore, check, export and account.
`node selftest` has --count.
In a compression's report.json a candidate has `auc`, with a default.
`doctor` has --warm, --cache and --threads. `report` has --history.

A recipe has `output_stride` and a table `region`, both in ADDED_KEYS, and `train` has --outlines.
In manifest.json `graph.region_size` is absent where it is 0. evaluation.json has `mask_pointing`
within each collection, with a default, and of a rule that combines branches `auc` and `auc_gain`.

A bundle may have model.int8_cpu.onnx: manifest.json then has schema 5, `int8_cpu`, and that key in
`calibration`, `metrics` and the tolerances; all else stays schema 4. A provenance has
`model_sha256`, which the recorded findings were given by hand. A compression's report.json has
`cpu_targets`, `cpu_engine_consistency` and `cpu_gate`, with defaults.
A finding's provenance, and the column of an archive's store, may have `preprocessing`.
"""

import argparse
import hashlib
import importlib
import json
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FROZEN = ROOT / "tests" / "golden" / "frozen"

FORMATS = {
    "manifest.json": "orthoedge.runtime.bundles.manifest.Manifest",
    "signature.json": "orthoedge.runtime.bundles.signature._Signature",
    "recipe": "orthoedge.training.recipe.Recipe",
    "run report.json": "orthoedge.training.run_folder.RunInfo",
    "run metrics.json": "orthoedge.training.run_folder.TrainingMetrics",
    "run shortcuts.json": "orthoedge.training.data_quality.shortcut_audit.ShortcutAudit",
    "evaluation.json": "orthoedge.training.evaluation.schema.EvaluationReport",
    "segmentation metrics.json": "orthoedge.training.segmentation.schema.SegmentationMetrics",
    "segmentation evaluation.json": "orthoedge.training.segmentation.schema.SegmentationReport",
    "comparison.json": "orthoedge.training.comparison_report.Comparison",
    "compression report.json": "orthoedge.compression.report.schema.CompressionReport",
    "benchmark report.json": "orthoedge.benchmarks.schema.Report",
    "archive run.json": "orthoedge.clinic.archive.rows.RunRecord",
    "archive row": "orthoedge.clinic.archive.rows.ArchiveRow",
    "device record": "orthoedge.benchmarks.device_record_schema.Record",
}
"""Files that a user keeps, and the structure that reads and writes each."""

MODULES = {
    "orthoedge.targets": "orthoedge.targets",
    "orthoedge.targets.parity": "orthoedge.targets.verification",
    "orthoedge.runtime.errors": "orthoedge.runtime.errors",
    "orthoedge.runtime.render": "orthoedge.runtime.overlay.overlay",
    "orthoedge.runtime.seal": "orthoedge.runtime.bundles.signature",
    "orthoedge.runtime.isolation": "orthoedge.runtime.image_io.sandbox",
    "orthoedge.runtime.engine": "orthoedge.runtime.engine",
    "orthoedge.runtime.bundles": "orthoedge.runtime.bundles.bundle",
    "orthoedge.runtime.finding": "orthoedge.runtime.finding",
    "orthoedge.runtime.intake": "orthoedge.runtime.image_io.reader",
    "orthoedge.runtime.pipeline": "orthoedge.runtime.pipeline",
}
"""Modules that README and docs imported from, and where each is now."""

RENAMED = {
    "Isolation": "SandboxLimits",
    "IsolatedReader": "SandboxedReader",
    "heated": "draw_heat_map",
    "SPARSE": "read_image",  # a constant that was never meant to be imported
}
"""Names that changed, and what replaces each."""

RUNS = (("x86", "int8"), ("x86", "fp32"), ("portable", "fp32"), ("portable", "int8"))


def recorded(name):
    return json.loads((FROZEN / f"{name}.json").read_text())


# Commands: what can be typed; the words of a help text are free.


def commands():
    from orthoedge.cli.main import VERBS

    record = {}
    for verb in VERBS:
        parser = argparse.ArgumentParser(prog=verb)
        importlib.import_module(f"orthoedge.cli.commands.{verb}").add_arguments(parser)
        record[verb] = arguments(parser)
    return record


def arguments(parser):
    record = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, subparser in action.choices.items():
                record[name] = arguments(subparser)
        elif action.dest != "help":
            name = " ".join(action.option_strings) or action.dest
            choices = list(action.choices) if action.choices else None
            default = None if action.default is None else str(action.default)
            record[name] = [action.nargs, default, choices, action.required]
    return record


# Formats: fields, their types, and which are required; without descriptions.


def formats():
    return {name: schema_of(find(path)) for name, path in FORMATS.items()}


def find(path):
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def schema_of(kind):
    """JSON schema with every reference written out, so that names of classes do not count."""
    schema = msgspec.json.schema(kind)
    definitions = schema.pop("$defs", {})

    def plain(node):
        if isinstance(node, list):
            return [plain(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            return plain(definitions[node["$ref"].removeprefix("#/$defs/")])
        kept = {k: plain(v) for k, v in node.items() if k not in ("title", "description")}
        if "properties" in node:  # fields may be called title or description
            kept["properties"] = {k: plain(v) for k, v in node["properties"].items()}
        return kept

    return plain(schema)


# Names.


def missing_names():
    """Names that README and docs could import, and that are no longer where `MODULES` says."""
    return [
        f"{MODULES[old]}: {name}"
        for old, public in recorded("names").items()
        for name in public
        if not hasattr(importlib.import_module(MODULES[old]), RENAMED.get(name, name))
    ]


# Findings: the phantom bundle on its samples and its golden images.


def findings(target, precision):
    """What ran, and for each input everything but times and the place of the package."""
    from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
    from orthoedge.targets import EngineOptions, open_pipeline
    from orthoedge.targets.cpu import instruction_sets

    options = EngineOptions(threads=1)
    pipeline = open_pipeline("phantom", target=target, precision=precision, engine=options)
    golden = pipeline.bundle.golden_images()[:, 0]
    sources = {path.name: path for path in sorted(PHANTOM_SAMPLES.glob("*.png"))}
    sources |= {f"golden {number}": image for number, image in enumerate(golden)}
    record = {}
    for name, source in sources.items():
        finding = pipeline(source)
        exact = hashlib.sha256(np.ascontiguousarray(finding.saliency_map).tobytes()).hexdigest()
        shown = json.loads(finding.to_json())
        del shown["timing_ms"], shown["saliency_map"]
        record[name] = {"map_sha256": exact, "map_sum": float(finding.saliency_map.sum()), **shown}
    ran = {"isa": pipeline.engine.isa, "version": pipeline.engine.version}
    if target == "portable":  # does not report which kernels it chose; they are the processor's
        flags = instruction_sets()
        ran["processor"] = next((f for f in ("avx512f", "avx2") if f in flags), "another")
    return {"ran": ran, "findings": record}


def close(left, right, tolerance):
    """Equal but for floats, which may differ by the tolerance; hashes of maps are left out."""
    if isinstance(left, dict):
        keys = set(left) - {"map_sha256", "provenance"}
        assert keys == set(right) - {"map_sha256", "provenance"}
        for key in keys:
            close(left[key], right[key], tolerance)
    elif isinstance(left, list):
        assert len(left) == len(right)
        for a, b in zip(left, right, strict=True):
            close(a, b, tolerance)
    elif isinstance(left, float):
        assert left == pytest.approx(right, rel=tolerance, abs=tolerance)
    else:
        assert left == right


def test_commands_take_what_they_took():
    assert commands() == recorded("commands")


def test_files_have_the_fields_they_had():
    now = json.loads(json.dumps(formats()))  # a default that is a tuple becomes a list
    assert now == recorded("formats")


def test_public_names_are_there():
    assert missing_names() == []


@pytest.mark.parametrize(("target", "precision"), RUNS)
def test_findings_of_the_phantom_bundle_are_the_same_to_the_bit(target, precision):
    pytest.importorskip({"x86": "openvino", "portable": "onnxruntime"}[target])
    before, now = recorded(f"findings-{target}-{precision}"), findings(target, precision)
    if now["ran"] == before["ran"]:
        assert now["findings"] == before["findings"]
        return
    # Kernels of another engine or instruction set round otherwise, INT8 by whole codes.
    tolerance = 1e-3 if precision == "fp32" else 0.05
    thresholds = probability_thresholds(precision)
    for name, finding in now["findings"].items():
        recorded_one = before["findings"][name]
        if finding["decision"] != recorded_one["decision"]:
            values = recorded_one["probabilities"].values()
            assert any(abs(p - limit) < tolerance for p in values for limit in thresholds), name
            for key in ("decision", "label_set", "reasons", "reason_ids"):
                finding[key] = recorded_one[key]
    close(now["findings"], before["findings"], tolerance)


def probability_thresholds(precision):
    from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle

    calibration = read_bundle(PHANTOM).manifest.calibration_for(precision)
    return (1 - calibration.conformal_quantile, *calibration.operating_points.values())


def record():
    FROZEN.mkdir(parents=True, exist_ok=True)
    parts = {"commands": commands(), "formats": formats()}
    parts |= {f"findings-{t}-{p}": findings(t, p) for t, p in RUNS}
    for name, part in parts.items():
        text = json.dumps(part, indent=1, sort_keys=name != "formats") + "\n"
        (FROZEN / f"{name}.json").write_text(text)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / ".typing"))
    record()
