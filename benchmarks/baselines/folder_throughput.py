"""Folders of small radiographs: what a pass over one takes, and what the engine alone takes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.bundles.bundle import SAMPLES
from orthoedge.runtime.errors import DataError, EngineError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.overlay.overlay import to_png
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.subprocesses import module_command
from orthoedge.targets.x86.openvino_module import load_openvino


def samples() -> list[Path]:
    """The phantoms inside the package.

    Raises:
        DataError: there are none in this installation.
    """
    paths = sorted(SAMPLES.glob("*.png"))
    if not paths:
        raise DataError(f"{SAMPLES}: no sample radiograph in this installation")
    return paths


def sample(side: int) -> Pixels:
    """The first phantom inside the package, uint8 (side, side).

    Raises:
        DataError: there is none in this installation.
    """
    return _resized(samples()[0], side)


def sample_images(side: int) -> tuple[Pixels, ...]:
    """All phantoms inside the package, uint8 (side, side) each.

    Raises:
        DataError: there is none in this installation.
    """
    return tuple(_resized(path, side) for path in samples())


def write_pngs(folder: Path, count: int, side: int) -> list[Path]:
    """Write `count` PNG files of 8-bit phantoms, side × side; every turn and flip of the samples.

    Beyond those, files are hard links to others: each is opened and read all the same.

    Raises:
        DataError: no sample in this installation.
    """
    turned = [
        np.ascontiguousarray(np.rot90(flipped, turns))
        for path in samples()
        for whole in [_resized(path, side)]
        for flipped in (whole, whole[:, ::-1])
        for turns in range(4)
    ]
    paths = [folder / f"{number:05}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if number < len(turned):
            write_atomic(path, to_png(turned[number]))
        else:
            os.link(paths[number % len(turned)], path)
    return paths


class AsynchronousEngine:
    """The engine's own queue on a compiled model: images in memory, answers left where they are.

    Args:
        compiled: what `compile_model` returned; it says itself how many requests it wants.
    """

    def __init__(self, compiled: Any) -> None:
        self._queue = load_openvino().AsyncInferQueue(compiled, 0)

    def __call__(self, images: Sequence[Any]) -> None:
        """Infer tensors of uint8 (1, 1, S, S), and wait for the last."""
        for image in images:
            self._queue.start_async({0: image}, None)
        self._queue.wait_all()


def as_tensors(squares: Sequence[Pixels]) -> list[Any]:
    """The engine's view of uint8 (S, S) squares; no copy is made when they are inferred."""
    return [load_openvino().Tensor(square[None, None], shared_memory=True) for square in squares]


def map_all(pipeline: Pipeline, paths: Sequence[Path], workers: int) -> Callable[[], None]:
    """A pass of `Pipeline.map` over files.

    Raises:
        EngineError: when called, if a file had no finding: the pass would be too short.
    """

    def call() -> None:
        for path, found in zip(paths, pipeline.map_results(paths, workers), strict=True):
            if isinstance(found, Exception):
                raise EngineError(f"{path.name}: {found}")

    return call


def predict_folder(bundle: Path, folder: Path, jobs: int) -> Callable[[], None]:
    """A run of `orthoedge predict FOLDER --jobs N`, from its start to its end.

    Raises:
        EngineError: when called, if the command failed.
    """
    command = [*module_command("orthoedge.cli.main"), "predict", str(folder), "--json"]
    command += ["--bundle", str(bundle), "--jobs", str(jobs)]

    def call() -> None:
        done = subprocess.run(
            command,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise EngineError(f"orthoedge predict --jobs {jobs} failed: {reason}")

    return call


def _resized(path: Path, side: int) -> Pixels:
    pixels = read_image(path).pixels
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
