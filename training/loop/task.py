"""What the training loop asks of the thing that is learned."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lightning_fabric import Fabric

from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.loop.step import Network, Stepper
from orthoedge.training.model.hub import WeightsFile
from orthoedge.training.model.weights import WeightsReport
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import EpochRow, Record

Data = TypeVar("Data", bound=RadiographDataset)
Row = TypeVar("Row", bound=EpochRow)
Result = TypeVar("Result", bound=Record)


@dataclass(frozen=True)
class TrainedEpoch:
    """The training half of an epoch."""

    number: int
    """From 1."""
    loss: float
    """Mean over the images."""
    score: float
    """The same: accuracy of a classifier, Dice of outlines."""
    lr: float
    """Learning rate of the last step."""
    images_per_second: float
    """Training images per second of the training steps alone."""
    begun: float
    """`time.monotonic` at its start."""

    @property
    def seconds(self) -> float:
        """Wall time since the epoch began."""
        return time.monotonic() - self.begun


@dataclass(frozen=True)
class Finished(Generic[Network, Data, Row]):
    """A trained network and the data that it is measured on."""

    out: Path
    """The run folder."""
    network: Network
    """With the best weights, on its device."""
    val: Data
    test: Data
    epochs: Sequence[Row]
    """All epochs."""
    best: int
    """The best one, from 1."""
    command: str
    """Command line, for the reader of a report."""


class Task(ABC, Generic[Network, Data, Row, Result]):
    """One kind of training: its data, network, loss and metrics.

    Args:
        recipe: every setting.
    """

    dataset: type[Data]
    """What the images of a split are read into."""
    epoch: type[Row]
    """Kind of the lines of log.csv."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.recorded = recipe
        """What the run folder records; differs where a stage has settings of its own."""

    def read(self, records: Sequence[ImageRecord], progress: bool, cache: Path | None) -> Data:
        """Read the images of a split.

        Raises:
            DataError: unusable images, or a cache that cannot be written.
        """
        recipe = self.recipe
        labels, own = recipe.labels, recipe.source_labels
        return self.dataset(records, labels, recipe.preprocess, progress, cache, own)

    @abstractmethod
    def build(self) -> Network:
        """Build the network with random weights, and check that it fits the recipe.

        Raises:
            ConfigError: an unknown backbone, or one that does not fit.
        """

    @abstractmethod
    def weights(self, given: Sequence[Path]) -> tuple[WeightsFile, ...]:
        """Find the files behind `--weights`.

        Raises:
            DataError: the hub has no such weights, or cannot be reached.
        """

    @abstractmethod
    def load(self, network: Network, file: WeightsFile) -> WeightsReport:
        """Load the tensors of a file that fit.

        Raises:
            DataError: not a safetensors file, or nothing in it fits.
        """

    @abstractmethod
    def audit(self, out: Path, records: Sequence[ImageRecord], resumed: bool) -> None:
        """Examine the whole set before training, and write what a reader must know into `out`."""

    @abstractmethod
    def stepper(
        self, network: Network, fabric: Fabric, train: Data, steps: int
    ) -> Stepper[Network]:
        """Set up the training of a network on a split, with `steps` per epoch."""

    @abstractmethod
    def validate(self, network: Network, val: Data, trained: TrainedEpoch) -> Row:
        """Measure an epoch on the validation split."""

    @abstractmethod
    def finish(self, run: Finished[Network, Data, Row]) -> Result:
        """Evaluate the best weights, write curves and report, and return metrics.json."""
