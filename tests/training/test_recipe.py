"""Recipes: complete, typed, and exact about a slip."""

from __future__ import annotations

from pathlib import Path

import pytest

from orthoedge.runtime.errors import RecipeError
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.recipe import load_recipe, recipe_names


def test_every_packaged_recipe_loads_and_carries_its_own_name():
    assert recipe_names() == ("fracture-binary", "orthovision", "tiny")
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
        ("compress.gate.max_ece=0.5", lambda r: r.compress.gate.max_ece == 0.5),
    ],
)
def test_an_override_changes_exactly_its_key(override, read):
    assert read(load_recipe("tiny", [override]))


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("epoks=2", "unknown key epoks; did you mean epochs?"),
        ("size=128", "unknown key size; did you mean preprocess.size?"),
        ("compress.gate.ece=1", "did you mean compress.gate.max_ece?"),
        ("epochs=two", "epochs"),
        ("epochs=0", "epochs: expected 1 or more, got 0"),
        ("lr=inf", "lr: expected a finite number, got inf"),
        ("fusion=nan,nan", "fusion: expected a finite number, got nan"),
        ("compress.gate.max_ece=nan", "compress.gate.max_ece: expected a finite number"),
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
    ],
)
def test_a_slip_is_refused_by_its_key(override, told):
    with pytest.raises(RecipeError) as caught:
        load_recipe("tiny", [override])
    assert told in str(caught.value)


def test_a_file_with_an_unknown_or_a_missing_key_is_refused(tmp_path: Path):
    from importlib import resources

    text = resources.files("orthoedge.training").joinpath("recipes/tiny.toml").read_text()
    whole = tmp_path / "mine.toml"
    whole.write_text(text)
    assert load_recipe(str(whole)) == load_recipe("tiny")
    whole.write_text(text.replace("clahe_clip", "clahe_cap"))
    with pytest.raises(RecipeError, match=r"preprocess\.clahe_cap; did you mean preprocess\.clahe"):
        load_recipe(str(whole))
    whole.write_text(text.replace("patience = 0\n", ""))
    with pytest.raises(RecipeError, match="patience"):
        load_recipe(str(whole))
    with pytest.raises(RecipeError, match=r"no such recipe or file .*orthovision"):
        load_recipe("orthovison")
