"""What a decoder of lesion masks costs in time.

`python -m orthoedge.compression.evaluation.mask_cost RUN OUT [STRIDE/CHANNELS ...]` times a run's
network in INT8 without and with decoders, interleaved in one run. The decoders have random weights:
their time is that of trained ones. OUT keeps the ONNX files, so that a second call only times, on a
machine that is quiet then.
"""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path

import numpy as np

from orthoedge.benchmarks.machine import describe_machine
from orthoedge.benchmarks.timing.latency import interleaved, ratio
from orthoedge.compression.export import export
from orthoedge.compression.quantization.int8 import quantize
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.targets import open_model
from orthoedge.targets.cpu import available_cores
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.model.flops import count_macs
from orthoedge.training.run_folder import Run, load_run

DECODERS = ("4/32", "8/32", "16/32", "8/64")
_PLAIN = "none"
_RANGE_IMAGES = 16  # enough to quantize a network that is only timed
_ROUNDS, _WARMUP = 300, 20


def model_of(run: Run, decoder: str, out: Path) -> bytes:
    """INT8 file of a run's network with a decoder, such as 8/32, or `none`; kept in `out`."""
    file = out / f"{decoder.replace('/', '-')}.int8.onnx"
    if not file.is_file():
        network, recipe = copy.deepcopy(run.model), run.recipe
        network.decoder = None
        if decoder != _PLAIN:
            stride, channels = map(int, decoder.split("/"))
            network.add_decoder(stride, channels)
        records = run.splits.train[:_RANGE_IMAGES]
        own = recipe.source_labels
        data = RadiographDataset(records, recipe.labels, recipe.preprocess, source_labels=own)
        fp32 = export(network, recipe.labels, recipe.preprocess)
        write_atomic(file, quantize(fp32, data.images[:, None]))
    return file.read_bytes()


def main(run: str, out: str, *decoders: str) -> None:
    """Time the decoders and print a table, with times relative to the network without one."""
    folder, finished = Path(out), load_run(Path(run))
    folder.mkdir(parents=True, exist_ok=True)
    size = finished.recipe.preprocess.size
    image = np.full((1, 1, size, size), 90, np.uint8)
    names = (_PLAIN, *(decoders or DECODERS))
    calls = {
        name: partial(open_model(model_of(finished, name, folder), size, "x86", "int8").run, image)
        for name in names
    }
    times = interleaved(calls, rounds=_ROUNDS, warmup=_WARMUP)
    macs = count_macs(finished.model, size)[0] / 1e6
    print(f"{describe_machine().cpu}, {available_cores()} threads, {_ROUNDS} rounds")
    print(f"the network alone: {macs:.0f} M multiply-accumulates\n")
    print("| decoder, stride / channels | INT8, ms | ratio |\n| --- | ---: | ---: |")
    for name in names:
        cost = ratio(times[name], times[_PLAIN])
        shown = f"{cost.p50:.3f} [{cost.low:.3f}, {cost.high:.3f}]"
        print(f"| {name} | {times[name].p50:.2f} | {shown} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
