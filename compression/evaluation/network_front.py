"""Front of networks: finished runs at several input sizes and output strides.

`python -m orthoedge.compression.evaluation.network_front OUT RUN [SIZE/STRIDE ...] [RUN ...]`
measures each variant on its run's test split, quantizes it, and times all of them in one
interleaved run. In the place of SIZE/STRIDE a file FILE.onnx is a network that no run holds, such
as a cut one; it is measured on the images of the run before it, at that run's size. OUT keeps what
is measured, so that a second call only times, on a machine that is quiet then, or with
`ONEDNN_MAX_CPU_ISA` set to an older instruction set.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from orthoedge.benchmarks.machine import describe_machine
from orthoedge.benchmarks.metrics.bootstrap import interval, mean_intervals, resamples
from orthoedge.benchmarks.metrics.bootstrap_scores import area
from orthoedge.benchmarks.metrics.classification import points_at
from orthoedge.benchmarks.metrics.pareto import pareto_front
from orthoedge.benchmarks.schema import Interval
from orthoedge.benchmarks.timing.latency import Timings, interleaved, ratio
from orthoedge.compression.data_splits import balanced_indices
from orthoedge.compression.export import export
from orthoedge.compression.quantization.cpu_form import for_cpus
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.engine import PRECISIONS, Precision
from orthoedge.targets import open_model
from orthoedge.targets.cpu import available_cores
from orthoedge.targets.engine_utils import run_batched
from orthoedge.training.data.cache import cache_folder
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord
from orthoedge.training.evaluation.by_source import ask_sources, source_auc_interval
from orthoedge.training.model.ensemble import build
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run, load_run, read_record, write_record

REACH = 1 / 7
"""Side of the place that a peak stands for, of the input's side: a cell of the coarsest map."""
_USAGE = "usage: network_front OUT RUN [SIZE/STRIDE | FILE.onnx ...] [RUN ...]"
_ONNX = ".onnx"
_FORM = "224/32"  # of a run that is named without any
_RANGE_IMAGES = 300
_ROUNDS, _WARMUP = 60, 3
_MARKERS = "os^D"  # by label
_POOL = 10  # range images are chosen from every tenth training image, so that few are decoded


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A network at one input size and output stride, on the test split."""

    network: str
    """Name of the run's folder, or of the ONNX file."""
    size: int
    """Side of the input in pixels."""
    stride: int
    """Pixels of the input per cell of the map."""
    cells: int
    """A side of the map."""
    auc: dict[str, Interval]
    """By question, within the one collection that can answer it; float32."""
    auc_int8: dict[str, float]
    """The same in INT8."""
    mean_auc_int8: Interval
    """Mean over the questions."""
    near: dict[str, Interval]
    """Share of maps whose peak is within half of `REACH` of a box, by label."""
    inside: dict[str, Interval]
    """Share of maps whose peak lies inside a box."""

    @property
    def name(self) -> str:
        """Network, size and stride."""
        return f"{self.network} {self.size}/{self.stride}"


def measure(folder: Path, form: str, out: Path, cache: Path) -> Variant:
    """Export, quantize and measure one variant; what a former call has done is read.

    Args:
        folder: a run of one network, whose recipe has `source_labels`.
        form: size and stride, such as 288/32, or the path of an ONNX file for the run's images.
        out: folder of the results and the ONNX files.
        cache: folder of preprocessed images.
    """
    file = Path(form) if form.endswith(_ONNX) else None
    name = folder.name if file is None else file.stem
    kept = out / f"{name}{'' if file else '-' + form.replace('/', '-')}.json"
    if kept.is_file():
        return read_record(kept, Variant)
    run = load_run(folder)
    if file is None:
        recipe, fp32 = _exported(run, *map(int, form.split("/")))
    else:
        recipe, fp32 = run.recipe, file.read_bytes()
    size = recipe.preprocess.size
    drawn = _read(run.splits.train[::_POOL], recipe, cache)
    ranges = drawn.images[balanced_indices(drawn, _RANGE_IMAGES, recipe.seed)][:, None]
    int8 = for_cpus(quantize(fp32, ranges), fp32, ranges)  # the form that x86 runs
    data = _read(run.splits.test, recipe, cache)
    outputs = run_batched(open_model(fp32, size, "x86", "fp32"), data.images[:, None])
    small = run_batched(open_model(int8, size, "x86", "int8"), data.images[:, None])
    maps = outputs.saliency_map[np.arange(len(data)), data.labels]
    near, inside = (_pointing(maps, data, reach, recipe.seed) for reach in (REACH, 0.0))
    mean = source_auc_interval(small.logits, data, recipe.seed)
    assert mean is not None  # the recipe has labels of collections
    variant = Variant(
        network=name,
        size=size,
        stride=recipe.output_stride,
        cells=maps.shape[1],
        auc=_auc(outputs.logits, data, recipe),
        auc_int8={q: auc.value for q, auc in _auc(small.logits, data, recipe).items()},
        mean_auc_int8=mean,
        near=near,
        inside=inside,
    )
    write_atomic(_file(variant, out, "fp32"), fp32)
    write_atomic(_file(variant, out, "int8"), int8)
    write_record(kept, variant)
    return variant


def _exported(run: Run, size: int, stride: int) -> tuple[Recipe, bytes]:
    preprocess = msgspec.structs.replace(run.recipe.preprocess, size=size)
    recipe = msgspec.structs.replace(run.recipe, preprocess=preprocess, output_stride=stride)
    network = build(recipe)
    network.load_state_dict(run.model.state_dict())
    return recipe, export(network, recipe.labels, preprocess)


def _read(records: Sequence[ImageRecord], recipe: Recipe, cache: Path) -> RadiographDataset:
    preprocess, own = recipe.preprocess, recipe.source_labels
    return RadiographDataset(records, recipe.labels, preprocess, cache=cache, source_labels=own)


def _auc(
    logits: npt.NDArray[np.float32], data: RadiographDataset, recipe: Recipe
) -> dict[str, Interval]:
    known = {}
    for asked in ask_sources(logits, data):
        groups = [data.records[index].patient_id for index in asked.images]
        weights = resamples(groups, asked.positive.astype(np.int64), recipe.seed)
        drawn = np.concatenate([area(asked.scores, asked.positive, w) for w in weights])
        value = float(area(asked.scores, asked.positive, np.ones((1, len(groups))))[0])
        if (auc := interval(value, drawn)) is not None:
            known[asked.question] = auc
    return known


def _pointing(
    maps: npt.NDArray[np.float32], data: RadiographDataset, reach: float, seed: int
) -> dict[str, Interval]:
    groups = [record.patient_id for record in data.records]
    hits = np.array(
        [
            points_at(own, boxes, reach) if boxes else np.nan
            for own, boxes in zip(maps, data.boxes, strict=True)
        ]
    )
    columns = np.array(
        [np.where(data.labels == k, hits, np.nan) for k in range(data.labels.max() + 1)]
    )
    shares = mean_intervals(columns, groups, data.labels, seed)
    return {data.label_names[k]: share for k, share in enumerate(shares) if share is not None}


def time_variants(variants: Sequence[Variant], out: Path) -> dict[tuple[str, str], Timings]:
    """Time all files of the variants on OpenVINO, interleaved, by name and precision."""
    calls = {}
    for variant in variants:
        image = np.full((1, 1, variant.size, variant.size), 90, np.uint8)
        for precision in PRECISIONS:
            engine = open_model(
                _file(variant, out, precision).read_bytes(), variant.size, "x86", precision
            )
            calls[variant.name, precision] = partial(engine.run, image)
    named = {"/".join(key): call for key, call in calls.items()}
    times = interleaved(named, rounds=_ROUNDS, warmup=_WARMUP)
    return {key: times["/".join(key)] for key in calls}


def table(variants: Sequence[Variant], times: dict[tuple[str, str], Timings]) -> str:
    """Markdown: a row for each variant, times relative to the first one's."""
    first = variants[0]
    questions, labels = tuple(first.auc), tuple(first.near)
    heads = ["network, input / stride", "map", *(f"AUC {q}" for q in questions)]
    heads += ["the same in INT8", "mean in INT8"]
    heads += [f"peak near: {label}" for label in labels]
    heads += [f"inside: {label}" for label in labels]
    heads += ["float32, ms", "INT8, ms", "INT8, ratio"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for variant in variants:
        gain = ratio(times[variant.name, "int8"], times[first.name, "int8"])
        cells = [variant.name, f"{variant.cells} × {variant.cells}"]
        cells += [_shown(variant.auc[q]) for q in questions]
        cells.append(", ".join(f"{variant.auc_int8[q]:.3f}" for q in questions))
        cells.append(_shown(variant.mean_auc_int8))
        cells += [_percent(variant.near[label]) for label in labels]
        cells += [_percent(variant.inside[label]) for label in labels]
        cells += [f"{times[variant.name, p].p50:.2f}" for p in PRECISIONS]
        cells.append(f"{gain.p50:.2f} [{gain.low:.2f}, {gain.high:.2f}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def front(variants: Sequence[Variant], times: dict[tuple[str, str], Timings]) -> list[Variant]:
    """Pareto front of the time and the mean AUC in INT8."""
    return pareto_front(variants, lambda v: (times[v.name, "int8"].p50, v.mean_auc_int8.value))


def draw(path: Path, variants: Sequence[Variant], times: dict[tuple[str, str], Timings]) -> None:
    """Draw mean AUC, and the share of peaks near a lesion, over the milliseconds in INT8."""
    from adjustText import adjust_text
    from matplotlib.figure import Figure

    from orthoedge.training.evaluation.plots import COLOURS, save

    figure = Figure(figsize=(9.6, 9.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    networks = list(dict.fromkeys(variant.network for variant in variants))
    texts = []
    for variant in variants:
        colour = COLOURS[networks.index(variant.network) % len(COLOURS)]
        x, auc = times[variant.name, "int8"].p50, variant.mean_auc_int8
        shares = np.array([share.value for share in variant.near.values()])
        above.errorbar(
            x, auc.value, [[auc.value - auc.low], [auc.high - auc.value]], fmt="o", color=colour
        )
        texts.append(above.text(x, auc.value, variant.name, fontsize=8))
        below.plot(np.full(len(shares), x), 100 * shares, ":", color=colour)
        for share, marker in zip(100 * shares, _MARKERS, strict=False):
            below.plot(x, share, marker, color=colour)
    best = front(variants, times)
    steps = [times[v.name, "int8"].p50 for v in best], [v.mean_auc_int8.value for v in best]
    above.step(*steps, "k--", where="post", lw=1)
    above.set_ylabel("mean AUC within the collections, INT8, with 95 % intervals")
    below.set_ylabel("the map's peak lies near the lesion's box, %")
    below.set_xlabel("INT8, ms for one image")
    for label, marker in zip(variants[0].near, _MARKERS, strict=False):
        below.plot([], [], marker, color="black", label=label)
    below.legend(fontsize=8)
    for axis in (above, below):
        axis.grid(alpha=0.3)
    figure.draw_without_rendering()  # fixes the layout, and so the distances in pixels
    adjust_text(texts, ax=above, iter_lim=300)
    save(figure, path, colours=64)


def _shown(value: Interval) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _percent(value: Interval) -> str:
    return f"{value.value:.1%} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _file(variant: Variant, out: Path, precision: Precision) -> Path:
    return out / f"{variant.network}-{variant.size}-{variant.stride}.{precision}.onnx"


def main(out: str, *arguments: str) -> None:
    """Measure and time the variants, print the table and draw the front into OUT/front.png."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    wanted: dict[Path, list[str]] = {}
    for argument in arguments:
        if not (argument.endswith(_ONNX) or re.fullmatch(r"\d+/\d+", argument)):
            wanted[Path(argument)] = []
        elif wanted:
            wanted[list(wanted)[-1]].append(argument)
        else:
            sys.exit(_USAGE)
    if not wanted:
        sys.exit(_USAGE)
    variants = [
        measure(run, form, folder, cache_folder())
        for run, forms in wanted.items()
        for form in forms or (_FORM,)
    ]
    times = time_variants(variants, folder)
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA", "all")
    machine = f"{describe_machine().cpu}, {available_cores()} threads, {limit} instructions"
    print(f"{machine}, {_ROUNDS} rounds\n")
    print(table(variants, times))
    print(f"\nFront: {', '.join(variant.name for variant in front(variants, times))}")
    draw(folder / "front.png", variants, times)


if __name__ == "__main__":
    main(*sys.argv[1:])
