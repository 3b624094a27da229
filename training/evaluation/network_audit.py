"""Audit of a trained network: does it use what has nothing to do with anatomy?

Two questions. Can its features tell which collection a healthy bone comes from? And how far do its
answers move when one thing alone is changed that a reader would look past?
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import cv2
import msgspec
import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from orthoedge.benchmarks.metrics.bootstrap import interval, resamples
from orthoedge.benchmarks.metrics.bootstrap_scores import area
from orthoedge.benchmarks.metrics.classification import Floats, softmax
from orthoedge.benchmarks.schema import Interval
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preprocess import Preprocess
from orthoedge.training.data.appearance import as_jpeg, with_gamma
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.loader import HEALTHY
from orthoedge.training.model.ensemble import Ensemble

Pixels = npt.NDArray[np.uint8]

_MOST = 160  # images that are changed: the interval of a share is then ±0.08 at most
_FOLDS = 5
_PER_FOLD = 2  # patients that every source needs in a fold
_BATCH = 4  # images: see `orthoedge.training.evaluation.predictions`


class SourceProbe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How well features tell where healthy bones come from."""

    sources: tuple[str, ...]
    """Collections that are told apart."""
    images: int
    """Non-affected images of them."""
    auc: Interval
    """Mean one-vs-rest AUC of a logistic regression on patients it was not fitted to."""


class Shift(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How answers move when one thing is changed."""

    change: str
    """What was changed, in words."""
    moved: float
    """Mean absolute change of the probability of the true label."""
    labels: float
    """Share of images whose most probable label changes."""


class NetworkAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Audit of one network on one set of images."""

    probe: SourceProbe | None
    """None: the healthy bones come from one source, or from too few patients."""
    images: int
    """Images that were changed."""
    shifts: tuple[Shift, ...]
    """One per change."""


def audit_network(
    network: Ensemble, features: Floats, data: RadiographDataset, preprocess: Preprocess, seed: int
) -> NetworkAudit:
    """Probe a network's features, and change images one way at a time.

    Args:
        network: to audit.
        features: (N, K), its pooled features of the images of `data`.
        data: whole images.
        preprocess: of the network.
        seed: of the draw, the folds and the bootstrap.

    Raises:
        InputError: a file is no longer a radiograph.
    """
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(data))[:_MOST])
    truth = data.labels[chosen]
    pictures = [read_image(data.records[index].path).pixels for index in chosen]

    def answer(change: Callable[[Pixels], Pixels]) -> npt.NDArray[np.float64]:
        inputs = np.stack([preprocess(change(picture)) for picture in pictures])
        return softmax(_logits(network, inputs))

    before, rows, shifts = answer(lambda picture: picture), np.arange(len(chosen)), []
    for name, change in _CHANGES.items():
        after = answer(change)
        moved = np.abs(after[rows, truth] - before[rows, truth]).mean()
        changed = (after.argmax(1) != before.argmax(1)).mean()
        shifts.append(Shift(change=name, moved=float(moved), labels=float(changed)))
    probe = probe_source(features, data, seed)
    return NetworkAudit(probe=probe, images=len(chosen), shifts=tuple(shifts))


def probe_source(features: Floats, data: RadiographDataset, seed: int) -> SourceProbe | None:
    """Tell the sources of non-affected images apart by a network's features.

    Args:
        features: (N, K) of the images of `data`.
        data: the images.
        seed: of folds and bootstrap.

    Returns:
        None where one source has no such images, or too few patients for the folds.
    """
    if HEALTHY not in data.label_names:
        return None
    healthy = np.flatnonzero(data.labels == data.label_names.index(HEALTHY))
    names, source = np.unique(
        [data.records[index].source for index in healthy], return_inverse=True
    )
    groups = [data.records[index].patient_id for index in healthy]
    patients = [
        len({g for g, s in zip(groups, source, strict=True) if s == k}) for k in range(len(names))
    ]
    if len(names) < 2 or min(patients) < _PER_FOLD * _FOLDS:
        return None
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=seed)
    told = cross_val_predict(
        model, features[healthy], source, groups=groups, cv=folds, method="predict_proba"
    )

    def mean_area(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        columns = [area(told[:, k], source == k, weights) for k in range(len(names))]
        return np.asarray(np.mean(columns, axis=0), np.float64)

    drawn = np.concatenate([mean_area(w) for w in resamples(groups, source, seed)])
    known = interval(float(mean_area(np.ones((1, len(healthy))))[0]), drawn)
    assert known is not None
    return SourceProbe(sources=tuple(map(str, names)), images=len(healthy), auc=known)


def audit_lines(audit: NetworkAudit) -> list[tuple[str, str, str]]:
    """Rows of a table: the change, the mean move of a probability, and the labels changed."""
    return [(s.change, f"{s.moved:.3f}", f"{s.labels:.1%}") for s in audit.shifts]


@torch.inference_mode()
def _logits(network: Ensemble, images: Pixels) -> npt.NDArray[np.float32]:
    network.eval()
    device = next(network.parameters()).device
    parts: Sequence[torch.Tensor] = [
        network(torch.from_numpy(images[start : start + _BATCH, None]).to(device)).cpu()
        for start in range(0, len(images), _BATCH)
    ]
    return torch.cat(list(parts)).numpy()


def _bordered(picture: Pixels) -> Pixels:
    rim = max(1, round(0.06 * max(picture.shape)))
    return np.pad(picture, rim, constant_values=16)


def _marked(picture: Pixels) -> Pixels:
    marked, side = picture.copy(), min(picture.shape)
    where, scale = (side // 20, side // 6), side / 250
    cv2.putText(marked, "L", where, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, max(1, side // 120))  # type: ignore[call-overload]
    return marked


def _halved(picture: Pixels) -> Pixels:
    height, width = picture.shape
    small = cv2.resize(
        picture, (max(1, width // 2), max(1, height // 2)), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)  # type: ignore[return-value]


_CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "a dark border of 6 %": _bordered,
    "a side marker": _marked,
    "half the resolution": _halved,
    "JPEG at quality 40": partial(as_jpeg, quality=40),
    "exposure, gamma 0.7": partial(with_gamma, gamma=0.7),
    "exposure, gamma 1.4": partial(with_gamma, gamma=1.4),
}
