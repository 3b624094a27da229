"""What is killed and starved of disk: the package's writers, as jobs on one folder."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np

TESTS = Path(__file__).parents[2]
EPOCHS = 3
Act = Callable[[Path], "int | None"]


@dataclass(frozen=True)
class Job:
    """One action that writes into a folder."""

    act: Act
    """As it is done in earnest, also over what is there already and after a kill."""
    before: Act | None = None
    """Lays down what was there before; None: nothing."""
    resumes: bool = False
    """It takes long and goes on where it was killed; else it starts again."""
    varies: tuple[str, ...] = ()
    """Patterns of files that are never twice the same, for they hold times."""
    alone: bool = False
    """Each file stands for itself, as in a cache."""
    marker: str = ""
    """Name of the file that is absent while the others may not belong together."""


def jobs(inputs: Path) -> dict[str, Job]:
    """All of them, on what `prepare` made in `inputs`."""
    caches = {
        "compile cache": (_compile, ("*.openvino",)),
        "precision cache": (_precision, ("*.openvino", "*.precision")),
        "plan store": (_plan, ("*.timings",)),
        "image cache": (_images, ()),
    }
    return {
        "training": Job(
            partial(_train, inputs),
            resumes=True,
            varies=("log.csv", "last.pt", "events.*"),
        ),
        "compression": Job(
            partial(_compress, inputs), resumes=True, varies=("report.*", "front.png", "*.pt")
        ),
        "evaluation": Job(
            partial(_evaluate, inputs, "data"),
            partial(_evaluate, inputs, "other"),
            marker="evaluation.json",
        ),
        "compression report": Job(
            partial(_report, inputs, "second"),
            partial(_report, inputs, "first"),
            marker="report.json",
        ),
        "bundle": Job(partial(_bundle, inputs)),
        **{
            name: Job(
                partial(act, inputs),
                partial(_damaged, partial(act, inputs)),
                varies=varies,
                alone=True,
            )
            for name, (act, varies) in caches.items()
        },
    }


def prepare(inputs: Path, names: list[str]) -> None:
    """Make what the jobs of these names start from."""
    from orthoedge.training.phantoms.render import write_phantoms

    small = {"bundle", "compile cache", "precision cache", "plan store"}
    if small & set(names):
        _write_small(inputs / "small")
    if set(names) <= small:
        return
    for name, count, seed in (("data", 64, 1), ("other", 32, 2)):
        write_phantoms(inputs / name, count, seed, size=96)
    if {"compression", "evaluation", "compression report"} & set(names):
        assert _train(inputs, inputs / "trained") == 0
    if "compression report" in names:
        assert _compress(inputs, inputs / "compressed") == 0


def _train(inputs: Path, folder: Path) -> int:
    from orthoedge.cli.main import main

    words = ["train", "tiny", "--data", str(inputs / "data"), "--out", str(folder / "run")]
    words += ["--resume", "--cache", str(folder / "cache")]
    settings = ("backbones=test_efficientnet", "fusion=", f"epochs={EPOCHS}", "ema=0.9", "batch=16")
    return main([*words, *(word for setting in settings for word in ("--set", setting))])


def _compress(inputs: Path, folder: Path) -> int:
    from orthoedge.cli.main import main

    # Killed once the bundle was there: reliability.md says what may be left and be removed.
    if (folder / "bundle").exists():
        shutil.rmtree(folder / "bundle.work", ignore_errors=True)
        return 0
    words = ["compress", str(inputs / "trained/run"), "--out", str(folder / "bundle")]
    words += ["--cache", str(folder / "cache"), "--set", "compress.prune="]
    return main([*words, "--set", f"compress.epochs={EPOCHS}", "--set", "compress.batch=16"])


def _evaluate(inputs: Path, data: str, folder: Path) -> int:
    from orthoedge.cli.main import main

    words = ["evaluate", str(inputs / "trained/run"), "--data", str(inputs / data)]
    words += ["--out", str(folder / "report"), "--cache", str(inputs / "cache"), "--allow-seen"]
    return main(words)


def _report(inputs: Path, recipe: str, folder: Path) -> None:
    from orthoedge.compression.report import write_report
    from orthoedge.compression.report.schema import CompressionReport
    from orthoedge.training.run_folder import read_record

    report = read_record(inputs / "compressed/bundle.report/report.json", CompressionReport)
    write_report(folder, msgspec.structs.replace(report, recipe=recipe))


def _bundle(inputs: Path, folder: Path) -> None:
    from orthoedge.compression.bundle_writer import write_bundle
    from orthoedge.runtime.bundles.bundle import read_bundle

    if (folder / "bundle").exists():
        read_bundle(folder / "bundle")
        return
    bundle = read_bundle(inputs / "small")
    models = {precision: bundle.model(precision) for precision in ("fp32", "int8")}
    golden = {precision: bundle.golden_outputs(precision) for precision in models}
    images = bundle.golden_images()
    write_bundle(folder / "bundle", bundle.manifest, models, images, golden, "# Card\n")


def _compile(inputs: Path, folder: Path) -> None:
    from orthoedge.runtime.bundles.bundle import read_bundle
    from orthoedge.runtime.settings import EngineOptions
    from orthoedge.targets.x86.engine import OpenVinoEngine

    bundle = read_bundle(inputs / "small")
    size = bundle.manifest.graph.size
    engine = OpenVinoEngine(bundle.model("int8"), size, "int8", EngineOptions(1, folder))
    engine.run(bundle.golden_images())


def _precision(inputs: Path, folder: Path) -> None:
    from orthoedge.runtime.bundles.bundle import read_bundle
    from orthoedge.runtime.settings import EngineOptions
    from orthoedge.targets.x86.precision import measure_precision

    measure_precision(read_bundle(inputs / "small"), EngineOptions(1, folder))


def _plan(inputs: Path, folder: Path) -> None:
    from orthoedge.runtime.bundles.bundle import read_bundle
    from orthoedge.targets.jetson.plan_cache import build_into, load_plan
    from tests.helpers.jetson.open_plans import ORIN, TEN

    model = read_bundle(inputs / "small").model("int8")
    build_into(folder, TEN.tensorrt, ORIN, model)
    assert load_plan(model, ORIN, folder)[0] is not None


def _images(inputs: Path, folder: Path) -> None:
    from orthoedge.runtime.preprocess import STANDARD
    from orthoedge.training.data.cache import preprocessed

    paths = sorted((inputs / "data/images").iterdir())
    made = preprocessed(paths, STANDARD, folder, progress=False)
    assert len(made) == len(paths)
    assert np.asarray(made["pixels"]).any()


def _damaged(act: Act, folder: Path) -> None:
    act(folder)
    for file in folder.rglob("*"):
        if file.is_file():
            file.write_bytes(file.read_bytes()[:-7])


def _write_small(folder: Path) -> None:
    from orthoedge.compression.bundle_writer import write_bundle
    from orthoedge.runtime.engine import Outputs

    made = _module(TESTS / "conftest.py")
    models = {"fp32": made.small_model(integer=False), "int8": made.small_model(integer=True)}
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (4, 1, made.SIZE, made.SIZE), dtype=np.uint8)
    golden = {name: Outputs(*made.reference(model, images)) for name, model in models.items()}
    write_bundle(folder, made.small_manifest(), models, images, golden, "# Card\n")


def _module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("tests_conftest", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
