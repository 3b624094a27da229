"""What `orthoedge node check` and `status` say."""

import json
import os
import socket
import sys

import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.report.fonts import open_fonts
from orthoedge.clinic.spool.spool import Spool
from tests.helpers.clinic.nodes import image, new_image, node_settings
from tests.helpers.clinic.peers import TITLE, free_port, server

LINES = 'spool = "{}"\n[receiver]\nhost = "127.0.0.1"\nport = {}\n[engine]\nbundle = "{}"\n'


@pytest.fixture
def written(tmp_path, small_bundle):
    """Call it with the rest of a file of settings for that file and the settings' values."""

    def write(more=""):
        settings = node_settings(tmp_path)
        file = tmp_path / "node.toml"
        place = settings.spool, settings.receiver.port, small_bundle.path
        file.write_text(LINES.format(*place) + more)
        return file, settings

    return write


def pacs(port, **changes):
    given = {"kind": "dicom", "host": "127.0.0.1", "port": port, "ae_title": TITLE, **changes}
    return "[destinations.pacs]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in given.items())


def check(file, capsys):
    code = main(["node", "check", str(file)])
    return code, capsys.readouterr().out.splitlines()


def test_check_passes_where_every_destination_answers(written, capsys):
    pytest.importorskip("typst")
    with server() as port:
        file, settings = written(pacs(port))
        assert check(file, capsys) == (
            0,
            [
                f"pass  {file}: every setting is known and within its range",
                f"pass  spool {settings.spool}",
                "pass  bundle and its key",
                f"pass  receiver 127.0.0.1, port {settings.receiver.port}",
                "pass  decoders and results",
                "pass  destination pacs answers",
            ],
        )


def test_check_says_which_destination_does_not_answer(written, capsys):
    port = free_port()
    code, lines = check(written(pacs(port))[0], capsys)
    assert code == 1
    assert lines[-1].startswith(f"FAIL  destination pacs answers: {TITLE} at 127.0.0.1:{port}: ")


def test_check_says_that_answers_stay_without_a_destination(written, capsys):
    code, lines = check(written()[0], capsys)
    assert code == 0
    assert lines[-1] == "note: there are no destinations, so answers stay in the spool"


def test_check_names_what_is_wrong_in_the_file(written, capsys):
    file, _ = written("[queue]\nmax_images = 0\n" + pacs(70000))
    code, lines = check(file, capsys)
    assert code == 1
    assert lines[0] == f"FAIL  {file}: queue: max_images must be from 1 to 10000000, got 0"
    assert lines[1].startswith(f"FAIL  {file}: destinations.pacs: port must be ")


def test_check_names_a_port_that_is_taken(written, capsys):
    file, settings = written()
    with server() as port:
        file.write_text(file.read_text().replace(str(settings.receiver.port), str(port)))
        code, lines = check(file, capsys)
    assert code == 1
    (line,) = (
        each for each in lines if each.startswith(f"FAIL  receiver 127.0.0.1, port {port}: ")
    )
    assert f"cannot listen there: in use by process {os.getpid()}: " in line
    assert line.endswith("; change port in [receiver] of the settings")


def test_check_tries_the_port_of_the_metrics_too(written, capsys):
    port = free_port()
    file, _ = written(f"[operations]\nmetrics_port = {port}\n")
    code, lines = check(file, capsys)
    assert (code, lines[4]) == (0, f"pass  metrics 127.0.0.1, port {port}")
    with socket.create_server(("127.0.0.1", port)):
        code, lines = check(file, capsys)
    assert code == 1
    assert lines[4].startswith(f"FAIL  metrics 127.0.0.1, port {port}: cannot listen there: ")


@pytest.mark.parametrize("result", ["picture", "pdf"])
def test_check_tries_whether_words_can_be_set(written, tmp_path, capsys, monkeypatch, result):
    pytest.importorskip("typst")
    out = f'[destinations.out]\nkind = "folder"\npath = "{tmp_path}/out"\n'
    file, _ = written(f'{out}results = ["{result}"]\n')
    assert "pass  decoders and results" in check(file, capsys)[1]
    monkeypatch.setitem(sys.modules, "typst", None)
    open_fonts.cache_clear()
    code, lines = check(file, capsys)
    assert code == 1
    assert "pip install 'orthoedge[report]'" in "\n".join(lines)


@pytest.mark.parametrize("plugins", [(), ("pydicom",)])
def test_check_names_a_decoder_that_is_missing(written, capsys, monkeypatch, plugins):
    from pydicom.pixels.decoders.base import Decoder

    monkeypatch.setattr(Decoder, "available_plugins", property(lambda self: plugins))
    code, lines = check(written()[0], capsys)
    assert code == 1
    (line,) = (each for each in lines if each.startswith("FAIL  decoders and results: "))
    assert "is not installed and is needed for reading JPEG images" in line


def test_check_names_a_certificate_that_is_missing(written, tmp_path, capsys):
    names = "".join(f'{name} = "{tmp_path}/{name}.pem"\n' for name in ("certificate", "key", "ca"))
    code, lines = check(written("[receiver.tls]\n" + names)[0], capsys)
    assert code == 1
    assert f"receiver.tls.certificate {tmp_path}/certificate.pem" in "\n".join(lines)


def test_check_names_a_bundle_that_is_missing(written, tmp_path, capsys, small_bundle):
    file, _ = written()
    file.write_text(file.read_text().replace(str(small_bundle.path), f"{tmp_path}/none"))
    code, lines = check(file, capsys)
    assert code == 1
    assert f"FAIL  bundle and its key: {tmp_path}/none" in "\n".join(lines)


def history(tmp_path):
    """Table of a history whose folder cannot be made, and that folder."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "history"
    return f'[history]\nfolder = "{folder}"\n', folder


def test_check_tries_the_folder_of_the_history(written, tmp_path, capsys):
    table, folder = history(tmp_path)
    code, lines = check(written(table)[0], capsys)
    assert code == 1
    assert f"FAIL  history {folder}: {folder}: Not a directory" in lines
    table = table.replace("file/history", "history")
    code, lines = check(written(table)[0], capsys)
    assert (code, lines[2]) == (0, f"pass  history {tmp_path}/history")


@pytest.mark.parametrize("verb", ["node serve", "watch IN --settings"])
def test_no_node_starts_whose_history_has_no_folder(written, tmp_path, only_line, verb):
    table, folder = history(tmp_path)
    out = f'[destinations.out]\nkind = "folder"\npath = "{tmp_path}/out"\n'
    file, settings = written(out + table)
    (tmp_path / "in").mkdir()
    assert main([*verb.replace("IN", str(tmp_path / "in")).split(), str(file)]) == 2
    assert f"{folder}: Not a directory" in only_line()
    assert not settings.folder.exists()


@pytest.mark.parametrize("action", ["serve", "status"])
def test_settings_that_cannot_be_used_are_one_line(tmp_path, action, only_line):
    file = tmp_path / "node.toml"
    file.write_text("spool = 5\n")
    assert main(["node", action, str(file)]) == 2
    assert f"{file}: spool: Expected `str`, got `int`" in only_line()


@pytest.mark.parametrize("action", ["serve", "check", "status"])
def test_a_file_that_is_missing_is_one_line(tmp_path, action, only_line):
    assert main(["node", action, str(tmp_path / "none.toml")]) == 2
    assert "none.toml: No such file or directory" in only_line()


def test_status_is_a_line_for_each_state(written, tmp_path, capsys):
    file, settings = written()
    spool = Spool(settings.folder)
    for number in range(2):
        spool.add_image(image(tmp_path, f"1.2.{number}"), new_image(f"1.2.{number}"))
    spool.bury(spool.next_image(), "wrong modality MR")
    spool.close()
    assert main(["node", "status", str(file)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("images, received: 1, 0.0 MB, oldest ")
    assert second.endswith("; last reason: wrong modality MR")
    assert main(["node", "status", str(file), "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(r["what"], r["state"], r["count"]) for r in records] == [
        ("image", "received", 1),
        ("image", "dead", 1),
    ]


def test_status_of_an_empty_spool_and_of_none(written, capsys, only_line):
    file, settings = written()
    assert main(["node", "status", str(file)]) == 2
    assert "no spool yet" in only_line()
    Spool(settings.folder).close()
    assert main(["node", "status", str(file)]) == 0
    assert capsys.readouterr().out == "the spool is empty\n"
