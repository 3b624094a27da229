"""Inputs of `orthoedge benchmark run`: labelled radiographs or phantoms, and the ensemble."""

from __future__ import annotations

import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from orthoedge.benchmarks.metrics.labelled_data import LabelledSet, draw_sample
from orthoedge.benchmarks.run_settings import ReferenceModel
from orthoedge.benchmarks.schema import Skipped
from orthoedge.runtime.bundles.bundle import Bundle
from orthoedge.runtime.errors import DataError, MissingDependency, OrthoEdgeError
from orthoedge.targets.cpu import available_cores

ENSEMBLE = "ensemble"

COUNTS = {"quick": 120, "standard": 600, "full": 2000}
"""Radiographs that accuracy is measured on, by mode; fewer if --data has fewer."""

SEED = 41
"""Of the phantoms: no recipe or document trains, calibrates or selects on it."""

_PER_PROCESS = 60  # phantoms: fewer take less time than the start of another process


def has_labels(data: Path) -> bool:
    """Whether --data has labels: a CSV file, a folder with index.csv, or one with sub-folders.

    A folder with only radiographs is timed, without accuracy.
    """
    if not data.is_dir():
        return data.is_file()
    return any(path.name == "index.csv" or path.is_dir() for path in data.iterdir())


@contextmanager
def open_labelled(data: Path | None, labels: Sequence[str], count: int) -> Iterator[LabelledSet]:
    """Labelled radiographs of --data, or phantoms of a seed that no model was trained on.

    Phantoms are rendered into a temporary folder, with a progress bar on a terminal. The folder is
    removed when the context ends: call `prepare` within.

    Args:
        data: as `has_labels` accepts it; None: phantoms.
        labels: of the bundle.
        count: at most, of `COUNTS`; drawn in the proportions of the labels.

    Raises:
        DataError: the index cannot be read, or phantoms do not have the bundle's labels.
    """
    if data is not None:
        yield _read(data, count, f"radiographs of {data}")
        return
    from orthoedge.training.phantoms.render import LABELS, write_phantoms

    if set(labels) != set(LABELS):
        raise DataError(
            f"phantoms have the labels {', '.join(LABELS)}, the bundle has {', '.join(labels)}: "
            "give labelled radiographs with --data"
        )
    from tqdm import tqdm

    with tempfile.TemporaryDirectory(prefix="orthoedge-") as folder:
        jobs = max(1, min(available_cores(), count // _PER_PROCESS))
        hidden = not sys.stderr.isatty()
        with tqdm(total=count, desc="phantoms", unit="image", disable=hidden) as bar:
            write_phantoms(
                Path(folder), count, SEED, jobs=jobs, progress=lambda n: bar.update(n - bar.n)
            )
        yield _read(Path(folder), count, f"phantoms of seed {SEED}")


def _read(source: Path, count: int, origin: str) -> LabelledSet:
    from orthoedge.training.data.index import read_index

    studies = read_index(source)
    chosen = [studies[index] for index in draw_sample([s.label for s in studies], count, SEED)]
    number = f"{len(chosen)} of {len(studies)}" if len(chosen) < len(studies) else f"{len(chosen)}"
    return LabelledSet(
        description=f"{number} {origin}",
        images=tuple(study.path for study in chosen),
        labels=tuple(study.label for study in chosen),
        boxes=tuple(study.boxes for study in chosen),
        groups=tuple(study.patient_id for study in chosen),
    )


def open_reference(path: Path, bundle: Bundle) -> ReferenceModel:
    """The ensemble of --reference: a run folder, which is exported, or an ONNX file.

    Raises:
        DataError: neither, or its labels or preprocessing differ from the bundle's.
    """
    if path.is_file():
        return ReferenceModel(path.read_bytes(), f"the ensemble of {path}", trained=True)

    from orthoedge.compression.export import export
    from orthoedge.training.run_folder import load_run

    run, manifest = load_run(path), bundle.manifest
    if (run.recipe.labels, run.recipe.preprocess) != (manifest.labels, manifest.preprocess):
        raise DataError(f"--reference {path}: its labels or its preprocessing are not the bundle's")
    model = export(run.model, manifest.labels, manifest.preprocess)
    return ReferenceModel(model, f"the ensemble of {path}", trained=True)


def random_ensemble(bundle: Bundle) -> ReferenceModel | Skipped:
    """The ensemble that the bundle came from, with random weights: its time is the same."""
    manifest = bundle.manifest
    teacher, graph = manifest.lineage.teacher, manifest.graph
    if graph.region_size:
        reason = "its U-Net is not in the manifest; give the run by --reference"
        return Skipped(name=ENSEMBLE, reason=reason)
    stride = 16 if graph.map_height == math.ceil(graph.size / 16) else 32
    try:
        from orthoedge.compression.export import export
        from orthoedge.training.model import ensemble

        fusion = manifest.lineage.teacher_fusion
        model = ensemble.Ensemble(teacher, len(manifest.labels), fusion, output_stride=stride)
        exported = export(model, manifest.labels, manifest.preprocess)
    except ModuleNotFoundError as error:
        lacking = MissingDependency(error.name or "onnx", "compress", "the float32 ensemble")
        return Skipped(name=ENSEMBLE, reason=str(lacking))
    except OrthoEdgeError as error:
        return Skipped(name=ENSEMBLE, reason=str(error))
    description = f"{' and '.join(teacher)} with random weights, for their time only"
    return ReferenceModel(exported, description, trained=False)
