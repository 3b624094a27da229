"""Recipes: every setting of a training run and of the compression that follows.

No field has a default in code: a recipe file is complete, so the settings of a run can be read in
one place. `--set key=value` changes one value; unknown keys are refused by name.
"""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, Literal

import msgspec

from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.preprocess import Preprocess

RENAMED_KEYS = {
    "preprocess.field": "preprocess.collimated_field",
    "split.test_centres": "split.test_sites",
    "compress.calibration_images": "compress.quantization_images",
    "compress.retreat_layers": "compress.float_layers",
    "compress.tune_epochs": "compress.qat_epochs",
}
"""Keys of recipes from before the names changed, and the current ones."""
ADDED_KEYS: dict[str, Any] = {
    "source_labels": {},
    "segmentation": None,
    "region": None,
    "output_stride": 32,
    "mask": {
        "stride": 0,
        "channels": 64,
        "epochs": 15,
        "lr": 2e-3,
        "miss_weight": 0.6,
        "soft_weight": 0.4,
    },
    "optimizer": "adam",
    "backbone_lr": 1.0,
    "frozen_stages": 0,
    "frozen_epochs": 0.0,
    "batch_norm": "batch",
    "map_weight": 0.0,
    "augment.zoom": 0.0,
    "augment.appearance": 0.0,
    "augment.read_size": 0,
    "compress.gate.fp32.max_net_flips": 1.0,
    "compress.gate.int8.max_net_flips": 1.0,
    **{
        f"compress.gate.{precision}.{key}": 1.0
        for precision in ("fp32", "int8")
        for key in ("max_auc_drop", "max_alert_sensitivity_drop")
    },
    # Of bundles with lesion masks, which no earlier version made.
    "compress.gate.fp32.max_dice_drop": 0.01,
    "compress.gate.int8.max_dice_drop": 0.01,
}
"""Keys that recipes of earlier versions lack, with the values by which nothing changes."""
REMOVED_KEYS = {
    f"compress.gate.{precision}.min_teacher_agreement": f"compress.gate.{precision}.max_net_flips"
    for precision in ("fp32", "int8")
}
"""Keys of recipes from before that no longer have an effect, and the keys in their place."""
_RENAMED_UNITS = {"group": "patient", "centre": "site"}  # of split.by

_MOST_THREADS = 1024  # a typing error beyond this would bring the machine down


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Augment(_Table, frozen=True):
    """Random changes of a training image; 0 or false switches one off."""

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
    """Side in pixels of crops around the lesions to train and validate on; 0 = whole images.

    From random weights, a network needs very long to find a lesion that fills a tenth of an image.
    A first stage on crops learns it; a second stage continues on whole images with `--weights`
    (Shen et al., Sci. Rep. 9, 12495, 2019).
    """
    zoom: float
    """Share of the images of which a square part is shown at the size of the whole, 0 to 1.

    With the lesion, the image keeps its label. Without it, where `labels` has `non-affected`, that
    becomes the label: collection, body part and exposure are then the same on both sides.
    """
    appearance: float
    """How often each change that hides the collection is made, 0 to 1.

    Resolution, JPEG, sharpness, gamma, a frame, a marker: what tells collections apart, and nothing
    of the anatomy.
    """
    read_size: int
    """Side of the stored images, which are changed first and get CLAHE afterwards.

    So parts of an image have detail, and CLAHE acts on what the runtime would see. 0 = stored in
    the size of the input, after CLAHE.
    """

    def __post_init__(self) -> None:
        names = ("degrees", "translate", "scale", "shear", "brightness", "contrast", "noise")
        _require_least(0, self, names, "augment.")
        require(self.scale < 1, "augment.scale", "below 1", self.scale)
        require(self.shear < 45, "augment.shear", "below 45 degrees", self.shear)
        require(self.crop == 0 or self.crop >= 32, "augment.crop", "0, or 32 or more", self.crop)
        for name in ("zoom", "appearance"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"augment.{name}", "0 to 1", value)
        if self.zoom or self.read_size:
            require(not self.crop, "augment.crop", "0, with augment.zoom or read_size", self.crop)
        size = self.read_size
        require(size == 0 or 32 <= size <= 1024, "augment.read_size", "0, or 32 to 1024", size)


class SplitSettings(_Table, frozen=True):
    """Shares of the images; the rest after train and val is the test split."""

    by: Literal["patient", "site", "source"]
    """Unit that stays whole: a patient, or a whole site or source with all its patients.

    An image whose site is not known belongs to a site named as its source.
    """
    test_sites: tuple[str, ...]
    """With `site` or `source`: those that are the test split; empty: the seed chooses them."""
    folds: int
    """Folds of a cross-validation, each the test split once; 0: a single split by shares."""

    train: float
    """Share of the images to learn from."""
    val: float
    """Share that picks the best epoch, the temperature and the operating points."""
    seed: int
    """Seed of the split; separate from the run's, so that runs of several seeds share one split."""

    def __post_init__(self) -> None:
        require(self.train > 0, "split.train", "above 0", self.train)
        require(self.val > 0, "split.val", "above 0", self.val)
        require(self.train + self.val < 1, "split", "train + val below 1", self.train + self.val)
        require(self.folds == 0 or self.folds >= 2, "split.folds", "0, or 2 or more", self.folds)
        if self.test_sites:
            expected = "site or source, with split.test_sites"
            require(self.by != "patient", "split.by", expected, self.by)
            require(self.folds == 0, "split.folds", "0, with split.test_sites", self.folds)


class GateLimits(_Table, frozen=True):
    """Largest losses of one precision compared with the teacher; drops are fractions."""

    max_macro_f1_drop: float
    """Teacher's macro-F1 minus the compressed model's."""
    max_recall_drop: dict[str, float]
    """Per label: the teacher's recall minus the compressed model's. Labels left out are free."""
    max_net_flips: float
    """Images that turn from right to wrong minus those from wrong to right, as a share.

    Of all images, and of those of each label in `max_recall_drop`. More fails if the 95 % interval
    lies above 0 as well: the other limits judge the size of a loss, this one what chance cannot
    explain.
    """
    max_auc_drop: float
    """Teacher's AUC minus the compressed model's, within each source at each of its questions.

    More fails if the 95 % interval lies above 0 as well, as in `max_net_flips`.
    """
    max_alert_sensitivity_drop: float
    """Drop of the sensitivity at the operating point of each alert label, as `max_auc_drop`."""
    max_dice_drop: float
    """Drop of the mean Dice of the lesion masks of each label, as `max_auc_drop`."""
    max_pointing_drop: float
    """Drop of the pointing game's hit rate."""
    max_ece: float
    """Expected calibration error of the compressed model, after temperature."""
    min_teacher_cosine: float
    """Mean cosine of the compressed model's and the teacher's saliency maps."""
    max_engine_rmse: float
    """Between two engines on one file: RMSE of the logits over their standard deviation."""
    max_engine_flips: int
    """Clear decisions that a second engine may change; see compression/evaluation."""


class Gate(_Table, frozen=True):
    """Limits per precision."""

    fp32: GateLimits
    int8: GateLimits


class Compress(_Table, frozen=True):
    """Settings of distillation, pruning, quantization and their gate."""

    students: tuple[str, ...]
    """timm names of the students to try."""
    crop: int
    """Side in pixels of crops around the lesions for the first epochs of distillation."""
    crop_epochs: int
    """Epochs of distillation on those crops, before whole images; 0 leaves them out."""
    epochs: int
    """Epochs of distillation on whole images; 0 where the student is the teacher's own network."""
    views: int
    """Epochs with new augmentations; later epochs repeat them in a different order.

    The teacher is run once per view, so fewer views are cheaper, and more views teach more.
    """
    lr: float
    """Learning rate of distillation, and of the epochs after pruning."""
    batch: int
    """Images per step."""
    softening: float
    """Temperature that softens both sides' logits (Hinton et al., 2015)."""
    soft_weight: float
    """Weight of the softened-logits term against the labels' cross-entropy, 0 to 1."""
    saliency_weight: float
    """Weight of the saliency agreement term; 0 = none."""
    prune: tuple[float, ...]
    """Shares of the channels to cut, rising; each cut starts from the one before. Empty: none."""
    prune_crop_epochs: int
    """Epochs of distillation on crops after each cut, before those on whole images."""
    prune_epochs: int
    """Epochs of distillation on whole images after each cut."""
    budget_ms: float
    """Largest p50 of one INT8 inference on the target; 0 = none.

    With a budget, the best candidate within it is chosen: the most accurate one, or with
    `source_labels` the one of the highest mean AUC within the sources. Without a budget it is the
    fastest whose macro-F1 and AUC on the validation split are within the gate's limits, or else the
    best.
    """
    quantization_images: int
    """Training images that set the INT8 ranges; 300 or more are recommended."""
    float_layers: int
    """Most layers that fall back to float where INT8 fails the gate; 0 = none."""
    qat_epochs: int
    """Epochs of quantization-aware training where that is not enough; 0 = none."""
    coverage: float
    """Share of images whose conformal set is meant to hold the true label."""
    sensitivity: float
    """Sensitivity on the calibration split that sets the operating point of every label."""
    alert_labels: tuple[str, ...]
    """Labels that a finding never drops silently from its label set."""
    gate: Gate
    """Limits on the losses of compression."""

    def __post_init__(self) -> None:
        _require_least(1, self, ("views", "batch", "quantization_images"), "compress.")
        require(self.lr > 0, "compress.lr", "above 0", self.lr)
        require(self.softening > 0, "compress.softening", "above 0", self.softening)
        require(0 <= self.soft_weight <= 1, "compress.soft_weight", "0 to 1", self.soft_weight)
        once = len(set(self.students)) == len(self.students) and len(self.students) >= 1
        require(once, "compress.students", "one or more distinct names", list(self.students))
        rising = all(0 < a < b < 1 for a, b in pairwise((*self.prune, 0.999)))
        require(rising, "compress.prune", "rising shares between 0 and 1", list(self.prune))
        require(self.crop >= 32, "compress.crop", "32 or more", self.crop)
        epochs = ("epochs", "crop_epochs", "prune_crop_epochs", "prune_epochs", "qat_epochs")
        names = ("saliency_weight", *epochs, "float_layers", "budget_ms")
        _require_least(0, self, names, "compress.")
        for name in ("coverage", "sensitivity"):
            value = getattr(self, name)
            require(0 < value < 1, f"compress.{name}", "between 0 and 1", value)


class Segmentation(_Table, frozen=True):
    """The stage that learns outlines of lesions: U-Net (Ronneberger et al., MICCAI 2015).

    Takes the recipe's other settings where they are about images, draws or the optimizer.
    """

    encoder: str
    """timm name of the encoder."""
    decoder: tuple[int, ...]
    """Channels of the five stages of the decoder, from coarse to fine."""
    size: int
    """Side of the input and of the mask in pixels, a multiple of 32."""
    batch: int
    """Images per step."""
    epochs: int
    """Passes over the training split."""
    lr: float
    """Learning rate of the decoder, after warm-up."""
    encoder_lr: float
    """Learning rate of the encoder, relative to `lr`."""
    miss_weight: float
    """Weight of missed pixels against false ones in the Tversky term, 0 to 1; 0.5 is Dice."""

    def __post_init__(self) -> None:
        require(bool(self.encoder), "segmentation.encoder", "a name", self.encoder)
        fits = len(self.decoder) == 5 and min(self.decoder) >= 1
        require(fits, "segmentation.decoder", "five numbers of channels", list(self.decoder))
        fits = 32 <= self.size <= 1024 and self.size % 32 == 0
        require(fits, "segmentation.size", "a multiple of 32, up to 1024", self.size)
        require(self.batch >= 2, "segmentation.batch", "2 or more", self.batch)
        require(self.epochs >= 1, "segmentation.epochs", "1 or more", self.epochs)
        require(self.lr > 0, "segmentation.lr", "above 0", self.lr)
        fits = 0 < self.encoder_lr <= 1
        require(fits, "segmentation.encoder_lr", "above 0, up to 1", self.encoder_lr)
        fits = 0 < self.miss_weight < 1
        require(fits, "segmentation.miss_weight", "between 0 and 1", self.miss_weight)


class RegionSettings(_Table, frozen=True):
    """The U-Net in front of a classifier, whose outlined region is what the classifier sees.

    `train --outlines RUN` fills it in from a finished run of the segmentation stage.
    """

    size: int
    """Side of the region as the classifier sees it, in pixels."""
    encoder: str
    """As of the segmentation stage."""
    decoder: tuple[int, ...]
    """As of the segmentation stage."""

    def __post_init__(self) -> None:
        require(32 <= self.size <= 1024, "region.size", "32 to 1024", self.size)


class MaskSettings(_Table, frozen=True):
    """The decoder of lesion masks on a trained classifier's own features, see `training/masks`.

    It learns alone, from the recipe's images and draws; the classifier does not change.
    """

    stride: int
    """Pixels of the input per cell of the mask: 4, 8 or 16; 0: no decoder."""
    channels: int
    """Channels of its stages."""
    epochs: int
    """Passes over the training split."""
    lr: float
    """Learning rate, after warm-up."""
    miss_weight: float
    """As of the segmentation stage."""
    soft_weight: float
    """Weight of a U-Net's probabilities against the masks, 0 to below 0.5; without one unused."""

    def __post_init__(self) -> None:
        require(self.stride in (0, 4, 8, 16), "mask.stride", "0, 4, 8 or 16", self.stride)
        require(1 <= self.channels <= 512, "mask.channels", "1 to 512", self.channels)
        require(self.epochs >= 1, "mask.epochs", "1 or more", self.epochs)
        require(self.lr > 0, "mask.lr", "above 0", self.lr)
        fits = 0 < self.miss_weight < 1
        require(fits, "mask.miss_weight", "between 0 and 1", self.miss_weight)
        fits = 0 <= self.soft_weight < 0.5
        require(fits, "mask.soft_weight", "0 to below 0.5", self.soft_weight)


class Recipe(_Table, frozen=True):
    """All settings of a training run.

    Raises:
        ConfigError: a setting is out of range, or two settings contradict each other.
    """

    name: str
    """Name of the recipe, kept in the run and in the bundle's lineage."""
    labels: tuple[str, ...]
    """Classes, in the order of the logits."""
    other_labels: Literal["refuse", "leave out"]
    """Images of a label that is not one of `labels`: an error, or left out and counted."""
    source_labels: dict[str, tuple[str, ...]]
    """Labels that each collection can have; a source that is not named can have all.

    A collection of fractures says nothing about tumours. The loss of an image is taken over its
    source's labels alone, so no other label is learnt from where an image comes from.
    """
    backbones: tuple[str, ...]
    """timm names, or `plain_cnn_W`: a small convolutional network whose first stage is W wide."""
    output_stride: int
    """Pixels of the input per cell of the map: 32, or 16 for twice as many cells a side.

    At 16 the last stage keeps its resolution and its later convolutions are dilated (Yu and Koltun,
    ICLR 2016). The weights are the same, and load from a network of either.
    """
    combine: Literal["fuse", "compare"]
    """Add the logits of all backbones, or train one network each and compare them."""
    head: Literal["softmax", "sigmoid"]
    """One logit per class; or a single logit z for two classes, whose logits are then ∓z/2."""
    fusion: tuple[float, ...]
    """Starting weight of each backbone, learned from there; empty means equal."""
    dropout: float
    """Dropout before each linear head."""
    preprocess: Preprocess
    """The runtime's own preprocessing; training calls the same function."""
    augment: Augment
    """Random changes of the training images."""
    split: SplitSettings
    """Division of the images by patient or site."""
    batch: int
    """Images per step."""
    epochs: int
    """Passes over the training split; 0 makes an ensemble of the weights given."""
    optimizer: Literal["adam", "adamw"]
    """Adam with an L2 term, or with decoupled weight decay (Loshchilov and Hutter, 2019)."""
    lr: float
    """Adam's learning rate, after warm-up."""
    backbone_lr: float
    """Learning rate of the backbones, relative to the heads'; below 1 for pretrained weights."""
    frozen_stages: int
    """Stages of each backbone, the stem counted with the first, whose weights never change."""
    frozen_epochs: float
    """First epochs in which the heads alone are trained."""
    batch_norm: Literal["batch", "fixed"]
    """Statistics of each batch, or those of the training images before the first step.

    Fixed ones are folded into the convolutions, which is faster, and suits pretrained weights.
    """
    schedule: Literal["constant", "cosine"]
    """Learning rate after warm-up: constant, or down to 0 along half a cosine."""
    warmup_epochs: float
    """Epochs over which the learning rate rises from 0."""
    weight_decay: float
    """Of all weights; how it acts says `optimizer`."""
    branch_loss: float
    """Weight of the mean of the branches' own cross-entropies, added to the fused one; 0 = none.

    Trained through the fused logits alone, the branch that learns first removes the loss for the
    others: next to ReXNet, EfficientNet-B0 stayed at 31 % on four classes while the ensemble had
    96 %.
    """
    map_weight: float
    """Weight of the lesion term: -log of the share of the squared map that lies in the lesion.

    Of the closed-form Grad-CAM++ map of the image's label, for images with boxes. A network that
    decides by what lies beside the lesion pays.
    """
    gradient_clip: float
    """Largest norm of the gradient of a step; 0 = no clipping."""
    ema: float
    """Decay per step of the moving average of the weights that is validated and saved; 0 = none."""
    mixup: float
    """Both parameters of mixup's beta distribution (Zhang et al., 2018); 0 = none."""
    balanced: bool
    """Draw every class equally often, with replacement (WeightedRandomSampler's semantics).

    With `source_labels`: every source equally often, and every label of a source.
    """
    class_weights: bool
    """Weigh the cross-entropy by 1 / (classes × share of the class among the images *as drawn*).

    With `balanced` the draw is already uniform, so every weight is 1: nothing is corrected twice.
    """
    patience: int
    """Stop after this many epochs without a better validation score; 0 = never."""
    seed: int
    """Seed of the starting weights, the draws, augmentation and dropout."""
    threads: int
    """CPU threads; 0 = all cores."""
    precision: Literal["auto", "32-true", "bf16-mixed"]
    """Of the training steps; auto uses bfloat16 where the hardware has it.

    On CPUs that have it float32 can be faster: a step of both is timed as a run begins, and the run
    keeps the faster.
    """
    mask: MaskSettings
    """The decoder of lesion masks; a file without the table means none."""
    segmentation: Segmentation | None
    """Settings of the segmentation stage; None, as where a file has no such table: no stage."""
    region: RegionSettings | None
    """The U-Net in front of the classifier; None: the classifier sees the whole image."""
    compress: Compress
    """Settings of the compression stage."""

    def __post_init__(self) -> None:
        distinct = len(set(self.labels)) == len(self.labels) and len(self.labels) >= 2
        require(distinct, "labels", "two or more distinct names", self.labels)
        require(len(self.backbones) >= 1, "backbones", "one or more names", self.backbones)
        if self.fusion and (len(self.fusion) != len(self.backbones) or min(self.fusion) <= 0):
            raise ConfigError(
                f"fusion: expected {len(self.backbones)} positive weights, one per backbone, got "
                f"{list(self.fusion)}; `--set fusion=` makes them equal"
            )
        require(self.output_stride in (16, 32), "output_stride", "16 or 32", self.output_stride)
        if self.combine == "compare":
            if self.fusion:
                raise ConfigError(
                    "fusion: networks that are compared are not fused; leave it empty"
                )
            once = len(set(self.backbones)) == len(self.backbones)
            require(once, "backbones", "distinct names to compare", list(self.backbones))
        if self.head == "sigmoid" and len(self.labels) != 2:
            raise ConfigError(f"head: sigmoid needs exactly two labels, got {len(self.labels)}")
        require(0 <= self.ema < 1, "ema", "0 to 1", self.ema)
        size, compress = self.preprocess.size, self.compress
        fits = self.augment.crop <= size
        require(fits, "augment.crop", f"at most {size}", self.augment.crop)
        fits = compress.crop <= size or not (compress.crop_epochs or compress.prune_crop_epochs)
        require(fits, "compress.crop", f"at most {size}", compress.crop)
        require(0 <= self.dropout < 1, "dropout", "0 to 1", self.dropout)
        require(self.batch >= 2, "batch", "2 or more (batch normalization)", self.batch)
        require(self.lr > 0, "lr", "above 0", self.lr)
        require(0 < self.backbone_lr <= 1, "backbone_lr", "above 0, up to 1", self.backbone_lr)
        loss = ("weight_decay", "branch_loss", "map_weight", "gradient_clip", "mixup")
        counts = (
            "epochs",
            "warmup_epochs",
            "frozen_stages",
            "frozen_epochs",
            "patience",
            "threads",
        )
        _require_least(0, self, (*counts, *loss))
        for source, own in self.source_labels.items():
            fits = len(own) >= 2 and all(label in self.labels for label in own)
            expected = f"two or more of {list(self.labels)}"
            require(fits, f"source_labels.{source}", expected, list(own))
        if self.segmentation is not None:
            fits = self.combine == "fuse" and not self.split.folds
            require(fits, "segmentation", "one network without folds", "several runs")
            require(not self.augment.crop, "augment.crop", "0 with segmentation", self.augment.crop)
        if self.mask.stride:
            fits = len(self.backbones) == 1 and self.segmentation is None and not self.split.folds
            require(
                fits, "mask.stride", "0 unless one network is trained, without folds", "several"
            )
            require(not self.augment.crop, "mask.stride", "0 with augment.crop", self.mask.stride)
        if self.region is not None:
            self._check_region()
        if self.mixup:  # two images of a pair would need one set of labels, and one lesion
            alone = not self.source_labels and not self.map_weight
            require(alone, "mixup", "0, with source_labels or map_weight", self.mixup)
        for name, seed in (("seed", self.seed), ("split.seed", self.split.seed)):
            require(0 <= seed < 2**32, name, "0 to 4294967295", seed)
        require(self.threads <= _MOST_THREADS, "threads", f"at most {_MOST_THREADS}", self.threads)
        missing = [label for label in self.compress.alert_labels if label not in self.labels]
        require(not missing, "compress.alert_labels", f"some of {list(self.labels)}", missing)
        for precision in ("fp32", "int8"):
            limits = getattr(self.compress.gate, precision).max_recall_drop
            missing = [label for label in limits if label not in self.labels]
            key = f"compress.gate.{precision}.max_recall_drop"
            expected = f"some of {list(self.labels)} (`--set {key}={{}}` removes all limits)"
            require(not missing, key, expected, missing)

    def _check_region(self) -> None:
        side, compress = self.preprocess.size, self.compress
        require(side % 32 == 0, "preprocess.size", "a multiple of 32 with a region", side)
        plain = self.combine == "fuse" and not self.split.folds
        require(plain, "region", "one network without folds", "several runs")
        require(self.segmentation is None, "region", "no table segmentation", "both")
        require(not self.mask.stride, "mask.stride", "0 with a region", self.mask.stride)
        fixed = self.batch_norm == "fixed"  # would fold the U-Net's too, with other statistics
        require(not fixed, "batch_norm", "batch with a region", self.batch_norm)
        crops = self.augment.crop or compress.crop_epochs or compress.prune_crop_epochs
        require(not crops, "augment.crop, compress.crop_epochs", "0 with a region", crops)
        # Both would take the U-Net for a part of the student.
        require(not compress.prune, "compress.prune", "empty with a region", list(compress.prune))
        epochs = compress.qat_epochs
        require(not epochs, "compress.qat_epochs", "0 with a region", epochs)


def upgrade_recipe(tree: dict[str, Any]) -> dict[str, Any]:
    """Bring the keys of a recipe's tables up to date in place; return them.

    Old names and values get the current ones, removed keys are dropped, missing ones added.

    Raises:
        ConfigError: a key is given under its old and its new name.
    """
    for old, new in RENAMED_KEYS.items():
        table, key = _locate(tree, old)
        if key in table:
            current = new.rpartition(".")[2]
            require(current not in table, new, f"one value, but {old} is its old name", "both")
            table[current] = table.pop(key)
    for removed in REMOVED_KEYS:
        table, key = _locate(tree, removed)
        table.pop(key, None)
    for added, value in ADDED_KEYS.items():
        table, key = _locate(tree, added)
        table.setdefault(key, copy.deepcopy(value))
    split = tree.get("split")
    if isinstance(split, dict) and isinstance(split.get("by"), str):
        split["by"] = _RENAMED_UNITS.get(split["by"], split["by"])
    return tree


def _locate(tree: dict[str, Any], dotted: str) -> tuple[dict[str, Any], str]:
    """Table of a dotted key, empty where the tree has none, and the key's own name."""
    *names, key = dotted.split(".")
    table: Any = tree
    for name in names:
        table = table.get(name) if isinstance(table, dict) else None
    return (table if isinstance(table, dict) else {}), key


def _require_least(least: int, table: _Table, names: tuple[str, ...], prefix: str = "") -> None:
    for name in names:
        value = getattr(table, name)
        require(value >= least, f"{prefix}{name}", f"{least} or more", value)


def require(holds: bool, key: str, expected: str, got: object) -> None:
    """Raise ConfigError, naming the key, unless `holds`."""
    if not holds:
        raise ConfigError(f"{key}: expected {expected}, got {got}")
