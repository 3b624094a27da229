"""The float32 ensemble that a bundle is compared with: a trained one, or one of its shape."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orthoedge.benchmarks.draft import Ensemble
    from orthoedge.benchmarks.records import Missing
    from orthoedge.runtime.bundles import Bundle

NAME = "ensemble"


def open_reference(path: Path, bundle: Bundle) -> Ensemble:
    """The ensemble of --reference: a run folder, which is exported, or an ONNX file.

    Raises:
        DataError: neither, or a network of other labels or another preprocessing than the bundle's.
    """
    from orthoedge.benchmarks.draft import Ensemble
    from orthoedge.runtime.errors import DataError

    if path.is_file():
        return Ensemble(path.read_bytes(), f"the ensemble of {path}", trained=True)

    from orthoedge.compression.export import export
    from orthoedge.training.run import load_run

    run, manifest = load_run(path), bundle.manifest
    if (run.recipe.labels, run.recipe.preprocess) != (manifest.labels, manifest.preprocess):
        raise DataError(f"--reference {path}: its labels or its preprocessing are not the bundle's")
    model = export(run.model, manifest.labels, manifest.preprocess)
    return Ensemble(model, f"the ensemble of {path}", trained=True)


def random_ensemble(bundle: Bundle) -> Ensemble | Missing:
    """The ensemble that the bundle says it came from, with random weights: its time is the same."""
    from orthoedge.benchmarks.draft import Ensemble
    from orthoedge.benchmarks.records import Missing
    from orthoedge.runtime.errors import MissingDependency, OrthoEdgeError

    manifest = bundle.manifest
    teacher = manifest.lineage.teacher
    try:
        from orthoedge.compression.export import export
        from orthoedge.training import ensemble

        fusion = manifest.lineage.teacher_fusion
        model = ensemble.Ensemble(teacher, len(manifest.labels), fusion)
        exported = export(model, manifest.labels, manifest.preprocess)
    except ModuleNotFoundError as error:
        lacking = MissingDependency(error.name or "onnx", "compress", "the float32 ensemble")
        return Missing(what=NAME, why=str(lacking))
    except OrthoEdgeError as error:
        return Missing(what=NAME, why=str(error))
    what = f"{' and '.join(teacher)} with random weights, for their time only"
    return Ensemble(exported, what, trained=False)
