"""A header or a result that ends the process costs the image an attempt, and nothing else."""

import dataclasses
import os
import re
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pydicom
import pytest

from orthoedge.clinic.destination import RESULT_KINDS
from orthoedge.clinic.history import History, StudyFacts
from orthoedge.clinic.history.header import facts_of
from orthoedge.clinic.making import client
from orthoedge.clinic.making.client import ResultMaker
from orthoedge.clinic.results import encode_result, make_result
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.atomic_files import file_sha256
from orthoedge.runtime.errors import InputError, MissingDependency, OrthoEdgeError
from tests.helpers.clinic.answers import answer, ramp
from tests.helpers.clinic.images import INSTANCE, source
from tests.helpers.clinic.nodes import image as image_of
from tests.helpers.clinic.nodes import new_image
from tests.helpers.clinic.programs import require
from tests.helpers.clinic.report_fonts import require_fonts
from tests.helpers.history.findings import new_finding


@pytest.fixture
def received(tmp_path):
    """Call it with changes of the header for a spool with one image, and that image."""
    opened = []

    def receive(changes=None):
        spool = Spool(tmp_path / "spool")
        opened.append(spool)
        spool.add_image(image_of(tmp_path, INSTANCE, changes), new_image(INSTANCE))
        return spool.folder, spool.next_image()

    yield receive
    for spool in opened:
        spool.close()


def test_its_results_are_those_that_this_process_makes(received, maker):
    folder, image = received()
    made = maker.make(folder, image, RESULT_KINDS, answer())
    assert [each.kind for each in made] == list(RESULT_KINDS)
    given = dataclasses.replace(answer(), image_sha256=file_sha256(folder / image.file))
    for each in made:
        expected = encode_result(make_result(each.kind, source(), given))
        assert (folder / each.file).read_bytes() == expected


def test_the_page_gets_alert_labels_the_file_and_the_history(received, maker, tmp_path):
    patient, _ = facts_of(source())
    history = History(tmp_path / "history")
    before = StudyFacts(date="2001-02-03", body_part="KNEE")
    history.add(new_finding(finding=answer().finding.to_json(), patient=patient, study=before))
    history.close()
    folder, image = received()
    given = {"alert_labels": ("tumor-benign",), "history": str(tmp_path / "history")}
    (page,) = maker.make(folder, image, ["pdf"], dataclasses.replace(answer(), **given))
    file = tmp_path / "page.pdf"
    file.write_bytes(pydicom.dcmread(folder / page.file).EncapsulatedDocument)
    command = [require("pdftotext"), file, "-"]
    text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    assert "benign tumor cannot be ruled out" in " ".join(text.split())
    assert "3 February 2001" in text
    assert file_sha256(folder / image.file) in text


def test_what_has_nothing_to_show_is_left_out(received, maker):
    made = maker.make(*received(), RESULT_KINDS, answer("reject"))
    assert [each.kind for each in made] == ["picture", "report", "pdf"]


def test_the_facts_of_a_header(received, maker):
    facts = maker.read_header(*received({0x00180015: ("CS", "wrist ")}))
    assert (facts.modality, facts.body_part, facts.is_selftest) == ("CR", "WRIST", False)


def test_an_error_about_the_image_has_its_own_words(received, maker):
    with pytest.raises(InputError, match="of another SOP instance"):
        maker.read_header(*received({0x00080018: ("UI", "9.9")}))


@pytest.mark.parametrize(
    ("module", "named"),
    [
        ("gdcm", "python-gdcm is not installed and is needed for reading JPEG images"),
        ("openjpeg", "pylibjpeg-openjpeg is not installed and is needed for reading HTJ2K images"),
        ("highdicom", "highdicom is not installed"),
        ("typst", "typst is not installed"),
        ("pydicom", "pydicom is not installed"),
    ],
)
def test_what_is_not_installed_is_found_before_an_image_comes(tmp_path, monkeypatch, module, named):
    (tmp_path / f"{module}.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)  # of the process too
    maker = ResultMaker(512)
    try:
        with pytest.raises(MissingDependency, match=named):
            maker.check(["picture", "pdf"], "en")
    finally:
        maker.close()


def test_only_what_is_needed_has_to_be_installed(tmp_path, monkeypatch, maker):
    maker.check(RESULT_KINDS, "en")
    (tmp_path / "typst.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(tmp_path)
    other = ResultMaker(512)
    try:
        other.check(["contour"], "en")
    finally:
        other.close()


@pytest.fixture
def impatient(monkeypatch):
    """Call it with seconds of the processor and of the clock that a request may take."""

    def limit(work_s, longest_s):
        monkeypatch.setattr(client, "_LOOK_S", 0.05)
        monkeypatch.setattr(client, "_WORK_S", work_s)
        monkeypatch.setattr(client, "_LONGEST_S", longest_s)

    return limit


@pytest.mark.parametrize(("longest_s", "why"), [(60.0, "ended by SIGKILL"), (0.3, "took over 0 s")])
def test_a_process_that_ends_or_hangs_is_replaced(received, impatient, longest_s, why):
    impatient(60.0, longest_s)
    folder, image = received()
    maker = ResultMaker(512)
    try:
        maker.start()
        process = maker._process
        os.kill(process.pid, signal.SIGSTOP)
        if longest_s > 1:
            threading.Timer(0.2, process.kill).start()
        with pytest.raises(OrthoEdgeError, match=why):
            maker.read_header(folder, image)
        impatient(60.0, 60.0)
        assert maker.read_header(folder, image).modality == "CR"
    finally:
        maker.close()


def test_a_request_that_waits_for_the_processor_is_waited_for(received, impatient):
    folder, image = received()
    maker = ResultMaker(512)
    try:
        maker.read_header(folder, image)
        impatient(0.5, 60.0)
        os.kill(maker._process.pid, signal.SIGSTOP)  # as if others had the processor
        threading.Timer(1.0, os.kill, (maker._process.pid, signal.SIGCONT)).start()
        assert maker.read_header(folder, image).modality == "CR"
    finally:
        maker.close()


def test_a_request_that_works_for_too_long_is_ended(received, impatient):
    folder, image = received()
    maker = ResultMaker(512)
    try:
        maker.read_header(folder, image)
        impatient(0.01, 60.0)
        with pytest.raises(OrthoEdgeError, match="took over 0 s of the processor"):
            maker.make(folder, image, RESULT_KINDS, answer(pixels=ramp(1200)))
    finally:
        maker.close()


@pytest.mark.slow
def test_a_header_of_countless_elements_ends_at_the_limit_of_memory(received):
    groups = (group << 16 for group in (0x0B, 0x0D, 0x0F, 0x11, 0x13))
    elements = {group + number: ("LO", b"") for group in groups for number in range(0x1000, 0xF000)}
    folder, image = received(elements)
    maker = ResultMaker(8)
    try:
        with pytest.raises(OrthoEdgeError, match="more memory than decode_mb"):
            maker.read_header(folder, image)
        assert maker._process.poll() is None
    finally:
        maker.close()


def test_it_ends_with_the_process_that_started_it(received):
    maker = ResultMaker(512)
    maker.read_header(*received())
    process = maker._process
    process.stdin.close()  # as the end of the worker does
    process.wait(60)
    assert process.returncode == 0
    maker.close()


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(3000, 2500), (5000, 4000)])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_memory_that_operations_states_is_enough(
    received, maker, language, rows, columns, capsys
):
    """Prints peak and rest, in MiB, of the process after six images; the larger are of 40 MB."""
    require_fonts(language)
    pixels = (np.add.outer(np.arange(rows), np.arange(columns)) % 200).astype(np.uint8)
    given = dataclasses.replace(answer(pixels=pixels), language=language)
    folder, image = received()
    for _ in range(6):
        maker.make(folder, image, RESULT_KINDS, given)
    status = Path(f"/proc/{maker._process.pid}/status").read_text()
    peak, rest = (
        int(re.search(rf"{name}:\s+(\d+)", status)[1]) // 1024 for name in ("VmHWM", "VmRSS")
    )
    with capsys.disabled():
        print(f"\n{language}, {rows} × {columns}: peak {peak} MiB, at rest {rest} MiB")
    assert rest <= peak < 360
