"""`orthoedge report` writes one PDF for each radiograph, and names the one that it cannot read."""

import os
import re
import subprocess

import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.history import History, StudyFacts
from orthoedge.clinic.history.header import read_facts
from orthoedge.clinic.report.fonts import open_fonts
from orthoedge.runtime.bundles.bundle import PHANTOM_SAMPLES
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.programs import require
from tests.helpers.history.findings import new_finding

pytest.importorskip("typst")

SAMPLE = min(PHANTOM_SAMPLES.glob("*.png"))
COMMAND = ["report", "--bundle", "phantom", "--target", "portable", "--precision", "fp32"]


@pytest.fixture(autouse=True)
def engine():
    pytest.importorskip("onnxruntime")


def test_each_radiograph_gets_a_page_and_a_bad_file_a_line(tmp_path, capsys):
    bad = tmp_path / "in" / "bad.png"
    bad.parent.mkdir()
    bad.write_bytes(b"no picture")
    (tmp_path / "in" / SAMPLE.name).write_bytes(SAMPLE.read_bytes())
    out = tmp_path / "out"
    assert main([*COMMAND, str(tmp_path / "in"), "--out", str(out), "--language", "fr"]) == 1
    printed = capsys.readouterr()
    assert printed.out == f"{out / SAMPLE.stem}.pdf\n"
    assert "bad.png: Ce n’est pas une image lisible : " in printed.err
    assert "(not an image: unknown content; " in printed.err
    assert printed.err.endswith("orthoedge: 1 of 2 files failed\n")
    (report,) = out.iterdir()
    assert re.search(rb"/Type/Pages/Count 1\b", report.read_bytes())


def test_the_header_of_a_dicom_file_is_shown_if_that_is_wanted(tmp_path):
    pytest.importorskip("pydicom")
    (tmp_path / "scan.dcm").write_bytes(image_file())
    for option, shown in (("--patient", True), ("--paper=letter", False)):
        out = tmp_path / option.strip("-")
        main([*COMMAND, str(tmp_path / "scan.dcm"), "--out", str(out), option])
        command = [require("pdftotext"), "-layout", out / "scan.pdf", "-"]
        text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
        assert ("Doe, Jane" in text) == shown
        assert ("1 January 1980" in text) == shown
        assert "hand, right side" in " ".join(text.split())


def test_earlier_radiographs_are_those_of_the_history_and_that_is_noted_there(tmp_path):
    pytest.importorskip("pydicom")
    scan = tmp_path / "scan.dcm"
    scan.write_bytes(image_file())
    patient, _ = read_facts(scan)
    history = History(tmp_path / "history")
    for date in ("2001-02-03", "2099-01-01"):
        study = StudyFacts(date=date, body_part="KNEE")
        finding = answer().finding.to_json()
        history.add(new_finding(finding=finding, patient=patient, study=study))
    history.add(new_finding(study=StudyFacts(date="2002-02-03")))  # of somebody else
    given = [str(scan), "--out", str(tmp_path / "out"), "--patient"]
    assert main([*COMMAND, *given, "--history", str(tmp_path / "history")]) == 0
    command = [require("pdftotext"), "-layout", tmp_path / "out" / "scan.pdf", "-"]
    text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    assert "3 February 2001" in text
    assert "2002" not in text
    assert "2099" not in text
    (entry,) = history.audit()
    history.close()
    assert (entry.action, entry.detail) == ("exported", "earlier radiographs")
    assert entry.user.startswith("shell:")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_root_opens_no_history_of_another_user(tmp_path, capsys):
    folder = tmp_path / "history"
    History(folder).close()
    os.chown(folder, 12345, -1)
    given = [str(SAMPLE), "--out", str(tmp_path / "out"), "--patient", "--history", str(folder)]
    assert main([*COMMAND, *given]) == 2
    assert f"{folder}: belongs to user #12345" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--history", "/absent"], "--history needs --patient"),
        (
            ["--history", "/absent", "--patient"],
            "/absent: holds no history; name its folder with --history",
        ),
        (["--language", "de"], "unknown language 'de': expected one of en, fr, es"),
        (["--fonts", "/absent"], "fonts: /absent is not a folder"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_written(options, message, tmp_path, capsys):
    assert main([*COMMAND, str(SAMPLE), "--out", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_report_is_replaced_by_one_on_the_same_file_alone(tmp_path, capsys):
    files = [tmp_path / folder / "IMG1.png" for folder in ("q1", "q2")]
    for file, sample in zip(files, sorted(PHANTOM_SAMPLES.glob("*.png")), strict=False):
        file.parent.mkdir()
        file.write_bytes(sample.read_bytes())
    to = ["--out", str(tmp_path / "out")]
    page = tmp_path / "out" / "IMG1.pdf"
    assert main([*COMMAND, str(files[0]), *to]) == 0
    first = page.read_bytes()
    assert main([*COMMAND, str(files[1]), *to]) == 1
    assert f"{page} is the report on another radiograph" in capsys.readouterr().err
    assert page.read_bytes() == first
    assert main([*COMMAND, str(files[0]), *to, "--language", "fr"]) == 0
    assert page.read_bytes() != first


def test_a_missing_font_is_said_with_its_option_and_leaves_no_folder(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("orthoedge.clinic.report.fonts.FONT_FOLDERS", ())
    open_fonts.cache_clear()
    out = tmp_path / "out"
    try:
        assert main([*COMMAND, str(SAMPLE), "--out", str(out), "--language", "ar"]) == 2
    finally:
        open_fonts.cache_clear()
    assert "with --fonts DIR" in capsys.readouterr().err
    assert not out.exists()


def test_a_report_replaces_no_radiograph(tmp_path, capsys):
    file = tmp_path / SAMPLE.name
    file.write_bytes(SAMPLE.read_bytes())
    assert main([*COMMAND, str(file), "--out", str(tmp_path)]) == 2
    assert "which a report could replace" in capsys.readouterr().err
