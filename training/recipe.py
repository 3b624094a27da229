"""Recipes: every setting of a training run and of the compression that follows, read from TOML.

No field has a default in code: a recipe file is complete, so what a run did can be read in one
place. `--set key=value` changes one value; a key that does not exist is refused by name.
"""

from __future__ import annotations

import difflib
import math
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_origin

import msgspec

from orthoedge.runtime.errors import RecipeError
from orthoedge.runtime.preprocess import Preprocess

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


_MOST_THREADS = 1024  # a slip of more would bring the machine down before it is noticed


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Augment(_Table, frozen=True):
    """Random changes of a training image; 0 (or false) turns one off."""

    flip: bool
    """Mirror left and right, half of the time."""
    degrees: float
    """Largest rotation either way, in degrees."""
    translate: float
    """Largest shift either way, as a fraction of the side."""
    scale: float
    """Largest relative change of size: 0.1 draws 0.9 to 1.1."""
    shear: float
    """Largest horizontal shear either way, in degrees."""
    brightness: float
    """Largest shift of the grey level either way, as a fraction of 255."""
    contrast: float
    """Largest relative change of contrast about the mean: 0.2 draws 0.8 to 1.2."""
    noise: float
    """Largest standard deviation of Gaussian noise, as a fraction of 255."""
    crop: int
    """Side in pixels of crops around the lesions to train and validate on; 0 = whole squares.

    A first stage on crops learns from random weights what whole images show too small; a second one
    with `--weights` goes on with whole images (Shen et al., Sci. Rep. 9, 12495, 2019).
    """

    def __post_init__(self) -> None:
        for name in ("degrees", "translate", "scale", "shear", "brightness", "contrast", "noise"):
            _require(getattr(self, name) >= 0, f"augment.{name}", "0 or more", getattr(self, name))
        _require(self.scale < 1, "augment.scale", "below 1", self.scale)
        _require(self.shear < 45, "augment.shear", "below 45 degrees", self.shear)
        _require(self.crop == 0 or self.crop >= 32, "augment.crop", "0, or 32 or more", self.crop)


class SplitFractions(_Table, frozen=True):
    """Shares of the images; what train and val leave is the test part."""

    train: float
    """Share of the images to learn from."""
    val: float
    """Share that picks the best epoch, the temperature and the operating points."""
    seed: int
    """Seed of the split, apart from the run's, so that runs of several seeds share one split."""

    def __post_init__(self) -> None:
        _require(self.train > 0, "split.train", "above 0", self.train)
        _require(self.val > 0, "split.val", "above 0", self.val)
        _require(self.train + self.val < 1, "split", "train + val below 1", self.train + self.val)


class GateLimits(_Table, frozen=True):
    """Largest losses a compressed model may show against the teacher; drops are fractions."""

    max_macro_f1_drop: float
    """Teacher's macro-F1 minus the compressed model's."""
    max_alert_recall_drop: float
    """Largest fall of the recall of any alert label."""
    max_pointing_drop: float
    """Fall of the pointing game's hit rate."""
    max_ece: float
    """Expected calibration error of the compressed model, after temperature."""
    min_agreement: float
    """Share of images on which fp32 and INT8 give one label."""
    min_teacher_cosine: float
    """Mean cosine of the student's and the teacher's saliency maps."""


class Compress(_Table, frozen=True):
    """Settings of distillation, pruning, quantization and their gate."""

    student: str
    """timm name of the student's backbone."""
    crop: int
    """Side in pixels of crops around the lesions for the first epochs of distillation."""
    crop_epochs: int
    """Epochs of distillation on those crops, before the whole squares; 0 leaves them out."""
    epochs: int
    """Epochs of distillation on whole squares."""
    lr: float
    """Learning rate of distillation, and of the epochs after pruning."""
    batch: int
    """Images per step."""
    softening: float
    """Temperature that softens both sides' logits (Hinton et al., 2015)."""
    soft_weight: float
    """Weight of the softened-logits term against the labels' cross-entropy, 0 to 1."""
    saliency_weight: float
    """Weight of the saliency agreement term; 0 leaves it out."""
    prune_ratio: float
    """Share of channels to cut; 0 leaves pruning out."""
    prune_epochs: int
    """Epochs of distillation after the cut."""
    calibration_images: int
    """Training images that set the INT8 ranges."""
    alert_labels: tuple[str, ...]
    """Labels that a finding never drops silently from its set."""
    gate: GateLimits
    """What may be lost at most."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch", "calibration_images"):
            _require(getattr(self, name) >= 1, f"compress.{name}", "1 or more", getattr(self, name))
        _require(self.lr > 0, "compress.lr", "above 0", self.lr)
        _require(self.softening > 0, "compress.softening", "above 0", self.softening)
        _require(0 <= self.soft_weight <= 1, "compress.soft_weight", "0 to 1", self.soft_weight)
        _require(self.saliency_weight >= 0, "compress.saliency_weight", "0 or more", "less")
        _require(0 <= self.prune_ratio < 1, "compress.prune_ratio", "0 to 1", self.prune_ratio)
        _require(self.crop >= 32, "compress.crop", "32 or more", self.crop)
        _require(self.crop_epochs >= 0, "compress.crop_epochs", "0 or more", self.crop_epochs)
        _require(self.prune_epochs >= 0, "compress.prune_epochs", "0 or more", self.prune_epochs)


class Recipe(_Table, frozen=True):
    """Everything that decides a training run.

    Raises:
        RecipeError: a setting is out of range, or two settings contradict each other.
    """

    name: str
    """Name of the recipe, kept in the run and in the bundle's lineage."""
    labels: tuple[str, ...]
    """Classes, in the order of the logits."""
    backbones: tuple[str, ...]
    """timm names; the logits of all are added."""
    fusion: tuple[float, ...]
    """Starting weight of each backbone; empty means equal. They are learned from there."""
    dropout: float
    """Dropout before each linear head."""
    preprocess: Preprocess
    """The runtime's own preprocessing; training calls the same function."""
    augment: Augment
    """Random changes of the training images."""
    split: SplitFractions
    """How the studies are divided, by group."""
    batch: int
    """Images per step."""
    epochs: int
    """Passes over the training part."""
    lr: float
    """Adam's learning rate, after warm-up."""
    schedule: Literal["constant", "cosine"]
    """Learning rate after warm-up: as it is, or down to 0 along half a cosine."""
    warmup_epochs: float
    """Epochs over which the learning rate rises from 0."""
    weight_decay: float
    """Adam's L2 term."""
    balanced: bool
    """Draw every class equally often, with replacement (WeightedRandomSampler's semantics)."""
    class_weights: bool
    """Weigh the cross-entropy by 1 / (classes × share of the class among the images *as drawn*).

    With `balanced` the draw is already uniform, so every weight is 1: the two never correct twice.
    """
    patience: int
    """Stop after this many epochs without a better validation; 0 = never."""
    seed: int
    """Seed of the starting weights, the draws, augmentation and dropout."""
    threads: int
    """CPU threads; 0 = all cores."""
    precision: Literal["auto", "32-true", "bf16-mixed"]
    """Of the training steps; auto takes bfloat16 where the hardware has it.

    On CPUs float32 can be the faster one for small images.
    """
    compress: Compress
    """Settings of the compression stage."""

    def __post_init__(self) -> None:
        distinct = len(set(self.labels)) == len(self.labels) and len(self.labels) >= 2
        _require(distinct, "labels", "two or more distinct names", self.labels)
        _require(len(self.backbones) >= 1, "backbones", "one or more names", self.backbones)
        if self.fusion and (len(self.fusion) != len(self.backbones) or min(self.fusion) <= 0):
            raise RecipeError(
                f"fusion: expected {len(self.backbones)} positive weights, one per backbone, got "
                f"{list(self.fusion)}; `--set fusion=` makes them equal"
            )
        fits = self.augment.crop <= self.preprocess.size
        _require(fits, "augment.crop", f"at most {self.preprocess.size}", self.augment.crop)
        _require(0 <= self.dropout < 1, "dropout", "0 to 1", self.dropout)
        _require(self.batch >= 2, "batch", "2 or more (batch normalization)", self.batch)
        _require(self.epochs >= 1, "epochs", "1 or more", self.epochs)
        _require(self.lr > 0, "lr", "above 0", self.lr)
        for name in ("warmup_epochs", "weight_decay", "patience", "threads"):
            _require(getattr(self, name) >= 0, name, "0 or more", getattr(self, name))
        for name, seed in (("seed", self.seed), ("split.seed", self.split.seed)):
            _require(0 <= seed < 2**32, name, "0 to 4294967295", seed)
        _require(self.threads <= _MOST_THREADS, "threads", f"at most {_MOST_THREADS}", self.threads)
        missing = [label for label in self.compress.alert_labels if label not in self.labels]
        _require(not missing, "compress.alert_labels", f"some of {list(self.labels)}", missing)


def _require(holds: bool, key: str, expected: str, got: object) -> None:
    if not holds:
        raise RecipeError(f"{key}: expected {expected}, got {got}")


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """Read a packaged recipe by name, or a TOML file by path, and apply overrides.

    Args:
        name_or_path: such as `orthovision`, or `my/recipe.toml`.
        overrides: `dotted.key=value`, applied in order. The value is TOML where it parses as TOML
            and a string otherwise; for a tuple, `a,b` is a list and nothing at all is empty.

    Raises:
        RecipeError: no such recipe, an unknown or missing key, a wrong type, a value out of range.
    """
    text, source = _read(name_or_path)
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{source}: {error}") from error
    _check_keys(tree, Recipe, source, "")
    for override in overrides:
        _override(tree, override)
    return _convert(tree, source)


def override_recipe(recipe: Recipe, overrides: Sequence[str]) -> Recipe:
    """Apply overrides as `load_recipe` does to a recipe that was read before.

    Raises:
        RecipeError: as `load_recipe`.
    """
    tree = msgspec.to_builtins(recipe)
    for override in overrides:
        _override(tree, override)
    return _convert(tree, recipe.name)


def _convert(tree: dict[str, Any], source: str) -> Recipe:
    _require_finite(tree, "")
    try:
        return msgspec.convert(tree, Recipe)
    except msgspec.ValidationError as error:
        # msgspec wraps what __post_init__ raises only for ValueError and TypeError, so a
        # RecipeError of ours passes through as it is.
        raise RecipeError(f"{source}: {error}") from error


def _require_finite(value: object, key: str) -> None:
    """Refuse nan and inf by key: TOML has them, recipe.json would keep them as null."""
    if isinstance(value, float):
        _require(math.isfinite(value), key, "a finite number", value)
    elif isinstance(value, dict):
        for name, item in value.items():
            _require_finite(item, f"{key}.{name}" if key else name)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _require_finite(item, key)


def recipe_names() -> tuple[str, ...]:
    """Names of the packaged recipes."""
    folder = resources.files("orthoedge.training").joinpath("recipes")
    return tuple(
        sorted(e.name.removesuffix(".toml") for e in folder.iterdir() if e.name.endswith(".toml"))
    )


def _read(name_or_path: str) -> tuple[str, str]:
    """Text of a recipe and the name to use in messages."""
    try:
        if name_or_path in recipe_names():
            folder = resources.files("orthoedge.training").joinpath("recipes")
            return folder.joinpath(f"{name_or_path}.toml").read_text("utf-8"), name_or_path
        return Path(name_or_path).read_text("utf-8"), name_or_path
    except (OSError, UnicodeDecodeError) as error:
        known = ", ".join(recipe_names())
        raise RecipeError(f"{name_or_path}: no such recipe or file (recipes: {known})") from error


def _fields(table: type) -> dict[str, Any]:
    return {f.encode_name: f.type for f in msgspec.structs.fields(table)}


def _check_keys(tree: dict[str, Any], table: type, source: str, prefix: str) -> None:
    """Refuse unknown keys by their full name, with the nearest valid one."""
    fields = _fields(table)
    for key, value in tree.items():
        if key not in fields:
            raise RecipeError(f"{source}: unknown key {prefix}{key}{_nearest(prefix + key)}")
        if isinstance(value, dict) and _is_table(fields[key]):
            _check_keys(value, fields[key], source, f"{prefix}{key}.")


def _is_table(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _all_keys(table: type = Recipe, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, kind in _fields(table).items():
        keys += _all_keys(kind, f"{prefix}{name}.") if _is_table(kind) else [prefix + name]
    return keys


def _nearest(key: str) -> str:
    keys = _all_keys()
    # A table left out (`size` for `preprocess.size`) is likelier than a slip of letters.
    same_leaf = [k for k in keys if k.rpartition(".")[2] == key.rpartition(".")[2]]
    close = same_leaf or difflib.get_close_matches(key, keys, n=1, cutoff=0.0)
    return f"; did you mean {close[0]}?"


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key, text = key.strip(), text.strip()
    if not equals or not key:
        raise RecipeError(f"--set {override}: expected key=value")
    kind: Any = Recipe
    parts = key.split(".")
    for part in parts:
        if not _is_table(kind) or part not in _fields(kind):
            raise RecipeError(f"--set {override}: unknown key {key}{_nearest(key)}")
        kind = _fields(kind)[part]
    if _is_table(kind):
        raise RecipeError(f"--set {override}: {key} is a table; name one of its keys")
    for part in parts[:-1]:
        tree = tree.setdefault(part, {})
    tree[parts[-1]] = _value(text, kind)


def _value(text: str, kind: object) -> object:
    """Parse one override; `kind` is the field's type."""
    if get_origin(kind) is tuple:
        parsed = _toml(text)
        if isinstance(parsed, list):
            return parsed
        return [_toml(item.strip()) for item in text.split(",")] if text else []
    parsed = _toml(text)
    # A string field takes `2024` as text too, as the shell has no way to say it is not a number.
    return text if kind is str and not isinstance(parsed, str) else parsed


def _toml(text: str) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if list(parsed) == ["value"] else text
