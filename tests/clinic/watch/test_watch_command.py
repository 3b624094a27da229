"""`orthoedge watch`: from a file in a folder to results in another, and what it refuses."""

import subprocess

import pydicom
import pytest

from orthoedge.cli.main import main
from orthoedge.clinic.settings_file import read_settings
from orthoedge.clinic.watch.settings import write_settings
from orthoedge.runtime.subprocesses import code_command
from tests.helpers.clinic.nodes import eventually, image


@pytest.fixture
def folders(tmp_path):
    watched, results = tmp_path / "in", tmp_path / "out"
    watched.mkdir()
    return watched, results


@pytest.mark.slow
def test_results_of_a_file_appear_and_a_restart_makes_none_again(folders, small_bundle, tmp_path):
    watched, results = folders
    code = "from orthoedge.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    command = [*code_command(code), "watch", str(watched), "--results", str(results)]
    command += ["--bundle", str(small_bundle.path), "--target", "portable"]
    for number in (1, 2):
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        try:
            image(watched, f"1.2.{number}")
            eventually(lambda: len(list(results.glob("*.dcm"))) == 2 * number, patience=120)  # noqa: B023
            process.terminate()
            _, log = process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 0
        assert log.count(b'"image taken"') == 1
        assert log.count(b'"image answered"') == 1
    made = [pydicom.dcmread(file) for file in results.glob("*.dcm")]
    assert sorted(each.Modality for each in made) == ["OT", "OT", "SR", "SR"]
    assert sorted(file.name for file in watched.iterdir()) == ["1.2.1.dcm", "1.2.2.dcm"]


@pytest.mark.parametrize(
    ("results", "spool", "why"),
    [("in/out", "", "--results"), ("out", "in/spool", "the spool"), ("in", "", "--results")],
)
def test_nothing_is_written_into_the_watched_folder(folders, tmp_path, capsys, results, spool, why):
    watched, _ = folders
    command = ["watch", str(watched), "--results", str(tmp_path / results)]
    assert main([*command, *(["--spool", str(tmp_path / spool)] if spool else [])]) == 2
    error = capsys.readouterr().err
    assert f"{why}, " in error
    assert "lies in the watched folder" in error
    assert list(watched.iterdir()) == []


def test_settings_without_a_destination_are_refused(folders, tmp_path, capsys):
    file = tmp_path / "node.toml"
    file.write_text(f'spool = "{tmp_path}/spool"\n')
    assert main(["watch", str(folders[0]), "--settings", str(file)]) == 2
    assert "no destinations" in capsys.readouterr().err


def test_options_that_the_settings_hold_are_refused_next_to_them(folders, tmp_path, capsys):
    command = ["watch", str(folders[0]), "--settings", str(tmp_path / "node.toml")]
    assert main([*command, "--target", "portable"]) == 2
    assert "stand in the file" in capsys.readouterr().err


def test_a_target_that_does_not_exist_is_refused_at_once(folders, capsys):
    watched, results = folders
    assert main(["watch", str(watched), "--results", str(results), "--target", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err


def test_a_missing_folder_is_named(tmp_path, capsys):
    assert main(["watch", str(tmp_path / "none"), "--results", str(tmp_path / "out")]) == 2
    assert "none: not a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", ['quo"te', "back\\slash", "new\nline", "Übung 山", "\x7f"])
def test_folders_of_any_name_come_through_the_settings(tmp_path, name):
    results = tmp_path / name
    file = write_settings(results, results / "spool", bundle=None, target="x86", precision="auto")
    assert read_settings(file).destinations["results"].path == str(results)
