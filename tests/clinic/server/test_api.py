"""The API does what its OpenAPI file says, and a file's answer is that of `predict --json`."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys

import jsonschema
import numpy as np
import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.server.api.errors import ERRORS
from orthoedge.clinic.server.api.openapi import openapi
from orthoedge.clinic.server.api.routes import ROUTES
from orthoedge.clinic.words import LANGUAGES, catalogue
from orthoedge.runtime import read_image
from tests.helpers.clinic.images import image_file, limb
from tests.helpers.clinic.page.radiographs import dicom
from tests.helpers.clinic.pages import ROOT, SAMPLES, clinic_server, clinic_settings
from tests.helpers.clinic.programs import require
from tests.helpers.hostile.dicom_bytes import pixel_elements

DOCUMENT = json.loads(openapi(ROUTES))
STATUS = {"addFinding": 422, "notePrint": 201, "enterOpinion": 201, "logIn": 403}


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clinic")
    settings = clinic_settings(folder / "history", backup=str(folder / "backup"))
    with clinic_server(settings) as client:
        for sample in SAMPLES[:2]:
            assert client.post(f"/findings?name={sample.name}", sample.read_bytes()).status == 201
        yield client


def check(name, reply, expected=None):
    """Hold a reply against the operation of that name in the document."""
    ((path, method, operation),) = [
        (path, method, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        if operation["operationId"] == name
    ]
    described = operation["responses"].get(str(reply.status))
    assert described, f"{method} {path}: {reply.status} is not described"
    if expected:
        assert reply.status == expected, reply.content[:300]
    kind = reply.headers["Content-Type"].partition(";")[0]
    assert kind in described["content"], f"{method} {path}: {kind}"
    schema = described["content"][kind]["schema"]
    if kind == "application/json":
        whole = {**schema, "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(whole).validate(reply.json)
    return reply


def every_answer(clinic):
    """One good request of each operation, by its name."""
    sample = SAMPLES[2].read_bytes()
    number = check("addFinding", clinic.post("/findings?name=x.jpg", sample), 201).json["number"]
    yield "addFinding", clinic.post("/findings?name=bad.txt", b"no image")
    yield "showSession", clinic.get("/session")
    yield "showTexts", clinic.get("/texts/sw")
    yield "listFindings", clinic.get("/findings?limit=1&text=jpg&decision=refer")
    yield "countFindings", clinic.get("/counts?since=1e9")
    yield "showFinding", clinic.get(f"/findings/{number}?language=fr")
    yield "showCourse", clinic.get(f"/findings/{number}/course")
    yield "showPixels", clinic.get(f"/findings/{number}/pixels?side=100")
    if importlib.util.find_spec("typst"):
        yield "showReport", clinic.get(f"/findings/{number}/report.pdf?language=fr&paper=letter")
    yield "notePrint", clinic.post(f"/findings/{number}/printed")
    yield "enterOpinion", clinic.post(f"/findings/{number}/opinion", {"agrees": True})
    yield "showAgreement", clinic.get("/agreement")
    yield "exportOpinions", clinic.get("/opinions.csv")
    yield "backUp", clinic.post("/backup")
    yield "showAudit", clinic.get("/audit?limit=5")
    yield "showOpenApi", clinic.get("/openapi.json")
    yield "deleteFinding", clinic.delete(f"/findings/{number}")
    yield "logIn", clinic.post("/session", {"user": "ada", "password": "wrong"})
    yield "logOut", clinic.delete("/session")


def test_every_route_answers_as_the_document_says(clinic):
    seen = {"listen", "addFinding", "showReport"}  # of events there is a test of its own
    for name, reply in every_answer(clinic):
        check(name, reply, STATUS.get(name, 200))
        seen.add(name)
    assert seen == {route.name for route in ROUTES}


def test_the_document_has_every_route_and_no_other():
    described = {
        (method.upper(), path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert described == {(route.method, route.path) for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_the_server_takes_the_parameters_of_the_document_and_no_other(clinic, route):
    operation = DOCUMENT["paths"][route.path][route.method.lower()]
    known = [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]
    if route.query is None:
        assert known == []
        return
    path = re.sub("{number}", "999999", route.path)
    values = {"limit": "2", "before": "9", "from": "2026-01-01", "to": "2026-01-02"}
    for name in known:
        reply = clinic.ask(route.method, f"{ROOT}{path}?{name}={values.get(name, '')}", b"")
        assert reply.status != 400, (name, reply.content)
    reply = clinic.ask(route.method, f"{ROOT}{path}?unheard=1", b"")
    assert (reply.status, reply.json["id"]) == (400, "error.bad_request")


@pytest.mark.parametrize(
    "path",
    [
        "/findings?limit=x",
        "/findings?from=2026-13-01",
        "/findings?to=yesterday",
        "/findings?decision=maybe",
        "/findings/1?language=xx",
        "/audit?before=1.5",
    ],
)
def test_a_value_that_means_nothing_is_refused(clinic, path):
    assert clinic.get(path).json["id"] == "error.bad_request"


@pytest.mark.parametrize(
    "path", ["/findings/999999", "/findings/x", "/findings/-1", "/findings/9e9", "/texts/xx"]
)
def test_what_is_not_there_is_404(clinic, path):
    reply = clinic.get(path)
    assert (reply.status, reply.json["id"]) == (404, "error.not_found")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"agrees": 1}', b'{"agrees": true, "more": 1}', b"\xff"]
)
def test_json_of_another_kind_is_refused(clinic, body):
    assert clinic.post("/findings/1/opinion", body).status == 400


def test_a_course_holds_label_probability_and_extent_of_the_same_part_oldest_first(clinic):
    dates = ("20260901", "20261020", "20260710")
    for number, date in enumerate(dates):
        part = "LEG" if number == 2 else "FOREARM"
        file = dicom("0-forearm", date=date, part=part, instance=f"1.2.3.{number}")
        assert clinic.post(f"/findings?name={date}.dcm", file).status == 201
    newest = clinic.get("/findings?text=20261020").json["findings"][0]["number"]
    entries = clinic.get(f"/findings/{newest}/course").json["entries"]
    assert [entry["study_date"] for entry in entries] == ["2026-09-01", "2026-10-20"]
    page = clinic.get(f"/findings/{newest}").json
    assert entries[1]["probabilities"] == page["finding"]["probabilities"]
    assert (entries[1]["label"], entries[1]["extent"]) == (page["label"], page["extent"])
    assert page["extent"]["kind"] == "map"


def test_a_file_that_cannot_be_read_has_the_id_of_its_reason(clinic):
    reply = clinic.post("/findings?name=empty.png", b"")
    assert (reply.json["error"], reply.json["failure_id"]) == ("empty file", "failure.empty")
    shown = clinic.get(f"/findings/{reply.json['number']}").json
    assert (shown["failure"], shown["failure_id"]) == ("empty file", "failure.empty")


def test_the_answer_is_that_of_predict(clinic, capsys):
    sample = SAMPLES[0]
    main(["predict", str(sample), "--json", "--bundle", "phantom", "--target", "portable"])
    expected = json.loads(capsys.readouterr().out)
    reply = clinic.post(f"/findings?name={sample.name}", sample.read_bytes())
    finding = reply.json["finding"]
    assert finding.keys() == expected.keys()
    changing = {"path", "timing_ms", "provenance"}
    assert {key: finding[key] for key in finding.keys() - changing} == {
        key: expected[key] for key in expected.keys() - changing
    }
    assert clinic.get(f"/findings/{reply.json['number']}").json["finding"] == finding


def test_a_bad_file_is_a_line_of_the_list_with_its_reason(clinic):
    reply = clinic.post("/findings?name=notes.txt", b"no image at all")
    assert reply.status == 422
    assert "not an image" in reply.json["error"]
    (listed,) = clinic.get("/findings?limit=1").json["findings"]
    assert (listed["number"], listed["failure"]) == (reply.json["number"], reply.json["error"])
    page = clinic.get(f"/findings/{listed['number']}").json
    assert (page["finding"], page["words"], page["window"]) == (None, None, None)
    assert clinic.get(f"/findings/{listed['number']}/pixels").status == 404


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_the_pixels_are_those_of_the_file_bone_bright_at_full_depth(clinic, photometric):
    stored = limb() if photometric == "MONOCHROME2" else 4095 - limb()
    file = image_file({0x00280004: ("CS", photometric), 0x7FE00010: ("OW", stored.tobytes())})
    added = clinic.post("/findings?name=a.dcm", file)
    assert added.status == 201, added.content
    reply = clinic.get(f"/findings/{added.json['number']}/pixels")
    shape = int(reply.headers["X-Height"]), int(reply.headers["X-Width"])
    pixels = np.frombuffer(reply.content, "<u2").reshape(shape)
    assert np.array_equal(pixels, limb())
    assert reply.headers["X-Bits"] == "12"
    page = clinic.get(f"/findings/{added.json['number']}").json
    assert (page["height"], page["width"]) == limb().shape
    assert (page["patient"]["name"], page["study"]["body_part"]) == ("Doe, Jane", "HAND")
    assert (page["spacing_mm"], page["spacing_plane"]) == ([0.15, 0.15], "detector")
    window = page["window"]
    black = window["center"] - window["width"] / 2
    shown = np.clip((pixels - black) * 255 / window["width"], 0, 255)
    assert np.abs(shown - read_image(file).pixels).max() <= 1  # of rounding, of both


@pytest.mark.parametrize("columns", [200, 201])
def test_coarser_pixels_are_means_and_the_headers_say_of_how_many(clinic, columns):
    stored = np.random.default_rng(columns).integers(0, 4096, (311, columns)).astype(np.uint16)
    added = clinic.post("/findings?name=a.dcm", image_file(pixel_elements(stored)))
    for side, step in ((0, 1), (156, 1), (155, 2), (78, 2), (77, 4), (1, 256)):
        reply = clinic.get(f"/findings/{added.json['number']}/pixels?side={side}")
        sizes = {name: int(reply.headers[name]) for name in ("X-Height", "X-Width", "X-Step")}
        assert sizes == {"X-Height": 311, "X-Width": columns, "X-Step": step}
        shape = -(-311 // step), -(-columns // step)
        pixels = np.frombuffer(reply.content, "<u2").reshape(shape)
        if step <= 4:
            whole = stored[: 311 // step * step, : columns // step * step].astype(float)
            means = whole.reshape(311 // step, step, columns // step, step).mean((1, 3))
            inside = pixels[: 311 // step, : columns // step]
            assert np.abs(inside - means).max() <= 1  # each halving rounds


def test_a_finding_is_put_into_words_for_both_readers_in_the_language_asked_for(clinic):
    english = clinic.get("/findings/1").json["words"]
    arabic = clinic.get("/findings/1?language=ar").json["words"]
    assert english.keys() == arabic.keys() == {"operator", "patient"}
    assert english["operator"]["headline"]
    assert english["operator"]["headline"] != arabic["operator"]["headline"]


def test_a_new_finding_is_an_event(clinic):
    connection, stream = clinic.events()
    number = clinic.post("/findings?name=event.jpg", SAMPLES[0].read_bytes()).json["number"]
    names = []
    while "finding" not in names:
        line = stream.readline().decode()
        if line.startswith("event: "):
            names.append(line.split()[1])
            data = json.loads(stream.readline().decode().removeprefix("data: "))
    connection.close()
    assert data["number"] == number
    assert "progress" in names


def test_who_looked_stands_in_the_audit_trail(clinic):
    clinic.get("/findings/2")
    entry = clinic.get("/audit?limit=1").json["entries"][0]
    assert (entry["action"], entry["finding"]) == ("looked", 2)


def test_a_print_of_the_browser_stands_in_the_audit_trail(clinic):
    assert clinic.post("/findings/2/printed").status == 201
    entry = clinic.get("/audit?limit=1").json["entries"][0]
    assert (entry["action"], entry["finding"]) == ("printed", 2)
    assert clinic.post("/findings/999999/printed").status == 404


def test_pixels_are_a_look_that_is_entered_once(clinic):
    def looks():
        entries = clinic.get("/audit?limit=1000").json["entries"]
        return [one["finding"] for one in entries if one["action"] == "looked"]

    clinic.get("/findings/2")
    before = looks()
    for path in ("/findings/1/pixels?side=100", "/findings/1", "/findings/1/pixels"):
        assert clinic.get(path).status == 200
    assert looks() == [1, *before]
    clinic.get("/findings/2/pixels")
    assert looks() == [2, 1, *before]


def test_an_opinion_with_an_unknown_label_is_refused(clinic):
    reply = clinic.post("/findings/1/opinion", {"agrees": False, "label": "<b>"})
    assert reply.status == 400


def test_a_backup_by_the_page_can_be_checked(clinic, capsys):
    folder = clinic.post("/backup").json["file"]
    assert main(["clinic", "check", "--folder", folder]) == 0
    assert capsys.readouterr().out.startswith("pass")


def test_without_a_folder_in_the_settings_the_backup_lies_next_to_the_history(tmp_path, capsys):
    with clinic_server(clinic_settings(tmp_path / "history")) as alone:
        assert alone.post("/backup").json["file"] == str(tmp_path / "history.backup")
    assert main(["clinic", "check", "--folder", str(tmp_path / "history.backup")]) == 0
    assert capsys.readouterr().out.startswith("pass")


def test_a_report_names_the_file_and_where_each_earlier_radiograph_was(clinic, tmp_path):
    pytest.importorskip("typst")
    knee = dicom(
        "2-leg", date="20260301", part="KNEE", instance="1.2.4.1", patient=("W-7", "Roe^Amina")
    )
    wrist = dicom(
        "0-forearm", date="20260401", part="WRIST", instance="1.2.4.2", patient=("W-7", "Roe^Amina")
    )
    for name, file in (("knee.dcm", knee), ("wrist.dcm", wrist)):
        added = clinic.post(f"/findings?name={name}", file)
        assert added.status == 201
    number = added.json["number"]
    pdf = clinic.get(f"/findings/{number}/report.pdf").content
    assert f"SHA-256 {hashlib.sha256(wrist).hexdigest()}".encode() in pdf
    file = tmp_path / "report.pdf"
    file.write_bytes(pdf)
    command = [require("pdftotext"), "-layout", file, "-"]
    text = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode()
    assert re.search(r"1 March 2026 +knee", text)


def test_the_session_says_whether_a_report_can_be_made(clinic, monkeypatch):
    is_there = importlib.util.find_spec("typst") is not None
    assert clinic.get("/session").json["can_report"] is is_there
    monkeypatch.setitem(sys.modules, "typst", None)
    assert clinic.get("/session").json["can_report"] is False


def test_the_page_is_served_with_its_policy_and_nothing_outside_it(clinic):
    for path in ("/", "/../settings.py", "/%2e%2e/settings.py", "/..%2fsettings.py", "/nothing"):
        reply = clinic.ask("GET", path)
        assert "default-src 'self'" in reply.headers["Content-Security-Policy"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert b"import" not in reply.content[:200]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_error_has_its_sentence_in_every_language(language):
    assert all(catalogue(language).text(error) for error in ERRORS)
