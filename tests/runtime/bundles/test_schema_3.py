"""Manifests of schema 3 are read as schema 4, whose names they lack; the phantom bundle is such."""

import copy
import json
from importlib.metadata import version
from pathlib import Path

import msgspec
import pytest
from packaging.version import Version

from orthoedge.runtime.bundles.bundle import PHANTOM
from orthoedge.runtime.bundles.manifest import Manifest, decode_manifest, encode_manifest
from orthoedge.runtime.errors import BundleError
from tests.test_frozen_interface import schema_of

OLD = Path(__file__).parents[2] / "golden" / "frozen" / "old" / "manifest-schema-3.json"
RENAMED = {
    "field": "collimated_field",
    "look_centre": "statistics_mean",
    "look_spread": "statistics_std",
    "look_terms": "statistics_weights",
}


def phantom_manifest():
    return json.loads((PHANTOM / "manifest.json").read_text())


def encoded(tree):
    return json.dumps(tree).encode()


def renamed(node):
    if isinstance(node, dict):
        return {RENAMED.get(key, key): renamed(value) for key, value in node.items()}
    if isinstance(node, list):
        return [
            RENAMED.get(item, item) if isinstance(item, str) else renamed(item) for item in node
        ]
    return node


@pytest.mark.skipif(
    Version(version("msgspec")) < Version("0.23"), reason="it describes the keys of mappings since"
)
def test_the_two_schemas_differ_in_four_names():
    current = schema_of(Manifest)
    del current["properties"]["licence"]  # these are added since, and read where they are
    del current["properties"]["int8_cpu"]
    for table in (
        current["properties"]["calibration"],
        current["properties"]["metrics"],
        current["properties"]["golden"]["properties"]["tolerance"],
    ):
        table["propertyNames"]["enum"].remove("int8_cpu")
    graph, golden = (current["properties"][name]["properties"] for name in ("graph", "golden"))
    del graph["mask_height"], graph["mask_width"], graph["region_size"]
    del golden["tolerance"]["additionalProperties"]["properties"]["lesion_mask"]
    of_teacher = current["properties"]["lineage"]["properties"]["teacher_metrics"]
    for metrics in (current["properties"]["metrics"]["additionalProperties"], of_teacher):
        del metrics["properties"]["dice"]
    assert renamed(json.loads(OLD.read_text())) == current


def test_the_manifest_of_the_phantom_bundle_decodes_to_the_same_values():
    tree = phantom_manifest()
    assert tree["schema"] == 3
    manifest = decode_manifest(encoded(tree))
    assert msgspec.to_builtins(manifest) == msgspec.to_builtins(
        msgspec.convert(renamed(tree) | {"schema": 4}, Manifest)
    )
    score = tree["calibration"]["int8"]["out_of_distribution"]
    assert manifest.preprocess.collimated_field == tree["preprocess"]["field"]
    read = manifest.calibration["int8"].out_of_distribution
    assert read.statistics_mean == tuple(score["look_centre"])
    assert read.statistics_std == tuple(score["look_spread"])
    assert read.statistics_weights == tuple(score["look_terms"])


def test_a_manifest_is_written_in_schema_4():
    manifest = decode_manifest(encoded(phantom_manifest()))
    written = encode_manifest(manifest)
    assert json.loads(written) == renamed(phantom_manifest()) | {"schema": 4}
    assert decode_manifest(written) == manifest


def in_preprocess(tree):
    return tree["preprocess"]


def in_score(tree):
    return tree["calibration"]["fp32"]["out_of_distribution"]


PLACES = [(in_preprocess, "field"), *((in_score, name) for name in list(RENAMED)[1:])]


@pytest.mark.parametrize(("place", "old"), PLACES)
@pytest.mark.parametrize("keep_both", [False, True])
def test_each_schema_refuses_the_names_of_the_other(place, old, keep_both):
    of_schema_3 = phantom_manifest()
    of_schema_4 = json.loads(encode_manifest(decode_manifest(encoded(of_schema_3))))
    for tree, own, other in ((of_schema_3, old, RENAMED[old]), (of_schema_4, RENAMED[old], old)):
        changed = copy.deepcopy(tree)
        table = place(changed)
        table[other] = table[own] if keep_both else table.pop(own)
        with pytest.raises(BundleError, match=other):
            decode_manifest(encoded(changed))


@pytest.mark.parametrize("schema", [3, 4])
@pytest.mark.parametrize("place", [lambda tree: tree, in_preprocess, in_score])
def test_an_unknown_or_missing_field_is_refused_in_both_schemas(schema, place):
    tree = phantom_manifest()
    if schema == 4:
        tree = json.loads(encode_manifest(decode_manifest(encoded(tree))))
    unknown, missing = copy.deepcopy(tree), copy.deepcopy(tree)
    place(unknown)["surprise"] = 1
    del place(missing)[list(place(missing))[-1]]
    for changed in (unknown, missing):
        with pytest.raises(BundleError, match=r"surprise|missing required field"):
            decode_manifest(encoded(changed))


@pytest.mark.parametrize("schema", [2, 6, -1, 10**30])
def test_another_schema_is_refused(schema):
    with pytest.raises(
        BundleError, match=r"reads 3 to 5|Integer value out of range|at `\$.schema`"
    ):
        decode_manifest(encoded(phantom_manifest() | {"schema": schema}))


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: tree.update(calibration=[]),
        lambda tree: tree.update(calibration={"int8": 1}),
        lambda tree: tree.update(preprocess="x"),
        lambda tree: tree["calibration"]["int8"].update(out_of_distribution=None),
    ],
)
def test_a_malformed_table_is_refused(change):
    tree = phantom_manifest()
    change(tree)
    with pytest.raises(BundleError, match=r"manifest\.json: Expected `object`"):
        decode_manifest(encoded(tree))


@pytest.mark.parametrize("schema", [3, 4])
def test_deep_nesting_is_refused(schema):
    data = b'{"schema": %d, "name": %s' % (schema, b"[" * 100_000)
    with pytest.raises(BundleError):
        decode_manifest(data)
    with pytest.raises(BundleError):
        decode_manifest(data + b"]" * 100_000 + b"}")
