"""The PyTorch baseline: the original pipeline of this project, which speed-ups refer to.

Two networks in eager PyTorch, logits fused 0.4 / 0.6, and Grad-CAM++ by the pytorch-grad-cam
package on both. Only its time counts: the weights are random, so label and map are meaningless.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from orthoedge.runtime.errors import MissingDependency

BACKBONES = ("efficientnet_b0", "rexnet_100")
FUSION = (0.4, 0.6)

_SIZE = 224
_MEAN = np.array((0.485, 0.456, 0.406), np.float32)  # ImageNet's, as the networks were trained
_STD = np.array((0.229, 0.224, 0.225), np.float32)


class PyTorchGradCamBaseline:
    """CLAHE, resize, two forward passes, fusion, then Grad-CAM++ of the fused label on both.

    The networks run first for the label and once more inside each Grad-CAM++, because the label to
    explain is known only after fusion. This is how the package is used with ensembles.

    Args:
        threads: intra-op threads of PyTorch. The setting holds for the whole process.

    Raises:
        MissingDependency: torch, timm or pytorch-grad-cam is not installed.
    """

    def __init__(self, threads: int, classes: int = 4) -> None:
        try:
            import timm
            import torch
            from pytorch_grad_cam import GradCAMPlusPlus
            from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
        except ImportError as error:
            package = {"pytorch_grad_cam": "grad-cam"}.get(error.name or "", error.name or "torch")
            raise MissingDependency(package, "dev", "the PyTorch baseline") from error
        torch.set_num_threads(threads)
        self._torch = torch
        self.version = str(torch.__version__)
        """Of PyTorch."""
        self._target = ClassifierOutputTarget
        generator_state = torch.get_rng_state()
        torch.manual_seed(0)
        networks: list[Any] = [timm.create_model(name, num_classes=classes) for name in BACKBONES]
        first, second = (network.eval() for network in networks)
        torch.set_rng_state(generator_state)
        # The last activation before pooling: what the package's own guide says to explain.
        self._networks = (first, second)
        self._explainers = (
            GradCAMPlusPlus(model=first, target_layers=[first.bn2]),
            GradCAMPlusPlus(model=second, target_layers=[second.features[-1]]),
        )

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> tuple[int, npt.NDArray[np.float32]]:
        """Classify and explain a radiograph.

        Args:
            pixels: uint8 (H, W), bone bright on dark.

        Returns:
            Index of the label, and the fused map, float32 (224, 224), 0 to 1.
        """
        torch = self._torch
        x = torch.from_numpy(preprocess(pixels))
        with torch.no_grad():
            logits = sum(w * network(x) for w, network in zip(FUSION, self._networks, strict=True))
        label = int(logits.argmax())
        targets = [self._target(label)]
        maps = [explain(input_tensor=x, targets=targets)[0] for explain in self._explainers]
        fused = sum(w * m for w, m in zip(FUSION, maps, strict=True))
        return label, np.asarray(fused, np.float32)


def preprocess(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """CLAHE at full size, stretch to 224, three channels: uint8 (H, W) -> float32 (1, 3, S, S)."""
    enhanced = cv2.createCLAHE(2.0, (8, 8)).apply(pixels)
    square = cv2.resize(enhanced, (_SIZE, _SIZE), interpolation=cv2.INTER_LINEAR)
    rgb = np.repeat(np.asarray(square, np.float32)[..., None], 3, axis=2) / 255
    normal = (rgb - _MEAN) / _STD
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[None], np.float32)
