"""Promise 5: of 200 identifiers, in files and in their names, none comes out anywhere."""

import os
import shutil
import subprocess
import sys

import cv2
import pytest

from orthoedge.cli.main import main
from orthoedge.runtime.overlay.overlay import overlay, side_by_side
from orthoedge.targets import open_pipeline
from tests.helpers.hostile import planted
from tests.helpers.hostile.privacy import content_of, found_in, plant, said_of

pytestmark = pytest.mark.slow
ALL = 200


def tell(tally, promise, identifiers, said):
    found = found_in(identifiers, said)
    note = f"found: {', '.join(found[:5])}" if found else f"in {len(said):,} bytes"
    assert len(set(identifiers)) == ALL
    tally(f"privacy: {promise}", ALL - len(found), ALL, note)


def test_findings_pictures_logs_and_messages_of_the_library(tally, tmp_path, capfd):
    inside, outside = plant(tmp_path)
    pipeline = open_pipeline(target="portable")
    drawers = (overlay, side_by_side)
    said = b"".join(said_of(pipeline, path, drawers) for path in sorted(tmp_path.iterdir()))
    said += "".join(capfd.readouterr()).encode()
    tell(tally, "library", [*inside, *outside], said)


@pytest.mark.parametrize("more", [["--jobs", "2"], ["--isolate"]], ids=lambda more: more[0][2:])
def test_lines_and_pictures_of_the_command(tally, more, tmp_path):
    folder, pictures = tmp_path / "archive", tmp_path / "pictures"
    folder.mkdir()
    inside, outside = plant(folder)
    command = [
        sys.executable,
        "-m",
        "orthoedge.cli.main",
        "predict",
        folder,
        "--target",
        "portable",
    ]
    done = subprocess.run(
        [*command, "--json", "--no-names", "--overlay", pictures, *more],
        capture_output=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 1, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == len(outside)
    said = done.stdout + done.stderr + content_of(pictures)
    tell(tally, f"predict {more[0]}", [*inside, *outside], said)


@pytest.fixture
def labelled(phantoms, tmp_path):
    """A hundred labelled radiographs, with an identifier in each and another in its name."""
    import csv

    folder, inside, outside = tmp_path / "labelled", [], []
    with (phantoms / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))[:100]
    for number, row in enumerate(rows):
        within, without = f"Geheim{number:03d}Innen", f"Geheim{number:03d}Aussen"
        inside.append(within)
        outside.append(without)
        target = folder / row["label"] / f"{without}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        pixels = cv2.imread(str(phantoms / row["path"]), cv2.IMREAD_GRAYSCALE)
        target.write_bytes(planted.with_chunk(pixels, "tEXt", within))
    return folder, [*inside, *outside]


def test_report_of_an_evaluation(tally, labelled, tiny_run, tmp_path, capfd):
    folder, identifiers = labelled
    arguments = ["evaluate", str(tiny_run), "--data", str(folder), "--allow-seen"]
    assert main([*arguments, "--out", str(tmp_path / "report")]) == 0
    said = "".join(capfd.readouterr()).encode() + content_of(tmp_path / "report")
    tell(tally, "evaluate's report", identifiers, said)


def test_report_of_a_benchmark(tally, labelled, tmp_path, capfd):
    folder, identifiers = labelled
    arguments = ["benchmark", "--quick", "--no-seeds", "--target", "portable"]
    out = tmp_path / "report"
    assert main([*arguments, "--data", str(folder), "--out", str(out)]) == 0
    assert (out / "report.html").is_file()
    said = "".join(capfd.readouterr()).encode() + content_of(out)
    tell(tally, "benchmark's report", identifiers, said)


def test_verify_on_labelled_data(tally, labelled, small_bundle, tmp_path, capfd):
    folder, identifiers = labelled
    for label in ("tumor-benign",):  # the small bundle does not know it
        shutil.rmtree(folder / label, ignore_errors=True)
    main(["verify", str(small_bundle.path), "--target", "portable", "--data", str(folder)])
    said = "".join(capfd.readouterr()).encode()
    assert b"accuracy" in said
    tell(tally, "verify --data", identifiers, said)
