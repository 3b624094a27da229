"""Front of finer maps: one run's weights at several input sizes and output strides.

`python -m orthoedge.compression.evaluation.map_front RUN OUT [SIZE/STRIDE ...]` measures each
variant on the run's test split, quantizes it, and times all of them in one interleaved run. OUT
keeps what is measured, so that a second call only times, on a machine that is quiet then.
"""

from __future__ import annotations

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
from orthoedge.training.evaluation.by_source import ask_sources
from orthoedge.training.model.ensemble import build
from orthoedge.training.recipe import Recipe
from orthoedge.training.run_folder import Run, load_run, read_record, write_record

VARIANTS = ("224/32", "224/16", "288/32", "320/32", "256/32", "256/16")
REACH = 1 / 7
"""Side of the place that a peak stands for, of the input's side: a cell of the coarsest map."""
_RANGE_IMAGES = 300
_ROUNDS, _WARMUP = 60, 3
_POOL = 10  # range images are chosen from every tenth training image, so that few are decoded


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """The network at one input size and output stride, on the test split."""

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
    near: dict[str, Interval]
    """Share of maps whose peak is within half of `REACH` of a box, by label."""
    inside: dict[str, Interval]
    """Share of maps whose peak lies inside a box."""

    @property
    def name(self) -> str:
        """Size and stride."""
        return f"{self.size}/{self.stride}"


def measure(run: Run, name: str, out: Path, cache: Path) -> Variant:
    """Export, quantize and measure one variant; what a former call has done is read.

    Args:
        run: a run of one network.
        name: size and stride, such as 288/32.
        out: folder of the results and the ONNX files.
        cache: folder of preprocessed images.
    """
    kept = out / f"{name.replace('/', '-')}.json"
    if kept.is_file():
        return read_record(kept, Variant)
    size, stride = map(int, name.split("/"))
    preprocess = msgspec.structs.replace(run.recipe.preprocess, size=size)
    recipe = msgspec.structs.replace(run.recipe, preprocess=preprocess, output_stride=stride)
    network = build(recipe)
    network.load_state_dict(run.model.state_dict())
    fp32 = export(network, recipe.labels, preprocess)
    drawn = _read(run.splits.train[::_POOL], recipe, cache)
    ranges = drawn.images[balanced_indices(drawn, _RANGE_IMAGES, recipe.seed)][:, None]
    int8 = for_cpus(quantize(fp32, ranges), fp32, ranges)  # the form that x86 runs
    data = _read(run.splits.test, recipe, cache)
    outputs = run_batched(open_model(fp32, size, "x86", "fp32"), data.images[:, None])
    small = run_batched(open_model(int8, size, "x86", "int8"), data.images[:, None])
    maps = outputs.saliency_map[np.arange(len(data)), data.labels]
    near, inside = (_pointing(maps, data, reach, recipe.seed) for reach in (REACH, 0.0))
    variant = Variant(
        size=size,
        stride=stride,
        cells=maps.shape[1],
        auc=_auc(outputs.logits, data, recipe),
        auc_int8={q: auc.value for q, auc in _auc(small.logits, data, recipe).items()},
        near=near,
        inside=inside,
    )
    write_atomic(_file(variant, out, "fp32"), fp32)
    write_atomic(_file(variant, out, "int8"), int8)
    write_record(kept, variant)
    return variant


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
    heads = ["input / stride", "map", *(f"AUC {q}" for q in questions), "the same in INT8"]
    heads += [f"peak near: {label}" for label in labels]
    heads += [f"inside: {label}" for label in labels]
    heads += ["float32, ms", "INT8, ms", "INT8, ratio"]
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for variant in variants:
        gain = ratio(times[variant.name, "int8"], times[first.name, "int8"])
        cells = [variant.name, f"{variant.cells} × {variant.cells}"]
        cells += [_shown(variant.auc[q]) for q in questions]
        cells.append(", ".join(f"{variant.auc_int8[q]:.3f}" for q in questions))
        cells += [_percent(variant.near[label]) for label in labels]
        cells += [_percent(variant.inside[label]) for label in labels]
        cells += [f"{times[variant.name, p].p50:.2f}" for p in PRECISIONS]
        cells.append(f"{gain.p50:.2f} [{gain.low:.2f}, {gain.high:.2f}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(path: Path, variants: Sequence[Variant], times: dict[tuple[str, str], Timings]) -> None:
    """Draw the share of peaks near a box over the milliseconds in INT8, a line for each label."""
    from matplotlib.figure import Figure

    from orthoedge.training.evaluation.plots import COLOURS, save

    figure = Figure(figsize=(7.2, 4.6), layout="constrained")
    axis = figure.subplots()
    for colour, label in zip(COLOURS, variants[0].near, strict=False):
        for stride, marker, line in ((32, "o", "-"), (16, "s", "--")):
            own = [v for v in variants if v.stride == stride]
            x = [times[v.name, "int8"].p50 for v in own]
            y = [100 * v.near[label].value for v in own]
            axis.plot(x, y, line, marker=marker, color=colour, label=f"{label}, stride {stride}")
            for place, variant in zip(zip(x, y, strict=True), own, strict=True):
                axis.annotate(
                    str(variant.size), place, (4, 4), textcoords="offset points", fontsize=8
                )
    axis.set_xlabel("INT8, ms for one image")
    axis.set_ylabel("the map's peak lies near the lesion's box, %")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save(figure, path, colours=64)


def _shown(value: Interval) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"


def _percent(value: Interval) -> str:
    return f"{value.value:.1%} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _file(variant: Variant, out: Path, precision: Precision) -> Path:
    return out / f"{variant.size}-{variant.stride}.{precision}.onnx"


def main(run: str, out: str, *names: str) -> None:
    """Measure and time the variants, print the table and draw the front into OUT/front.png."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    finished = load_run(Path(run))
    variants = [measure(finished, name, folder, cache_folder()) for name in names or VARIANTS]
    times = time_variants(variants, folder)
    print(f"{describe_machine().cpu}, {available_cores()} threads, {_ROUNDS} rounds\n")
    print(table(variants, times))
    draw(folder / "front.png", variants, times)


if __name__ == "__main__":
    main(*sys.argv[1:])
