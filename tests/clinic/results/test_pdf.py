"""The Encapsulated PDF holds the page, valid for its IOD, and never in another's place."""

import dataclasses

import pydicom
import pytest

from orthoedge.clinic.results import encode_result, make_result
from orthoedge.runtime.errors import ConfigError
from tests.helpers.clinic.answers import answer
from tests.helpers.clinic.headers import HEADERS
from tests.helpers.clinic.images import source
from tests.helpers.clinic.programs import errors_of

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
