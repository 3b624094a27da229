"""The Encapsulated PDF holds the page, valid for its IOD, and never in another's place."""

import dataclasses
import subprocess

import msgspec
import pydicom
import pytest

from orthoedge.clinic.history import History, StudyFacts
from orthoedge.clinic.history.header import facts_of
from orthoedge.clinic.results import encode_result, make_result
from orthoedge.runtime.errors import ConfigError
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.headers import HEADERS
from tests.helpers.clinic.images import source
from tests.helpers.clinic.programs import errors_of, require
from tests.helpers.history.findings import new_finding

pytest.importorskip("typst")


def made(header="complete", decision="refer", **page):
    given = dataclasses.replace(answer(decision), **page)
    return make_result("pdf", source(HEADERS[header]), given)


def test_the_document_is_a_pdf_of_the_stated_length():
    result = made()
    document = result.EncapsulatedDocument[: result.EncapsulatedDocumentLength]
    assert document.startswith(b"%PDF-")
    assert document.rstrip().endswith(b"%%EOF")
    assert result.MIMETypeOfEncapsulatedDocument == "application/pdf"


@pytest.mark.parametrize(
    ("header", "decision"),
    [("complete", "refer"), ("no attribute of type 2", "report"), ("Japanese", "reject")],
)
def test_dciodvfy_finds_no_error(tmp_path, header, decision):
    file = tmp_path / "page.dcm"
    file.write_bytes(encode_result(made(header, decision)))
    assert errors_of(file) == []
    assert pydicom.dcmread(file).Modality == "DOC"


def test_language_and_paper_are_those_of_the_answer():
    sizes = {len(made(language=language).EncapsulatedDocument) for language in ("en", "fr")}
    assert len(sizes) == 2
    assert made(paper="letter").EncapsulatedDocument != made().EncapsulatedDocument


def text_of(result, tmp_path):
    file = tmp_path / "page.pdf"
    file.write_bytes(result.EncapsulatedDocument)
    command = [require("pdftotext"), "-layout", file, "-"]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()


@pytest.mark.parametrize(("alerts", "is_urgent"), [(("tumor-benign",), True), ((), False)])
def test_a_label_that_the_maker_calls_an_alert_is_urgent_on_the_page(tmp_path, alerts, is_urgent):
    text = text_of(made(alert_labels=alerts), tmp_path)
    assert ("soon: benign tumor" in " ".join(text.split())) == is_urgent


def test_the_page_names_the_file_and_lists_the_earlier_radiographs_of_the_history(tmp_path):
    patient, study = facts_of(source(HEADERS["complete"]))
    history = History(tmp_path / "history")
    earlier = StudyFacts(date="2001-02-03", body_part="KNEE", laterality="R")
    history.add(new_finding(finding=answer().finding.to_json(), patient=patient, study=earlier))
    own = msgspec.structs.replace(study, date="2001-02-02")
    own_file = {"image_sha256": "cd" * 32, "finding": answer().finding.to_json()}
    history.add(new_finding(patient=patient, study=own, **own_file))  # by an attempt before
    history.close()
    given = {"image_sha256": "cd" * 32, "history": str(tmp_path / "history")}
    text = text_of(made(**given), tmp_path)
    assert "cd" * 32 in text
    assert "3 February 2001" in text
    assert "knee, right side" in text
    assert "2 February 2001" not in text
    assert "3 February 2001" not in text_of(made(), tmp_path)


def test_a_damaged_history_leaves_the_earlier_radiographs_out(tmp_path):
    (tmp_path / "history").mkdir()
    (tmp_path / "history/history.sqlite").write_bytes(b"damaged" * 1000)
    assert "Earlier" not in text_of(made(history=str(tmp_path / "history")), tmp_path)


def test_a_name_without_a_font_leaves_its_line_blank(monkeypatch):
    from orthoedge.clinic.report import make

    def latin_alone(texts, fonts):
        if not "".join(texts).isascii():
            raise ConfigError("no font for CJK letters")
        return ["Libertinus Serif"]

    monkeypatch.setattr(make, "choose_families", latin_alone)
    with_name, without = (made(header).EncapsulatedDocument for header in ("complete", "Japanese"))
    assert b"%PDF-" in without[:8]
    assert without != with_name


def test_a_language_without_a_font_is_an_error(monkeypatch):
    from orthoedge.clinic.report import make

    def none(texts, fonts):
        raise ConfigError("no font for Arabic letters")

    monkeypatch.setattr(make, "choose_families", none)
    with pytest.raises(ConfigError, match="Arabic"):
        made(language="ar")
