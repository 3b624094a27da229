"""A decoder of lesion masks is added to a finished classifier, which stays what it was."""

import csv
import dataclasses
import shutil

import msgspec
import numpy as np
import pytest
import torch

from orthoedge.cli.main import main
from orthoedge.runtime.errors import ConfigError
from orthoedge.training.masks.data import MaskedDataset
from orthoedge.training.masks.network import Outliner
from orthoedge.training.run_folder import load_run
from orthoedge.training.segmentation.schema import SegmentationReport
from tests.training.masks.conftest import MASK, SETTINGS, as_options

pytestmark = pytest.mark.slow  # each begins with a training


def test_logits_map_and_features_are_those_of_the_classifier_to_the_bit(classifier, masked):
    images = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        before = load_run(classifier).model.explain(images)
        after = load_run(masked).model.explain(images)
    for name in ("logits", "saliency_map", "feature_vector"):
        assert torch.equal(getattr(before, name), getattr(after, name)), name
    assert before.lesion_mask is None
    assert after.lesion_mask.shape == (3, 1, 16, 16)


def test_the_run_keeps_split_metrics_and_recipe_of_the_classifier(classifier, masked):
    for name in ("split.csv", "metrics.json"):
        assert (classifier / name).read_bytes() == (masked / name).read_bytes(), name
    before, after = load_run(classifier).recipe, load_run(masked).recipe
    assert msgspec.structs.replace(after, mask=before.mask) == before
    assert after.mask.stride == 4


def test_the_decoder_learns_the_outlines(masked):
    with (masked / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert max(float(row["val_lesion_dice"]) for row in rows) > 0.4
    data = (masked / "outlines" / "evaluation.json").read_bytes()
    report = msgspec.json.decode(data, type=SegmentationReport)
    (spot,) = [row for row in report.overlaps if not row.source]
    assert spot.dice.value > 0.3


def test_evaluate_measures_labels_and_outlines(masked, spots, tmp_path):
    out = tmp_path / "report"
    given = ["evaluate", str(masked), "--data", str(spots), "--out", str(out), "--allow-seen"]
    assert main(given) == 0
    assert (out / "evaluation.json").is_file()
    assert (out / "outlines" / "evaluation.json").is_file()


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        (["--set", "mask.stride=0"], "no decoder to train"),
        (["--set", "lr=1"], "only keys of mask"),
        (["--weights", "x.safetensors"], "--weights"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    classifier, spots, tmp_path, capsys, extra, reason
):
    out = tmp_path / "run"
    given = ["train", str(classifier), "--data", str(spots), "--out", str(out)]
    assert main([*given, *as_options(MASK), *extra]) == 2
    assert reason in capsys.readouterr().err
    assert not out.exists()


def test_a_classifier_is_not_trained_with_a_decoder_that_learns_nothing(spots, tmp_path, capsys):
    given = ["train", "real-bones", "--data", str(spots), "--out", str(tmp_path / "run")]
    assert main([*given, *as_options((*SETTINGS, "mask.stride=8"))]) == 2
    assert "finished classifier" in capsys.readouterr().err


def test_a_backbone_without_fine_features_and_an_ensemble_are_refused():
    from orthoedge.training.model.ensemble import Ensemble

    with pytest.raises(ConfigError, match="several backbones"):
        Ensemble(("test_efficientnet", "test_resnet"), 2).add_decoder(8, 8)


def test_a_unets_outlines_soften_the_masks_and_stand_in_for_missing_ones(classifier, tmp_path):
    run = load_run(classifier)
    recipe, records = run.recipe, list(run.splits.train[:8])
    marked = next(i for i, record in enumerate(records) if record.mask is not None)
    records.append(dataclasses.replace(records[marked], mask=None))
    data = MaskedDataset(records, recipe.labels, recipe.preprocess, False)
    whole = np.eye(2, 3)
    hard = data.draw_lesion(marked, (), whole, 64)
    assert set(np.unique(hard)) <= {0, 255}
    assert not data.draw_lesion(len(records) - 1, (), whole, 64).any()
    data.soft = np.full((len(records), 16, 16), 128, np.uint8)
    data.soft_weight = 0.4
    soft = data.draw_lesion(marked, (), whole, 64)
    middle = soft[8:-8, 8:-8]  # at the border the U-Net's cells end
    inside = hard[8:-8, 8:-8] > 0
    assert (middle[inside] > 127).all()  # the mask still decides what is lesion
    assert (middle[~inside] < 128).all()
    assert (middle[~inside] == round(0.4 * 128)).all()
    unknown = data.draw_lesion(len(records) - 1, (), whole, 64)
    assert (unknown[8:-8, 8:-8] == 128).all()
    assert data.stored(80).soft is data.soft
    assert len(data.known()) == len(records) - 1


def test_between_cells_the_probability_is_interpolated(masked):
    network = load_run(masked).model
    images = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        cells = network.explain(images).lesion_mask
        pixels = Outliner(network)(images).sigmoid()
    assert pixels.shape == (1, 1, 64, 64)
    coarse = torch.nn.functional.avg_pool2d(pixels, 4)
    assert float((coarse - cells).abs().max()) < 0.3
    assert float(pixels.max()) <= float(cells.max()) + 1e-5


def test_a_killed_training_continues(classifier, masked, spots, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(masked, out)
    (out / "metrics.json").unlink()
    given = ["train", str(classifier), "--data", str(spots), "--out", str(out), "--resume"]
    assert main([*given, *as_options(MASK)]) == 0
    assert (out / "metrics.json").read_bytes() == (masked / "metrics.json").read_bytes()
