"""Throughput of folders of small radiographs: the pipeline, its bound, the command."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from orthoedge.benchmarks.baselines.minimal_pipeline import MinimalInference, native_model
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
from orthoedge.runtime.errors import DataError, EngineError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.overlay.overlay import to_png
from orthoedge.runtime.pipeline import Pipeline
from orthoedge.runtime.preparation.native import find_native_library
from orthoedge.runtime.preparation.prepare import prepare_image
from orthoedge.runtime.preprocess import Pixels
from orthoedge.runtime.subprocesses import module_command


def samples() -> list[Path]:
    """The phantoms inside the package.

    Raises:
        DataError: there are none in this installation.
    """
    paths = sorted(PHANTOM_SAMPLES.glob("*.png"))
    if not paths:
        raise DataError(f"{PHANTOM_SAMPLES}: no sample radiograph in this installation")
    return paths


def sample(side: int) -> Pixels:
    """The first phantom inside the package, uint8 (side, side); raises as `samples` does."""
    return _resized(samples()[0], side)


def sample_images(side: int) -> tuple[Pixels, ...]:
    """All phantoms inside the package, uint8 (side, side) each; raises as `samples` does."""
    return tuple(_resized(path, side) for path in samples())


def write_pngs(folder: Path, count: int, side: int) -> list[Path]:
    """Write `count` PNG files of phantoms, side × side: all rotations and flips of the samples.

    Further files are hard links to these; each is still opened and read. Raises as `samples` does.
    """
    variants = [
        np.ascontiguousarray(np.rot90(flipped, turns))
        for path in samples()
        for whole in [_resized(path, side)]
        for flipped in (whole, whole[:, ::-1])
        for turns in range(4)
    ]
    paths = [folder / f"{number:05}.png" for number in range(count)]
    for number, path in enumerate(paths):
        if number < len(variants):
            write_atomic(path, to_png(variants[number]))
        else:
            os.link(paths[number % len(variants)], path)
    return paths


def folder_passes(
    pipeline: Pipeline, paths: Sequence[Path], cores: int
) -> tuple[Callable[[], None], Callable[[], float]]:
    """A pass of `Pipeline.map_results` over files, and the shortest time that it could take.

    That bound is the time of one core for decoding, for preprocessing with its checks, and for
    inference, divided by `cores`. Each part is run over all files by itself, on one thread, so that
    its code and data stay in the processor's caches; nothing is decided and no finding is made.

    Args:
        pipeline: on x86, with one thread per stream.
        paths: the files.
        cores: that share the work evenly.

    Returns:
        The pass; and a function that measures the bound and returns it in milliseconds.

    Raises:
        EngineError: when the pass is called, a file has no finding: it would be too short.
    """
    manifest = pipeline.bundle.manifest
    library = find_native_library()
    infer = MinimalInference(native_model(pipeline), manifest.graph.size)

    def map_files() -> None:
        for path, finding in zip(paths, pipeline.map_results(paths, workers=1), strict=True):
            if isinstance(finding, Exception):
                raise EngineError(f"{path.name}: {finding}")

    def bound() -> float:
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            start = time.perf_counter()
            images = [read_image(path).pixels for path in paths]
            prepared = [prepare_image(pixels, manifest.preprocess, library) for pixels in images]
            for image in prepared:
                infer.image[0, 0] = image.model_input
                infer()
            return (time.perf_counter() - start) * 1e3 / cores
        finally:
            cv2.setNumThreads(threads)

    return map_files, bound


def predict_folder(bundle: Path, folder: Path, jobs: int) -> float:
    """Milliseconds of `orthoedge predict FOLDER --jobs N`, from its start to its end.

    Raises:
        EngineError: the command failed.
    """
    command = [*module_command("orthoedge.cli.main"), "predict", str(folder), "--json"]
    command += ["--bundle", str(bundle), "--jobs", str(jobs)]

    start = time.perf_counter()
    ended = subprocess.run(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        check=False,
    )
    elapsed = time.perf_counter() - start
    if ended.returncode != 0:
        reason = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
        raise EngineError(f"orthoedge predict --jobs {jobs} failed: {reason}")
    return elapsed * 1e3


def _resized(path: Path, side: int) -> Pixels:
    pixels = read_image(path).pixels
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)
