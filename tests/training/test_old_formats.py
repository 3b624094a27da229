"""Files of the old form are read to the same values; tests/golden/frozen/old holds them."""

import csv
import json
from functools import reduce
from operator import getitem
from pathlib import Path

import msgspec
import pytest

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.comparison import PLAN, Plan, check_not_comparison
from orthoedge.training.data.index import ImageRecord, read_index
from orthoedge.training.data.splits import SPLITS
from orthoedge.training.data_quality.shortcut_audit import ShortcutAudit
from orthoedge.training.datasets import import_dataset
from orthoedge.training.recipe import ADDED_KEYS, Recipe
from orthoedge.training.recipe_file import load_recipe, override_recipe
from orthoedge.training.recipes import recipe_names
from orthoedge.training.run_folder import (
    RunInfo,
    TrainingMetrics,
    read_recipe,
    read_record,
    read_splits,
)

OLD = Path(__file__).parents[1] / "golden" / "frozen" / "old"
RUN = OLD / "run"


@pytest.mark.parametrize("file", sorted((OLD / "recipes").glob("*.toml")), ids=lambda f: f.stem)
def test_an_old_recipe_file_is_read_as_the_recipe_it_was(file):
    """But for limits that old recipes do not have."""
    assert file.stem in recipe_names()
    free = [
        f"compress.gate.{precision}.{limit}=1"
        for precision in ("fp32", "int8")
        for limit in ("max_net_flips", "max_auc_drop", "max_alert_sensitivity_drop")
    ]
    assert "min_teacher_agreement" in file.read_text()
    assert load_recipe(str(file)) == load_recipe(file.stem, free)


def test_a_limit_that_no_longer_holds_is_not_taken_in_silence():
    gone = "compress.gate.int8.min_teacher_agreement=0.9"
    with pytest.raises(ConfigError, match=r"set compress\.gate\.int8\.max_net_flips in its place"):
        load_recipe("tiny", [gone])


def test_old_keys_can_still_be_set():
    old = ["split.by=centre", "split.test_centres=Rome", "compress.calibration_images=16"]
    old += ["compress.retreat_layers=0", "compress.tune_epochs=2"]
    new = ["split.by=site", "split.test_sites=Rome", "compress.quantization_images=16"]
    new += ["compress.float_layers=0", "compress.qat_epochs=2"]
    recipe = load_recipe("tiny", new)
    assert recipe.split.by == "site"
    assert load_recipe("tiny", old) == recipe
    assert load_recipe(str(OLD / "recipes" / "tiny.toml"), new) == recipe
    assert override_recipe(load_recipe("tiny"), old) == recipe


def test_a_recipe_with_a_key_under_both_names_is_refused(tmp_path):
    text = (OLD / "recipes" / "tiny.toml").read_text()
    both = text.replace("test_centres = []", "test_centres = []\ntest_sites = []")
    (tmp_path / "both.toml").write_text(both)
    with pytest.raises(ConfigError, match=r"split\.test_sites: .*split\.test_centres is its old"):
        load_recipe(str(tmp_path / "both.toml"))


def test_an_old_run_folder_is_read_to_the_same_values(tmp_path):
    recipe = json.loads((RUN / "recipe.json").read_text())
    assert recipe["split"].pop("by") == "group"
    recipe["split"] |= {"by": "patient", "test_sites": recipe["split"].pop("test_centres")}
    preprocess, compress = recipe["preprocess"], recipe["compress"]
    preprocess["collimated_field"] = preprocess.pop("field")
    compress["quantization_images"] = compress.pop("calibration_images")
    compress["float_layers"] = compress.pop("retreat_layers")
    compress["qat_epochs"] = compress.pop("tune_epochs")
    for precision in ("fp32", "int8"):
        assert compress["gate"][precision].pop("min_teacher_agreement") == 0
    for key, value in ADDED_KEYS.items():
        *tables, name = key.split(".")
        reduce(getitem, tables, recipe)[name] = value
    assert read_recipe(RUN / "recipe.json") == msgspec.convert(recipe, Recipe)
    for name, kind in (
        ("report.json", RunInfo),
        ("metrics.json", TrainingMetrics),
        ("shortcuts.json", ShortcutAudit),
    ):
        record = read_record(RUN / name, kind)
        assert json.loads(msgspec.json.encode(record)) == json.loads((RUN / name).read_text())


def test_an_old_split_is_read_to_the_same_values(tmp_path):
    with (RUN / "split.csv").open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    for row in rows:
        image = tmp_path / row["path"]
        image.parent.mkdir(exist_ok=True)
        image.touch()
    splits = read_splits(RUN / "split.csv", tmp_path)
    records = [(name, record) for name in SPLITS for record in getattr(splits, name)]
    for row, (name, record) in zip(rows, records, strict=True):
        assert name == row["part"]
        assert record == ImageRecord(
            path=tmp_path / row["path"],
            label=row["label"],
            patient_id=row["group"],
            boxes=tuple(map(tuple, json.loads(row["boxes"] or "[]"))),
            mask=tmp_path / row["mask"] if row["mask"] else None,
            source=row["source"],
            site=row["centre"],
            body_part=row["body_part"],
        )


def test_the_plan_of_an_old_comparison_is_read(tmp_path):
    plan = {"recipe": json.loads((RUN / "recipe.json").read_text()), "data_sha256": "0"}
    (tmp_path / PLAN).write_text(json.dumps(plan | {"weights": {}}))
    with pytest.raises(DataError, match="an unfinished comparison of runs; train with --resume"):
        check_not_comparison(tmp_path)
    assert set(plan) < set(Plan.__struct_fields__)


def test_an_old_index_is_read_and_imported_as_before(tmp_path):
    (tmp_path / "a.png").touch()
    rows = "a.png,x,p,Rome\n"
    (tmp_path / "old.csv").write_text("path,label,group,centre\n" + rows)
    (tmp_path / "new.csv").write_text("path,label,patient_id,site\n" + rows)
    (record,) = read_index(tmp_path / "old.csv")
    assert (record.patient_id, record.site) == ("p", "Rome")
    assert [record] == read_index(tmp_path / "new.csv")
    imported = import_dataset("table", tmp_path / "old.csv")
    assert imported.records == (record,)
    assert imported == import_dataset("table", tmp_path / "new.csv")


@pytest.mark.parametrize("pair", ["group,patient_id", "centre,site"])
def test_a_column_under_both_names_is_refused(tmp_path, pair):
    (tmp_path / "a.png").touch()
    file = tmp_path / "both.csv"
    file.write_text(f"path,label,{pair}\na.png,x,p,p\n")
    for read in (read_index, lambda path: import_dataset("table", path)):
        with pytest.raises(DataError, match=r"both\.csv, line 1: columns .* mean the same"):
            read(file)
    with pytest.raises(DataError, match=r"both\.csv, line 1: columns .* mean the same"):
        read_splits(file, tmp_path)
