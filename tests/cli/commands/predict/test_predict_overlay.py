"""`predict --overlay`: two pictures for each radiograph, and nothing else touched."""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.cli.main import main


def test_two_files_of_one_name_keep_two_overlays(bundle, radiograph, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(radiograph, tmp_path / folder)
    sources = [str(tmp_path / folder) for folder in ("a", "b")]
    assert main(["predict", *sources, "--overlay", str(tmp_path / "out"), *bundle]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 4


def test_a_file_named_like_a_side_by_side_keeps_its_own_pictures(bundle, radiograph, tmp_path):
    twin = tmp_path / "good.side.png"
    shutil.copy(radiograph, twin)
    for number, sources in enumerate(([radiograph, twin], [twin, radiograph])):
        folder = tmp_path / f"out{number}"
        assert main(["predict", *map(str, sources), "--overlay", str(folder), *bundle]) == 0
        assert len(list(folder.iterdir())) == 4


def test_the_overlay_has_the_radiographs_pixels_and_the_side_by_side_a_screens(bundle, tmp_path):
    pixels = np.random.default_rng(0).integers(40, 170, (900, 700), dtype=np.uint8)
    (tmp_path / "in.png").write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
    pictures = tmp_path / "out"
    assert main(["predict", str(tmp_path / "in.png"), "--overlay", str(pictures), *bundle]) == 0
    overlay, side = (cv2.imread(str(pictures / name)) for name in ("in.png", "in.side.png"))
    grey = cv2.cvtColor(overlay[:900, :700], cv2.COLOR_BGR2GRAY)
    assert np.corrcoef(grey.ravel(), pixels.ravel())[0, 1] > 0.7
    assert overlay.shape[1] > 700
    assert side.shape[0] <= 1153
    assert side.shape[1] <= 1920


def test_a_picture_never_replaces_a_radiograph(bundle, radiograph, tmp_path, only_line):
    before = radiograph.read_bytes()
    (tmp_path / "links").mkdir()
    link = tmp_path / "links" / "link.png"
    link.symlink_to(radiograph)
    for source in (radiograph, tmp_path, link):
        assert main(["predict", str(source), "--overlay", str(tmp_path), "--json", *bundle]) == 2
        assert "choose another folder" in only_line()
    assert radiograph.read_bytes() == before


def test_a_picture_that_cannot_be_written_costs_neither_its_finding_nor_the_rest(
    bundle, radiograph, tmp_path, capsys
):
    shutil.copy(radiograph, tmp_path / "later.png")
    pictures = tmp_path / "pictures"
    (pictures / "good.png").mkdir(parents=True)
    sources = [str(radiograph), str(tmp_path / "later.png")]
    assert main(["predict", *sources, "--json", "--overlay", str(pictures), *bundle]) == 1
    captured = capsys.readouterr()
    records = [json.loads(line) for line in captured.out.splitlines()]
    assert [record["error"] for record in records] == [None, None]
    assert [record["overlay"] for record in records] == [None, str(pictures / "later.png")]
    assert [record["side_by_side"] is None for record in records] == [True, False]
    assert "good.png: picture not written: " in captured.err.splitlines()[0]


def test_x_png_and_x_jpg_keep_a_picture_each(bundle, radiograph, tmp_path):
    pixels = cv2.imread(str(radiograph), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(tmp_path / "x.png"), pixels)
    cv2.imwrite(str(tmp_path / "x.jpg"), pixels)
    sources = [str(tmp_path / name) for name in ("x.png", "x.jpg")]
    assert main(["predict", *sources, "--overlay", str(tmp_path / "out"), *bundle]) == 0
    names = {"x.png", "x.side.png", "x_2.png", "x_2.side.png"}
    assert {file.name for file in (tmp_path / "out").iterdir()} == names


@pytest.mark.parametrize(
    "how", [(), ("--no-names",), pytest.param(("--jobs", "2"), marks=pytest.mark.slow)]
)
def test_a_picture_of_an_earlier_run_is_replaced_by_the_same_radiograph_alone(
    bundle, radiograph, tmp_path, capsys, how
):
    first, second = (tmp_path / folder / "x.png" for folder in ("a", "b"))
    pixels = cv2.imread(str(radiograph), cv2.IMREAD_GRAYSCALE)
    for file, picture in ((first, pixels), (second, pixels[:, ::-1])):
        file.parent.mkdir()
        cv2.imwrite(str(file), picture)
    to = ["--overlay", str(tmp_path / "out"), "--json", *how, *bundle]
    assert main(["predict", str(first), *to]) == 0
    shown = json.loads(capsys.readouterr().out)["overlay"]
    before = Path(shown).read_bytes()
    assert main(["predict", str(second), *to]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["overlay"] is None
    assert "is there, and not of this radiograph; choose another --overlay" in captured.err
    assert Path(shown).read_bytes() == before
    assert main(["predict", str(first), *to]) == 0
    assert Path(shown).read_bytes() == before


def test_a_file_that_is_no_picture_of_ours_stays(bundle, radiograph, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "good.side.png").write_bytes(b"of the user")
    arguments = ["predict", str(radiograph), "--overlay", str(tmp_path / "out"), *bundle]
    assert main(arguments) == 1
    assert "good.side.png is there" in capsys.readouterr().err
    assert [file.read_bytes() for file in (tmp_path / "out").iterdir()] == [b"of the user"]


@pytest.mark.parametrize("kind", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_in_the_place_of_a_picture_stays(
    bundle, radiograph, tmp_path, capsys, kind
):
    (tmp_path / "out").mkdir()
    kind(tmp_path / "out" / "good.png")
    arguments = ["predict", str(radiograph), "--overlay", str(tmp_path / "out"), *bundle]
    assert main(arguments) == 1
    assert "good.png is there, and not of this radiograph" in capsys.readouterr().err


def test_an_overlay_folder_that_is_a_file_is_said_before_anything_runs(
    bundle, radiograph, only_line
):
    arguments = ["predict", "absent.png", "--overlay", str(radiograph), "--json", *bundle]
    assert main(arguments) == 2
    assert "not a folder" in only_line()
