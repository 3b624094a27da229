"""The closed-form map against the peer package, and the fused head against its branches."""

from __future__ import annotations

import copy

import cv2
import numpy as np
import onnxruntime
import pytest
import torch
from pytorch_grad_cam import GradCAMPlusPlus
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

from orthoedge.compression.export import export
from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.model.batch_norm import (
    fix_batch_norms,
    release_batch_norms,
    restore_statistics,
    start_running_statistics,
)
from orthoedge.training.model.ensemble import (
    Branch,
    Ensemble,
    align,
    denominator,
    explain,
    grad_cam_weights,
    pads_behind,
)
from orthoedge.training.model.pixels import normalise

CLASSES = 4
NAMES = ("mobilenetv4_conv_small", "efficientnet_b0", "rexnet_100")


class _Pooled(torch.nn.Module):
    """A branch with its feature maps as a layer, for the peer's hooks."""

    def __init__(self, branch: Branch) -> None:
        super().__init__()
        self.branch = branch
        self.maps = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.branch.head(self.maps(self.branch.features(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Twenty blurred random scenes, uint8 (20, 1, 224, 224)."""
    rng = np.random.default_rng(0)
    scenes = []
    for index in range(20):
        noise = rng.uniform(0, 255, (224, 224)).astype(np.float32)
        blurred = cv2.GaussianBlur(noise, (0, 0), 1 + index)
        scenes.append(cv2.normalize(blurred, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8))
    return torch.from_numpy(np.stack(scenes)[:, None])


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
def branch(request: pytest.FixtureRequest, images: torch.Tensor) -> Branch:
    """A branch whose batch normalization has seen the images, so its features are not near zero."""
    torch.manual_seed(0)
    branch = Branch(request.param, CLASSES)
    for module in branch.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    branch.train()
    with torch.no_grad():
        branch(normalise(images[:10]))
    return branch.eval()


@pytest.mark.parametrize(
    ("name", "head"),
    [
        pytest.param("vgg19_bn", "softmax", marks=pytest.mark.slow),
        ("convnextv2_femto", "softmax"),
        ("plain_cnn_8", "sigmoid"),
    ],
)
def test_the_closed_form_is_pytorch_grad_cams_for_every_kind_of_network(name, head, images):
    """Without the export, small, for both classes: through the very logits that are trained."""
    torch.manual_seed(0)
    network = Ensemble((name,), 2, head=head)
    small = images[:4, :, :96, :96].contiguous()
    start_running_statistics(network, [small])
    network.eval()
    maps, x = torch.nn.Identity(), normalise(small)
    branch = network.branches[0]
    features = branch.features
    branch.features = lambda x: maps(features(x))
    for c in (0, 1):
        with GradCAMPlusPlus(model=network, target_layers=[maps]) as peer:
            peer(small, [ClassifierOutputTarget(c)] * 4)
            gradients = peer.activations_and_grads.gradients[0].numpy()
            activations = peer.activations_and_grads.activations[0].numpy()
            theirs = np.maximum(peer.get_cam_image(None, maps, [c] * 4, activations, gradients), 0)
        with torch.no_grad():
            ours = explain(features(x), *network.head()).saliency_map[:, c].numpy()
        assert ours.max() > 0
        # float32 rounding of sums over some hundred channels
        assert np.abs(_unit(ours) - _unit(theirs)).max() <= 1e-4


def test_one_sigmoid_is_a_softmax_over_two_opposite_logits():
    torch.manual_seed(0)
    network = Ensemble(("plain_cnn_2", "test_resnet"), 2, (0.3, 0.7), head="sigmoid").eval()
    small = torch.randint(0, 256, (3, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        single = torch.stack([b(normalise(small)) for b in network.branches])  # (2, 3, 1)
        z = (torch.tensor([0.3, 0.7])[:, None, None] * single).sum(0)
        logits = network(small)
        explained = network.explain(small)
    assert single.shape == (2, 3, 1)
    # Rounding of float32 in sums of another order.
    assert torch.allclose(logits.softmax(1)[:, 1:], z.sigmoid(), atol=1e-6)
    assert torch.allclose(explained.logits, logits, atol=1e-5)
    assert explained.saliency_map.shape == (3, 2, 2, 2)
    with pytest.raises(ConfigError, match="needs exactly two labels, got 3"):
        Ensemble(("plain_cnn_2",), 3, head="sigmoid")


@pytest.mark.parametrize("name", ["plain_cnn", "plain_cnn_0", "plain_cnn_x", "plain_cnn_999"])
def test_a_plain_network_without_a_sensible_width_is_refused(name):
    with pytest.raises(ConfigError, match="plain_cnn_W with W from 1 to"):
        Branch(name, 2)


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("test_resnet", 0),
        ("test_convnext2", 0),
        # TensorFlow's padding shifts a strided convolution by one pixel.
        pytest.param("tf_efficientnet_lite0", 1, marks=pytest.mark.slow),
    ],
)
def test_a_map_at_half_the_stride_has_the_coarser_map_in_every_second_cell(name, first):
    torch.manual_seed(0)
    coarse = Ensemble((name,), CLASSES).eval()
    fine = Ensemble((name,), CLASSES, output_stride=16).eval()
    fine.load_state_dict(coarse.state_dict())
    x = torch.randn(1, 1, 128, 128)
    with torch.no_grad():
        expected, features = coarse.features(x), fine.features(x)
    assert features.shape[2:] == (8, 8)
    second = features[:, :, first::2, first::2]
    # float32 sums in another order
    torch.testing.assert_close(second, expected, atol=1e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize(("name", "first"), [("test_resnet", 0), ("tf_efficientnet_lite0", 1)])
def test_a_finer_map_lies_where_the_coarser_one_does(name, first):
    """Cell j of the finer map stands for the middle of coarse cell i where j = 2i + first."""
    behind = pads_behind(Ensemble((name,), CLASSES))
    assert behind is bool(first)
    fine = (torch.arange(8.0) - first) * 16 + 15.5  # pixels, if coarse cell i is at 32i + 15.5
    maps = (fine[:, None] + 1000 * fine)[None, None]
    aligned = align(maps, behind)[0, 0]
    centres = torch.arange(8.0) * 16 + 7.5
    wanted = centres[:, None] + 1000 * centres
    inner = slice(1, 7)  # at the edges the outermost cell is repeated
    torch.testing.assert_close(aligned[inner, inner], wanted[inner, inner])


def test_finer_maps_of_two_kinds_of_padding_are_not_fused():
    names = ("test_resnet", "tf_efficientnet_lite0")
    with pytest.raises(ConfigError, match="pad at different sides"):
        Ensemble(names, CLASSES, output_stride=16)
    Ensemble(names, CLASSES)


@pytest.mark.parametrize("name", ["plain_cnn_8", "vgg11_bn", "mobilenetv4_conv_small"])
def test_a_network_without_a_dilated_form_is_refused(name):
    with pytest.raises(ConfigError, match=f"output_stride: {name} has no dilated form"):
        Ensemble((name,), CLASSES, output_stride=16)


def test_layers_behind_the_pooling_are_not_carried_along():
    for name in ("vgg11", "convnextv2_femto", "mobilenetv4_conv_small"):
        branch = Branch(name, 2)
        loss = branch(torch.rand(2, 1, 64, 64)).sum()
        loss.backward()
        unused = [n for n, p in branch.named_parameters() if p.grad is None]
        assert not unused, (name, unused)


def _unit(maps: np.ndarray) -> np.ndarray:
    low = maps.min((-2, -1), keepdims=True)
    return (maps - low) / (maps.max((-2, -1), keepdims=True) - low + 1e-12)


def _graph_maps(branch: Branch, images: torch.Tensor) -> np.ndarray:
    """Saliency maps out of the exported graph, as any device gets them: (N, C, h, w)."""
    student = Ensemble((branch.name,), CLASSES)
    student.branches[0] = branch
    model = export(student, tuple("abcd"), STANDARD)
    (maps,) = onnxruntime.InferenceSession(model).run(["saliency_map"], {"image": images.numpy()})
    return maps


def test_the_map_of_the_graph_is_pytorch_grad_cams(branch, images):
    x = normalise(images)
    ours = _graph_maps(branch, images)
    model = _Pooled(branch)
    with GradCAMPlusPlus(model=model, target_layers=[model.maps]) as peer:
        truth = [index % CLASSES for index in range(len(images))]
        # The package resizes its map to the image: take it where it is still (h, w).
        peer(x, [ClassifierOutputTarget(c) for c in truth])
        gradients = peer.activations_and_grads.gradients[0].numpy()
        activations = peer.activations_and_grads.activations[0].numpy()
        theirs = peer.get_cam_image(None, model.maps, truth, activations, gradients)
    theirs = np.maximum(theirs, 0)
    chosen = ours[np.arange(len(images)), truth]
    assert chosen.shape == theirs.shape
    assert (chosen.max((1, 2)) > 0).all()
    # float32 rounding of sums over some 1,000 channels
    assert np.abs(_unit(chosen) - _unit(theirs)).max() <= 1e-4


def test_the_mean_of_the_cam_plus_bias_is_the_logit(branch, images):
    with torch.no_grad():
        features = branch.features(normalise(images[:4]))
        cam = torch.einsum("ck,nkhw->nchw", branch.head.weight, features)
        logits = explain(features, branch.head.weight, branch.head.bias).logits
        assert torch.allclose(cam.mean((2, 3)) + branch.head.bias, logits, atol=1e-4)
        assert torch.allclose(branch(normalise(images[:4])), logits, atol=1e-4)


def test_the_denominator_stays_positive(branch, images):
    with torch.no_grad():
        features = branch.features(normalise(images))
        total = features.sum((2, 3))[:, None]
        gradient = branch.head.weight / (features.shape[2] * features.shape[3])
        assert denominator(total, gradient).min() > 0


def test_features_below_zero_never_weigh_against_a_class_nor_without_limit():
    """A weight is W at most and 0 at least, which W·mean(F) at or under -2 used to break."""
    weight = torch.tensor([[0.05, 0.5, 4.0, 40.0]])
    depths = torch.tensor([-10.0, -1.0, 0.0, 1.0])
    poles = -2 / weight[0]  # where 2g² + S g³ is zero, channel by channel
    pooled = torch.cat((depths[:, None].expand(-1, 4), poles[None], 1.01 * poles[None]))
    features = pooled[:, :, None, None].expand(-1, -1, 7, 7)
    weights = grad_cam_weights(features, weight)
    assert weights.min() >= 0
    # float32 rounding of a sum over 49 cells
    assert (weights <= weight * (1 + 1e-6)).all()
    maps = explain(-features.abs(), weight, torch.zeros(1)).saliency_map
    assert maps.max() == 0, "what speaks against the class everywhere lights up nowhere"


def test_the_fused_head_is_the_weighted_sum_of_its_branches():
    torch.manual_seed(0)
    model = Ensemble(("test_efficientnet", "test_resnet"), CLASSES, (0.4, 0.6)).eval()
    images = torch.randint(0, 256, (5, 1, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        first, second = (branch(normalise(images)) for branch in model.branches)
        explained = model.explain(images)
        assert torch.allclose(model.fusion(), torch.tensor([0.4, 0.6]))
        # float32 rounding, logits are of order 1
        assert torch.allclose(explained.logits, 0.4 * first + 0.6 * second, atol=1e-5)
        assert torch.allclose(explained.logits, model(images), atol=1e-5)
    assert explained.saliency_map.shape == (5, CLASSES, 2, 2)
    assert (explained.saliency_map >= 0).all()


def test_branches_with_maps_of_two_sizes_and_unknown_names_are_refused():
    with pytest.raises(ConfigError, match="no model named resnet_of_mine"):
        Ensemble(("resnet_of_mine",), 2)
    with pytest.raises(ConfigError, match="expected 2 positive weights"):
        Ensemble(("test_efficientnet", "test_resnet"), 2, (1.0, 0.0))
    mixed = Ensemble(("test_efficientnet", "efficientvit_m0"), 2)
    with pytest.raises(ConfigError, match="equally large"):
        mixed.explain(torch.zeros(1, 1, 224, 224, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_tiny_patch16_224", "needs a fixed image size"),
        ("test_vit4", r"not a map \(B, K, h, w\)"),
    ],
)
def test_a_backbone_without_a_map_is_refused(name, message):
    with pytest.raises(ConfigError, match=message):
        Branch(name, 2)


@pytest.mark.parametrize(
    "names",
    [pytest.param(("efficientnet_b0", "rexnet_100"), marks=pytest.mark.slow), ("resnet18",)],
)
def test_fixed_batch_norms_compute_the_same_and_load_into_a_plain_network(names, images):
    torch.manual_seed(0)
    network, small = Ensemble(names, CLASSES), images[:, :, ::3, ::3]
    fix_batch_norms(copy.deepcopy(network), [])  # without batches: the statistics as they are
    start_running_statistics(network, [small])
    with torch.inference_mode():
        expected = network.eval()(small)
    fixed = copy.deepcopy(network)
    fix_batch_norms(fixed, [])
    plain = Ensemble(names, CLASSES).eval()
    plain.load_state_dict(fixed.state_dict())
    assert list(fixed.state_dict()) == list(network.state_dict())
    with torch.inference_mode():
        for folded in (fixed.train(), plain):  # statistics of the batch play no part in training
            for module in folded.modules():
                module.training = module.training and not isinstance(module, torch.nn.Dropout)
            # Folding rounds each weight once: some 1e-7 a layer.
            torch.testing.assert_close(folded(small), expected, rtol=1e-4, atol=1e-4)


def test_fixed_batch_norms_take_the_mean_and_variance_of_the_given_images(images):
    torch.manual_seed(0)
    network = Ensemble(("test_efficientnet",), CLASSES)
    fix_batch_norms(network, [images[:10, :, ::2, ::2], images[10:, :, ::2, ::2]])
    with torch.inference_mode():
        x = network.branches[0].backbone.conv_stem(normalise(images[:, :, ::2, ::2]))
    # The bias is folded in: mean 0 and variance 1 over the images, the variance unbiased.
    torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(x.shape[1]), rtol=0, atol=1e-3)
    torch.testing.assert_close(x.var((0, 2, 3)), torch.ones(x.shape[1]), rtol=0.2, atol=0)


def test_folded_weights_are_folded_again_as_they_are_and_can_be_released(images):
    torch.manual_seed(0)
    small = images[:, :, ::3, ::3]
    first, again = (Ensemble(("efficientnet_b0",), CLASSES) for _ in range(2))
    fix_batch_norms(first, [small])
    again.load_state_dict(first.state_dict())
    fix_batch_norms(again, [small])
    kinds = {type(module) for module in Ensemble(("efficientnet_b0",), CLASSES).modules()}
    with torch.inference_mode():
        expected = first.eval()(small)
        torch.testing.assert_close(again.eval()(small), expected)
        release_batch_norms(again)
        assert {type(module) for module in again.modules()} == kinds
        torch.testing.assert_close(again(small), expected, rtol=1e-4, atol=1e-4)
    assert all(parameter.requires_grad for parameter in again.parameters())


def test_a_folded_network_gets_statistics_back_and_computes_the_same(images):
    torch.manual_seed(0)
    small = images[:, :, ::3, ::3]
    network = Ensemble(("efficientnet_b0",), CLASSES)
    fix_batch_norms(network, [small])
    release_batch_norms(network)
    with torch.inference_mode():
        expected = network.eval()(small)
    restore_statistics(network, small.split(8))
    with torch.inference_mode():
        torch.testing.assert_close(network(small), expected, rtol=1e-4, atol=1e-4)
        norm = network.branches[0].backbone.bn1
        x = network.branches[0].backbone.conv_stem(normalise(small))
    torch.testing.assert_close(norm.running_mean, x.mean((0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(norm.running_var, x.var((0, 2, 3)), rtol=1e-2, atol=1e-6)


def test_a_network_that_was_never_folded_keeps_its_statistics(images):
    torch.manual_seed(0)
    network = Ensemble(("efficientnet_b0",), CLASSES)
    start_running_statistics(network, [images[:, :, ::3, ::3]])
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    restore_statistics(network, [images[:4, :, ::3, ::3]])
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_logits_and_map_are_those_of_the_two_separate_passes(images):
    torch.manual_seed(0)
    network = Ensemble(("efficientnet_b0", "resnet18"), CLASSES, fusion=(0.3, 0.7)).eval()
    small, labels = images[:4, :, ::3, ::3], torch.tensor([0, 3, 1, 2])
    with torch.inference_mode():
        logits, maps = network.logits_and_map(small, labels)
        torch.testing.assert_close(logits, network.all_logits(small))
        expected = network.explain(small).saliency_map[torch.arange(4), labels]
    torch.testing.assert_close(maps, expected)
