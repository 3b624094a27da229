"""A run with a decoder of lesion masks becomes a bundle that has it throughout."""

import json

import numpy as np
import onnx
import pytest

from orthoedge.cli.main import main
from orthoedge.compression.quantization.float_fallback import layers
from orthoedge.compression.quantization.onnx_rules import lint
from orthoedge.runtime.bundles.bundle import read_bundle
from orthoedge.targets import open_engine
from tests.training.masks.conftest import as_options, classifier, masked, spots

__all__ = ["classifier", "masked", "spots"]

pytestmark = pytest.mark.slow  # a whole compression

RELAXED = [
    f"compress.gate.{precision}.{key}"
    for precision in ("fp32", "int8")
    for key in (
        "max_macro_f1_drop=1", "max_net_flips=1", "max_auc_drop=1", "max_pointing_drop=1",
        "max_alert_sensitivity_drop=1", "max_ece=1", "max_engine_rmse=1", "max_engine_flips=999",
        "min_teacher_cosine=0", "max_dice_drop=0.2",
    )
]  # fmt: skip
QUICK = ("compress.quantization_images=16", "compress.float_layers=0", *RELAXED)


@pytest.fixture(scope="module")
def bundle(masked, spots, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "masked"
    assert main(["compress", str(masked), "--out", str(out), *as_options(QUICK)]) == 0
    return read_bundle(out)


def test_manifest_and_card_state_the_mask_and_its_dice(bundle):
    graph = bundle.manifest.graph
    assert (graph.mask_height, graph.mask_width) == (16, 16)
    assert bundle.manifest.metrics["int8"].dice["spot"] > 0.3
    assert "dice.spot" in bundle.manifest.metrics["int8"].intervals
    card = bundle.files["MODEL_CARD.md"].decode()
    assert "Dice of the masks, spot" in card
    assert "The lesion mask outlines" in card
    assert "outlining or measuring a lesion" not in card


def test_the_report_measures_the_outlines_of_the_int8_file(bundle):
    report = bundle.path.with_name("masked.report")
    assert (report / "outlines" / "evaluation.json").is_file()
    checks = json.loads((report / "report.json").read_text())["gate"]
    assert {c["precision"] for c in checks if c["name"] == "spot Dice drop"} == {"fp32", "int8"}


def test_the_decoder_is_in_integers_but_for_its_last_layer(bundle):
    proto = onnx.load_from_string(bundle.model("int8"))
    assert lint(proto, "int8") == []
    quantized = set(layers(bundle.model("int8")))
    (sigmoid,) = [node for node in proto.graph.node if "lesion_mask" in node.output]
    (last,) = [node for node in proto.graph.node if sigmoid.input[0] in node.output]
    made = {name: node for node in proto.graph.node for name in node.output}
    before = made[made[last.input[0]].input[0]]  # behind a ReLU
    assert before.name in quantized
    assert last.name not in quantized


@pytest.mark.parametrize("target", ["x86", "portable"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_engine_gives_the_golden_mask(bundle, target, precision):
    engine = open_engine(bundle, target, precision)
    images = bundle.golden_images()
    mask = engine.run(images).lesion_mask
    expected = bundle.golden_outputs(precision).lesion_mask
    assert mask.shape == (len(images), 1, 16, 16)
    limit = bundle.manifest.golden.tolerance[precision].lesion_mask
    assert np.abs(mask - expected).max() <= limit * expected.std()


def test_verify_checks_the_mask(bundle, capsys):
    assert main(["verify", str(bundle.path), "--target", "portable"]) == 0
    assert "golden lesion_mask" in capsys.readouterr().out


def test_predict_prints_what_is_outlined(bundle, spots, capsys, tmp_path):
    picture = next(path for path in sorted(spots.glob("*-mask.png")))
    image = picture.with_name(picture.name.replace("-mask", ""))
    arguments = ["predict", str(image), "--bundle", str(bundle.path), "--target", "portable"]
    assert main([*arguments, "--json"]) == 0
    finding = json.loads(capsys.readouterr().out)
    if finding["decision"] != "reject":
        for lesion in finding["lesions"]:
            assert len(lesion["contour"]) >= 3
            assert lesion["diameter_px"] > 0
    assert main([*arguments, "--overlay", str(tmp_path)]) == 0
    assert ("outlined" in capsys.readouterr().out) == (finding["decision"] != "reject")
