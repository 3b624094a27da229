"""The labelled radiographs of `orthoedge benchmark`: a set of one's own, or phantoms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthoedge.benchmarks.labelled import Labelled

COUNTS = {"quick": 120, "standard": 600, "full": 2000}
"""Radiographs that accuracy is measured on, by mode; fewer where --data holds fewer."""

SEED = 41
"""Of the phantoms: no recipe and no document trains, calibrates or chooses on it."""

_PER_PROCESS = 60  # phantoms: fewer are rendered sooner than another process starts


def has_labels(data: Path) -> bool:
    """Whether --data names labels: a CSV file, a folder with index.csv, or one with sub-folders.

    A folder with nothing but radiographs serves to time, not to judge.
    """
    if not data.is_dir():
        return data.is_file()
    return any(path.name == "index.csv" or path.is_dir() for path in data.iterdir())


@contextmanager
def open_labelled(data: Path | None, labels: Sequence[str], count: int) -> Iterator[Labelled]:
    """Labelled radiographs of --data, or phantoms of a seed that nothing was trained on.

    Phantoms are rendered into a temporary folder, with a progress bar on a terminal, and are gone
    when the context ends: `prepare` them within.

    Args:
        data: as `has_labels` accepts it; None: phantoms.
        labels: of the bundle.
        count: at most so many, of `COUNTS`; drawn in the proportions of the labels.

    Raises:
        DataError: the index cannot be read, or phantoms do not have the bundle's labels.
    """
    if data is not None:
        yield _read(data, count, f"radiographs of {data}")
        return
    import tempfile

    from orthoedge.runtime.errors import DataError
    from orthoedge.training.phantoms.render import LABELS

    if set(labels) != set(LABELS):
        raise DataError(
            f"phantoms have the labels {', '.join(LABELS)}, the bundle has {', '.join(labels)}: "
            "give labelled radiographs with --data"
        )
    with tempfile.TemporaryDirectory(prefix="orthoedge-") as folder:
        _render(Path(folder), count)
        yield _read(Path(folder), count, f"phantoms of seed {SEED}")


def _render(folder: Path, count: int) -> None:
    import sys

    from tqdm import tqdm

    from orthoedge.targets.cores import available_cores
    from orthoedge.training.phantoms.render import write_phantoms

    jobs = max(1, min(available_cores(), count // _PER_PROCESS))
    hidden = not sys.stderr.isatty()
    with tqdm(total=count, desc="phantoms", unit="image", disable=hidden) as bar:
        write_phantoms(
            folder, count, SEED, jobs=jobs, progress=lambda done: bar.update(done - bar.n)
        )


def _read(source: Path, count: int, what: str) -> Labelled:
    from orthoedge.benchmarks.labelled import Labelled, draw
    from orthoedge.training.data.studies import read_index

    studies = read_index(source)
    chosen = [studies[index] for index in draw([s.label for s in studies], count, SEED)]
    few = f"{len(chosen)} of {len(studies)}" if len(chosen) < len(studies) else f"{len(chosen)}"
    return Labelled(
        what=f"{few} {what}",
        images=tuple(study.path for study in chosen),
        labels=tuple(study.label for study in chosen),
        boxes=tuple(study.boxes for study in chosen),
        groups=tuple(study.group for study in chosen),
    )
