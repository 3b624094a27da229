"""Radiographs per second of `archive run` beside those of independent `predict` processes.

`python -m tests.helpers.archives.rates FOLDER IMAGES ROUNDS` has them read IMAGES files of
FOLDER in turns. Their starts count.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROGRAM = (sys.executable, "-m", "orthoedge.cli.main")
PROCESSES = 2


def archive(files, folder, jobs):
    """Commands of one run of the archive into a new store."""
    paths = folder / "paths.txt"
    paths.write_text("".join(f"{file}\n" for file in files))
    store = tempfile.mkdtemp(dir=folder)
    return [(*PROGRAM, "archive", "run", paths, "--out", store, "--jobs", str(jobs))]


def predict(files, jobs, *options):
    """Commands of processes that share the files and nothing else."""
    words = (*PROGRAM, "predict", "--json", "--threads", "1", *options)
    return [(*words, *files[job::jobs]) for job in range(jobs)]


def seconds(commands):
    """From the start of the first to the end of the last."""
    start = time.perf_counter()
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    for process in running:
        if process.wait() != 0:
            raise SystemExit(f"{process.args[:6]} ended with {process.returncode}")
    return time.perf_counter() - start


def programs(files, folder):
    """Name and commands of each, by a function that makes them anew."""
    return {
        "archive run --jobs 1": lambda: archive(files, folder, 1),
        "archive run --jobs 2": lambda: archive(files, folder, PROCESSES),
        "2 predict": lambda: predict(files, PROCESSES),
        "2 predict --isolate": lambda: predict(files, PROCESSES, "--isolate"),
    }


def main():
    source, images, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    files = sorted(file for file in source.rglob("*") if file.is_file())[:images]
    with tempfile.TemporaryDirectory() as folder:
        made = programs(files, Path(folder))
        taken = {name: [] for name in made}
        for number in range(rounds):
            first = number % len(made)
            for name in (*made, *made)[first : first + len(made)]:
                taken[name].append(seconds(made[name]()))
    rates = {name: [len(files) / s for s in runs] for name, runs in taken.items()}
    for name, runs in rates.items():
        print(
            f"{name:<22}{statistics.median(runs):6.1f} images/s [{min(runs):.1f}, {max(runs):.1f}]"
        )
    ours = "archive run --jobs 2"
    for other in (name for name in made if name != ours):
        ratios = [a / b for a, b in zip(rates[ours], rates[other], strict=True)]
        middle = statistics.median(ratios)
        print(f"{ours} / {other}: {middle:.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")


if __name__ == "__main__":
    main()
