"""`predict --isolate` says what `predict` says, with one process or with several."""

import json
import shutil
import sys
from pathlib import Path

import cv2
import pytest

from orthoedge.cli.main import main

ROOT = Path(__file__).parents[4]


@pytest.fixture
def folder(radiograph, tmp_path):
    """A file, one that is bad, and two about which a decoder complains."""
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(radiograph, folder / "good.png")
    (folder / "bad.png").write_text("no image")
    png = radiograph.read_bytes()
    comment = b"\0\0\0\5tEXta\0bcd" + b"\0\0\0\0"  # a wrong checksum, where it does no harm
    (folder / "odd.png").write_bytes(png[:33] + comment + png[33:])
    jpeg = cv2.imencode(".jpg", cv2.imread(str(radiograph)))[1].tobytes()
    middle = len(jpeg) // 2
    (folder / "torn.jpg").write_bytes(jpeg[:middle] + jpeg[middle + 40 :])
    return folder


def test_isolated_answers_are_the_same(bundle, folder, capfd, monkeypatch):
    # Where the package is not installed, this is how a process that is started finds it.
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / ".typing")])
    monkeypatch.setenv("PYTHONPATH", str(ROOT / ".typing"))
    arguments = ["predict", str(folder), *bundle, "--json", "--threads", "1"]
    said = []
    for more in ([], ["--isolate"], ["--isolate", "--jobs", "2"]):
        assert main([*arguments, *more]) == 1
        captured = capfd.readouterr()
        records = [json.loads(line) for line in captured.out.splitlines()]
        for record in records:
            record.pop("timing_ms", None)
        said.append((records, captured.err))
    assert said[0] == said[1] == said[2]
    records, printed = said[0]
    assert "its decoder reports 'Corrupt JPEG data" in records[-1]["error"]
    assert records[-2]["error"] is None  # damage to a text of a PNG
    assert len(printed.splitlines()) == 3  # the two bad files, and how many failed


def test_its_limits_are_those_of_the_command_line(bundle, radiograph, only_line, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / ".typing")])
    arguments = ["predict", str(radiograph), *bundle, "--json", "--isolate"]
    assert main([*arguments, "--memory-mb", "8"]) == 1
    assert main([*arguments, "--memory-mb", "100"]) == 0
