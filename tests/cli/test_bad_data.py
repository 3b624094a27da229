"""Bad data gets one clear line on stderr and exit code 2, before anything is written."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from orthoedge.cli.main import main

LABELS = "labels=plain,spot"
HEADER = "path,label,group,boxes"


@pytest.fixture
def folder(tmp_path):
    """24 images of two labels, with an index that a test can spoil."""
    data = tmp_path / "set"
    data.mkdir()
    rng = np.random.default_rng(0)
    rows = [HEADER]
    for i in range(24):
        noise = rng.uniform(20, 170, (80, 80)).astype(np.float32)
        pixels = cv2.GaussianBlur(noise, (0, 0), 2).astype(np.uint8)
        cv2.imwrite(str(data / f"{i:02d}.png"), pixels)
        rows.append(f"{i:02d}.png,{('plain', 'spot')[i % 2]},{i},")
    (data / "index.csv").write_text("\n".join(rows) + "\n")
    return data


def spoil(folder, old, new):
    index = folder / "index.csv"
    text = index.read_text()
    assert old in text
    index.write_text(text.replace(old, new))


@pytest.fixture
def refused(folder, tmp_path, capfd):
    """Train, and return the one line that says why not."""

    def train(*settings):
        arguments = ["train", "tiny", "--data", str(folder), "--out", str(tmp_path / "run")]
        arguments += ["--cache", str(tmp_path / "cache")]
        for setting in (LABELS, "compress.alert_labels=spot", "batch=8", *settings):
            arguments += ["--set", setting]
        capfd.readouterr()
        assert main(arguments) == 2
        error = capfd.readouterr().err
        assert error.count("\n") == 1, error
        assert not (tmp_path / "run").exists()
        return error

    return train


def test_a_missing_column(folder, refused):
    spoil(folder, HEADER, "path,class,group,boxes")
    assert "index.csv, line 1: column label is missing (got path, class" in refused()


def test_a_label_that_is_not_in_the_recipe(folder, refused):
    spoil(folder, "05.png,spot", "05.png,spto")
    line = refused()
    assert "05.png: label spto is not one of ['plain', 'spot']" in line


def test_a_box_outside_the_image(folder, refused):
    spoil(folder, "05.png,spot,5,", '05.png,spot,5,"[[0.2, 0.2, 1.4, 0.9]]"')
    assert "index.csv, line 7, column boxes: expected [x0, y0, x1, y1] as fractions" in refused()


def test_one_class_absent(folder, refused):
    spoil(folder, ",spot,", ",plain,")
    assert "no image has the label spot, which the recipe names" in refused()


def test_one_class_in_too_few_groups(folder, refused):
    spoil(folder, ",spot,", ",plain,")
    spoil(folder, "05.png,plain", "05.png,spot")
    assert "label spot" in refused()


def test_an_index_whose_files_moved(folder, refused):
    (folder / "images").mkdir()
    for path in sorted(folder.glob("*.png"))[4:]:
        path.rename(folder / "images" / path.name)
    line = refused()
    assert f"index.csv, line 6, column path: no file {folder / '04.png'}" in line
    assert f"(20 of 24 are missing; relative paths start from the index's folder, {folder})" in line


def test_a_disk_that_fills_while_caching(folder, refused, tmp_path, small_files):
    with small_files(30_000):
        line = refused()
    assert f"{tmp_path / 'cache'}: the disk is full: 16 preprocessed images need 0.1 MB" in line
    assert line.endswith("MB are free; --cache DIR names another place\n")
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_same_radiograph_in_two_parts(folder, refused):
    whole = (folder / "00.png").read_bytes()
    for i in range(2, 12, 2):
        (folder / f"{i:02d}.png").write_bytes(whole)
    assert "orthoedge data clean" in refused()
