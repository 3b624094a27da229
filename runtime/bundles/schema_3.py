"""Upgrade of manifests of schema 3, such as that of the phantom bundle, to schema 4."""

from __future__ import annotations

from typing import Any

from orthoedge.runtime.errors import BundleError

# Fields of schema 3 and their names in schema 4.
_RENAMED = {
    "field": "collimated_field",
    "look_centre": "statistics_mean",
    "look_spread": "statistics_std",
    "look_terms": "statistics_weights",
}


def upgrade_schema_3(tree: dict[str, Any]) -> dict[str, Any]:
    """Rename the fields of schema 3 in the decoded JSON, and return it as schema 4.

    Raises:
        BundleError: a field has its name of schema 4 already.
    """
    tables = [_table(tree, "preprocess")]
    for calibration in _table(tree, "calibration").values():
        tables.append(_table(calibration, "out_of_distribution"))
    for table in tables:
        for old, new in _RENAMED.items():
            if new in table:
                raise BundleError(f"manifest.json: {new} is not a field of schema 3")
            if old in table:
                table[new] = table.pop(old)
    return tree | {"schema": 4}


def _table(tree: object, name: str) -> dict[str, Any]:
    """Return a nested table, or an empty one: decoding refuses what is malformed."""
    table = tree.get(name) if isinstance(tree, dict) else None
    return table if isinstance(table, dict) else {}
