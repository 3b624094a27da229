"""U-Net: its output, and encoders that start from timm's weights or from a run's."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.model.ensemble import Ensemble
from orthoedge.training.model.hub import WeightsFile
from orthoedge.training.model.pixels import normalise
from orthoedge.training.model.unet import UNet
from orthoedge.training.segmentation.network import load_unet_weights

DECODER = (16, 16, 16, 16, 8)


def unet(encoder, seed=0):
    torch.manual_seed(seed)
    return UNet(encoder, DECODER).eval()


def encoded(network, x):
    return network.unet.encoder(x)[-1]


@pytest.fixture
def image():
    return torch.randint(0, 256, (2, 1, 64, 64), dtype=torch.uint8)


def test_there_is_one_probability_per_pixel_and_at_first_a_small_one(image):
    network = unet("test_resnet")
    with torch.no_grad():
        mask = network.lesion_mask(image)
    assert (mask.shape, mask.dtype) == ((2, 1, 64, 64), torch.float32)
    assert 0 < float(mask.mean()) < 0.2


@pytest.mark.parametrize("encoder", ["test_efficientnet", "test_resnet"])
def test_a_timm_state_for_colour_fills_the_encoder_and_computes_the_same(encoder, tmp_path):
    torch.manual_seed(1)
    peer = timm.create_model(encoder, num_classes=10, in_chans=3).eval()
    save_file(peer.state_dict(), tmp_path / "peer.safetensors")
    network = unet(encoder)
    report = load_unet_weights(network, WeightsFile(tmp_path / "peer.safetensors"))
    assert report.into == encoder
    assert report.loaded == report.wanted
    assert report.missed == ()
    x = torch.rand(2, 1, 64, 64)
    features = timm.create_model(encoder, features_only=True, in_chans=3).eval()
    names = {name.replace(".", "_"): name for name in features.state_dict()}
    state = {names[n.replace(".", "_")]: t for n, t in peer.state_dict().items()
             if n.replace(".", "_") in names}  # fmt: skip
    features.load_state_dict(state)
    with torch.no_grad():
        theirs = features(x.expand(-1, 3, -1, -1))[-1]
        assert torch.allclose(encoded(network, x), theirs, atol=1e-4)


def test_names_that_timm_joins_by_underscores_are_found(tmp_path):
    peer = timm.create_model("test_convnext2", num_classes=10, in_chans=1)
    save_file(peer.state_dict(), tmp_path / "peer.safetensors")
    report = load_unet_weights(unet("test_convnext2"), WeightsFile(tmp_path / "peer.safetensors"))
    assert report.loaded == report.wanted > 50


def test_a_classifiers_run_fills_the_encoder_with_the_branch_that_fits(tmp_path, image):
    torch.manual_seed(2)
    classifier = Ensemble(("test_resnet", "test_efficientnet"), 2).eval()
    save_file(classifier.state_dict(), tmp_path / "model.safetensors")
    network = unet("test_efficientnet")
    report = load_unet_weights(network, WeightsFile(tmp_path / "model.safetensors"))
    assert report.loaded == report.wanted
    x = normalise(image)
    with torch.no_grad():
        stem = classifier.branches[1].backbone
        wanted = stem.blocks(stem.bn1(stem.conv_stem(x)))
        assert torch.allclose(encoded(network, x), wanted, atol=1e-5)


def test_a_run_of_segmentation_fills_everything(tmp_path, image):
    other, network = unet("test_resnet", 3), unet("test_resnet", 4)
    save_file(other.state_dict(), tmp_path / "model.safetensors")
    report = load_unet_weights(network, WeightsFile(tmp_path / "model.safetensors"))
    assert (report.into, report.loaded, report.missed) == ("all", report.wanted, ())
    with torch.no_grad():
        assert torch.equal(network(image), other(image))


def test_what_fits_nothing_and_unknown_encoders_are_refused(tmp_path):
    save_file({"other.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match=r"no tensor fits test_resnet.*other\.weight"):
        load_unet_weights(unet("test_resnet"), WeightsFile(tmp_path / "other.safetensors"))
    with pytest.raises(ConfigError, match=r"segmentation\.encoder: no_such_network makes no U-Net"):
        UNet("no_such_network", DECODER)
