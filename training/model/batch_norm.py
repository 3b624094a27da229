"""Batch normalization: starting statistics from the data, and statistics over several processes.

torch's SyncBatchNorm refuses tensors of the CPU, so the same is written out here for it. Without it
two processes would learn from two small batches, and not follow the loss curve of one process.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import Tensor, distributed, nn

from orthoedge.runtime.errors import ConfigError

_PROBE = 64  # pixels


def start_running_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running mean and variance of every fresh BatchNorm2d from `batches`.

    They start at 0 and 1, and at momentum 0.1 a twentieth of that is left after 30 steps. A stem on
    grey images has a variance near 0.01, so in the first epochs of a small set the 1 would dominate
    the statistics of validation: a network with 95 % accuracy in training mode was at chance in
    validation. Layers with statistics from a file are not changed.

    Args:
        network: changed in place; left in training mode.
        batches: uint8 (B, 1, S, S) each, as training will see them.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momentum = {module: module.momentum for module in norms if _is_fresh(module)}
    if not momentum:
        return
    network.train()
    for module in norms:
        if module in momentum:
            module.momentum = None  # a plain mean over the batches
        else:
            module.eval()
    with torch.no_grad():
        for images in batches:
            network(images)
    for module, value in momentum.items():
        module.momentum = value
    network.train()


@torch.no_grad()
def fix_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Take statistics from `batches` once, and fold them into the convolutions, in place.

    A folded layer only adds its bias, which its convolution does: the network computes the same and
    trains faster. The names and shapes of the weights stay, with mean 0, variance 1 and weight 1,
    so that they load into a network that is not folded. Such weights are folded again as they are:
    statistics of their batches would scale every layer anew.

    Args:
        network: left in training mode.
        batches: uint8 (B, 1, S, S) each, as training will see them; none: statistics as they are.

    Raises:
        ConfigError: a batch normalization does not follow a convolution of its own.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    network.train()
    first = True
    for images in () if all(map(_was_folded, norms)) else batches:
        if first:
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # a plain mean over the batches
            first = False
        network(images)
    network.eval()
    found = convolutions_before_norms(network)
    if len(found) < len(norms) or len(set(found.values())) < len(found):
        raise ConfigError("batch_norm: fixed needs a convolution before each normalization")
    for norm, convolution in found.items():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        convolution.weight.mul_(scale.view(-1, 1, 1, 1))
        own = convolution.bias
        norm.bias.add_(((0 if own is None else own) - norm.running_mean) * scale)
        norm.weight.fill_(1).requires_grad_(False)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.__class__ = _FoldedAct if isinstance(norm, BatchNormAct2d) else _Folded
        if own is not None:
            own.zero_().requires_grad_(False)
        # The bias stays the normalization's: registered here it would be saved and averaged twice.
        # A plain attribute comes before a registered one.
        convolution.__dict__["bias"] = norm.bias
    network.train()


@torch.no_grad()
def restore_statistics(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Give layers that were folded the statistics of their inputs again, in place.

    The network computes the same: weight and bias of each normalization cancel its mean and
    deviation. A folded layer is never normalized by new statistics, and after a cut of channels its
    inputs have others. So a network is restored before a cut, and folded again after it.

    Args:
        network: folded and released; one that never was stays as it is. Left in evaluation mode.
        batches: uint8 (B, 1, S, S) each.
    """
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms or not all(map(_was_folded, norms)):
        return
    moments: dict[nn.Module, Tensor] = {}  # (3, C): pixels, sum of x, sum of x²

    def add(norm: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        x = arguments[0].double()  # the difference of two squares would lose float32's digits
        total = x.sum((0, 2, 3))
        count = torch.full_like(total, x.numel() // x.shape[1])
        sums = torch.stack((count, total, x.square().sum((0, 2, 3))))
        moments[norm] = sums + moments[norm] if norm in moments else sums

    hooks = [norm.register_forward_pre_hook(add) for norm in norms]
    for images in batches:
        network(images)
    for hook in hooks:
        hook.remove()
    for norm in norms:
        count, total, squares = moments[norm]
        mean = total / count
        variance = (squares / count - mean**2).clamp(min=0)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)


def release_batch_norms(network: nn.Module) -> None:
    """Make folded layers plain ones again, in place; the network computes the same."""
    plain: dict[type, type] = {_Folded: nn.BatchNorm2d, _FoldedAct: BatchNormAct2d}
    for module in network.modules():
        if type(module) in plain:
            module.__class__ = plain[type(module)]
        elif isinstance(module, nn.Conv2d):
            module.__dict__.pop("bias", None)
    network.requires_grad_(True)


@torch.no_grad()
def convolutions_before_norms(network: nn.Module) -> dict[nn.BatchNorm2d, nn.Conv2d]:
    """Find the convolution whose output each batch normalization takes, by a pass with zeros."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    was_training = network.training
    network.eval()
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    found: dict[nn.BatchNorm2d, nn.Conv2d] = {}

    def after(module: nn.Module, _: object, output: Tensor) -> None:
        made[id(output)] = module, output  # type: ignore[assignment]  # kept, so that no id is reused

    def before(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if id(arguments[0]) in made:
            found[module] = made[id(arguments[0])][0]  # type: ignore[index]

    hooks = [
        *(
            module.register_forward_hook(after)
            for module in network.modules()
            if isinstance(module, nn.Conv2d)
        ),
        *(norm.register_forward_pre_hook(before) for norm in norms),
    ]
    device = next(network.parameters()).device
    network(torch.zeros(1, 1, _PROBE, _PROBE, dtype=torch.uint8, device=device))
    for hook in hooks:
        hook.remove()
    network.train(was_training)
    return found


class _Folded(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return x


class _FoldedAct(BatchNormAct2d):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.drop(x))  # type: ignore[no-any-return]


def _was_folded(norm: nn.BatchNorm2d) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    unit = torch.full_like(variance, 1 - norm.eps)
    return not mean.any() and bool((norm.weight == 1).all()) and bool(torch.equal(variance, unit))


def _is_fresh(norm: nn.BatchNorm2d) -> bool:
    mean, variance = norm.running_mean, norm.running_var
    return (
        mean is not None and variance is not None and not mean.any() and bool((variance == 1).all())
    )


def share_batch_norms(network: nn.Module) -> None:
    """Make batch normalization in training use the batch of all processes, in place.

    CUDA has torch's SyncBatchNorm; on the CPU the modules become one of the two classes below. The
    names of the weights stay.
    """
    if next(network.parameters()).is_cuda:
        convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]  # replaces children; the root is none of its kinds
        return
    shared = {nn.BatchNorm2d: _SharedBatchNorm, BatchNormAct2d: _SharedBatchNormAct}
    for module in network.modules():
        if type(module) in shared:
            module.__class__ = shared[type(module)]


class _SharedBatchNorm(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return _normalise(self, x) if self.training else super().forward(x)


class _SharedBatchNormAct(BatchNormAct2d):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]
        return self.act(self.drop(_normalise(self, x)))  # type: ignore[no-any-return]


class _Sum(torch.autograd.Function):
    """Sum over all processes, forward and backward."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    backward = forward  # type: ignore[assignment]


def _normalise(norm: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Normalise (B, C, h, w) by mean and variance over the batches of all processes."""
    channels, count = x.shape[1], x.numel() // x.shape[1]
    # float64: the difference of two squares below would lose float32's digits.
    variance, mean = (v.double() for v in torch.var_mean(x.float(), (0, 2, 3), correction=0))
    sums = torch.cat((count * mean, count * (variance + mean**2), mean.new_tensor([count])))
    total: Tensor = _Sum.apply(sums)
    everywhere = total[-1].detach()
    mean = total[:channels] / everywhere
    variance = total[channels:-1] / everywhere - mean**2
    if norm.running_mean is not None and norm.running_var is not None:
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        tracked = int(norm.num_batches_tracked)
        rate = 1 / tracked if norm.momentum is None else norm.momentum  # None: a plain mean
        with torch.no_grad():
            unbiased = variance * everywhere / (everywhere - 1)
            norm.running_mean.lerp_(mean.to(norm.running_mean), rate)
            norm.running_var.lerp_(unbiased.to(norm.running_var), rate)
    scale = (variance + norm.eps).rsqrt()
    shift = -mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight, shift * norm.weight + norm.bias
    shape = (1, channels, 1, 1)
    normalised: Tensor = x.float() * scale.float().view(shape) + shift.float().view(shape)
    return normalised.to(x.dtype)
