"""Recipes: complete, typed, and exact about a slip."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import msgspec
import pytest

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.data.index import ImageRecord, select_records
from orthoedge.training.recipe_file import load_recipe, override_recipe
from orthoedge.training.recipes import recipe_names
from orthoedge.training.run_folder import read_recipe


def test_every_packaged_recipe_loads_and_carries_its_own_name():
    assert recipe_names() == (
        "custom-cnn",
        "efficientnet-299",
        "fracture-binary",
        "orthovision",
        "orthovision-resnet18",
        "real-bones",
        "resnet50-vgg19",
        "tiny",
        "tumor-compare",
        "unet-region",
    )
    for name in recipe_names():
        assert load_recipe(name).name == name


def test_orthovision_is_the_published_ensemble_with_the_runtimes_standard_preprocessing():
    recipe = load_recipe("orthovision")
    assert recipe.backbones == ("efficientnet_b0", "rexnet_100")
    assert recipe.fusion == (0.4, 0.6)
    assert (recipe.batch, recipe.lr, recipe.balanced, recipe.class_weights) == (
        32,
        1e-4,
        True,
        True,
    )
    assert recipe.preprocess == STANDARD
    assert recipe.compress.alert_labels == ("tumor-malignant",)


@pytest.mark.parametrize(
    ("override", "read"),
    [
        ("epochs=2", lambda r: r.epochs == 2),
        ("lr=1", lambda r: r.lr == 1.0),
        ("preprocess.size = 128", lambda r: r.preprocess.size == 128),
        ("name=2024", lambda r: r.name == "2024"),
        ("schedule=cosine", lambda r: r.schedule == "cosine"),
        ("augment.flip=false", lambda r: r.augment.flip is False),
        ("fusion=", lambda r: r.fusion == ()),
        ("fusion=0.3,0.7", lambda r: r.fusion == (0.3, 0.7)),
        ('labels=["a", "tumor-malignant"]', lambda r: r.labels == ("a", "tumor-malignant")),
        ("compress.gate.int8.max_ece=0.5", lambda r: r.compress.gate.int8.max_ece == 0.5),
        (
            "compress.gate.fp32.max_recall_drop.tumor-benign=0.5",
            lambda r: r.compress.gate.fp32.max_recall_drop["tumor-benign"] == 0.5,
        ),
    ],
)
def test_an_override_changes_exactly_its_key(override, read):
    assert read(load_recipe("tiny", [override]))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("epoks=2", "unknown key epoks; did you mean epochs?"),
        ("size=128", "unknown key size; did you mean preprocess.size?"),
        ("compress.gate.int8.ece=1", "did you mean compress.gate.int8.max_ece?"),
        ("compress.gate.int8.max_recall_drop.tumour=0.1", "max_recall_drop: expected some of"),
        ("compress.prune=0.5,0.3", "compress.prune: expected rising shares between 0 and 1"),
        ("epochs=two", "epochs"),
        ("epochs=-1", "epochs: expected 0 or more, got -1"),
        ("lr=inf", "lr: expected a finite number, got inf"),
        ("fusion=nan,nan", "fusion: expected a finite number, got nan"),
        ("compress.gate.int8.max_ece=nan", "gate.int8.max_ece: expected a finite number"),
        ("seed=4294967296", "seed: expected 0 to 4294967295"),
        ("split.seed=-1", "split.seed: expected 0 to 4294967295"),
        ("threads=100000", "threads: expected at most 1024"),
        ("lr=nan", "lr: expected a finite number, got nan"),
        ("schedule=step", "schedule"),
        ("preprocess=128", "preprocess is a table"),
        ("preprocess.size=8", "preprocess.size"),
        ("backbones=resnet18", "`--set fusion=`"),
        ("labels=a,b", "compress.alert_labels"),
        ("epochs", "expected key=value"),
        ("combine=average", "combine"),
        ("combine=compare", "fusion: networks that are compared are not fused"),
        ("head=sigmoid", "head: sigmoid needs exactly two labels, got 4"),
        ("other_labels=ignore", "other_labels"),
        ("split.folds=1", "split.folds: expected 0, or 2 or more, got 1"),
    ],
)
def test_a_slip_is_refused_by_its_key(override, message):
    with pytest.raises(ConfigError) as caught:
        load_recipe("tiny", [override])
    assert message in str(caught.value)


def test_a_file_with_an_unknown_or_a_missing_key_is_refused(tmp_path: Path):
    from importlib import resources

    text = resources.files("orthoedge.training.recipes").joinpath("tiny.toml").read_text()
    whole = tmp_path / "mine.toml"
    whole.write_text(text)
    assert load_recipe(str(whole)) == load_recipe("tiny")
    whole.write_text(text.replace("clahe_clip", "clahe_cap"))
    with pytest.raises(ConfigError, match=r"preprocess\.clahe_cap; did you mean preprocess\.clahe"):
        load_recipe(str(whole))
    whole.write_text(text.replace("patience = 0\n", ""))
    with pytest.raises(ConfigError, match="patience"):
        load_recipe(str(whole))
    with pytest.raises(ConfigError, match=r"no such recipe or file .*orthovision"):
        load_recipe("orthovison")


def test_crops_larger_than_the_image_are_refused_where_they_are_used():
    crops = ["compress.crop=96", "preprocess.size=64"]
    load_recipe("tiny", crops)
    with pytest.raises(ConfigError, match=r"compress\.crop: expected at most 64, got 96"):
        load_recipe("tiny", [*crops, "compress.crop_epochs=1"])


def test_networks_to_compare_are_named_once():
    settings = ["fusion=", "combine=compare", "backbones=test_resnet,test_resnet"]
    with pytest.raises(ConfigError, match="backbones: expected distinct names to compare"):
        load_recipe("tiny", settings)


def test_studies_of_other_labels_are_left_out_only_where_the_recipe_says_so():
    records = [
        ImageRecord(Path(f"{label}.png"), label, label)
        for label in ("fracture", "non-affected", "tumor-benign", "tumor-benign")
    ]
    chosen = select_records(records, load_recipe("fracture-binary"))
    assert [record.label for record in chosen.records] == ["fracture", "non-affected"]
    assert chosen.line() == "left out 2 of 4 images: 2 tumor-benign"
    with pytest.raises(DataError, match=r"tumor-benign.png: label tumor-benign is not one of"):
        select_records(records, load_recipe("fracture-binary", ["other_labels=refuse"]))
    with pytest.raises(DataError, match="no image has the label non-affected"):
        select_records(records[2:], load_recipe("tumor-compare"))


def test_the_former_name_of_the_collimated_field_is_read(tmp_path):
    file = tmp_path / "recipe.toml"
    packaged = resources.files("orthoedge.training.recipes").joinpath("tiny.toml").read_text()
    file.write_text(packaged.replace("collimated_field =", "field ="))
    recipe = load_recipe("tiny")
    assert load_recipe(str(file)) == recipe
    assert load_recipe("tiny", ["preprocess.field=keep"]).preprocess.collimated_field == "keep"
    assert override_recipe(recipe, ["preprocess.field=keep"]).preprocess.collimated_field == "keep"
    written = tmp_path / "recipe.json"
    written.write_bytes(msgspec.json.encode(recipe).replace(b'"collimated_field"', b'"field"'))
    assert read_recipe(written) == recipe
    file.write_text(packaged.replace("collimated_field =", 'field = "crop"\ncollimated_field ='))
    with pytest.raises(ConfigError, match=r"preprocess\.collimated_field: expected one value"):
        load_recipe(str(file))
