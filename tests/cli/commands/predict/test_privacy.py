"""Who was X-rayed is never said: not what stands in a file, and not its name unless asked for."""

import json

import pytest

from tests.helpers.hostile.privacy import content_of, found_in, plant, said_of

pytest.importorskip("pydicom")

from orthoedge.cli.main import main
from orthoedge.targets import open_pipeline


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()
    return folder, *plant(folder)


def test_two_hundred_planted_identifiers_are_in_nothing_that_the_library_says(
    archive, small_bundle, capfd
):
    folder, inside, outside = archive
    assert len({*inside, *outside}) == 200
    pipeline = open_pipeline(small_bundle, target="portable", precision="fp32")
    said = b"".join(said_of(pipeline, path) for path in sorted(folder.iterdir()))
    printed = "".join(capfd.readouterr()).encode()
    assert b"MONOCHROME" in said  # that it was heard at all
    assert found_in([*inside, *outside], said + printed) == []


def test_two_hundred_planted_identifiers_are_in_nothing_that_the_command_says(
    archive, bundle, capfd
):
    folder, inside, outside = archive
    for form in ([], ["--json"]):
        assert main(["predict", str(folder), *bundle, *form, "--no-names"]) == 1
        out, error = capfd.readouterr()
        assert "file 100: " in out or '"file 100"' in out
        assert "orthoedge: file 55: wrong modality unknown" in error
        assert found_in([*inside, *outside], (out + error).encode()) == []


def test_pictures_have_numbers_for_names_and_hold_nothing_of_who_it_was(
    archive, bundle, tmp_path, capfd
):
    folder, inside, outside = archive
    for path in sorted(folder.iterdir())[4:]:
        path.unlink()
    pictures = tmp_path / "pictures"
    arguments = ["predict", str(folder), *bundle, "--overlay", str(pictures), "--no-names"]
    assert main(arguments) == 0
    names = [f"{number}{kind}.png" for number in range(1, 5) for kind in ("", ".side")]
    assert sorted(path.name for path in pictures.iterdir()) == sorted(names)
    said = "".join(capfd.readouterr()).encode() + content_of(pictures)
    assert found_in([*inside, *outside], said) == []


def test_names_of_files_are_said_where_a_path_was_given_and_nothing_from_inside(
    archive, bundle, capfd
):
    folder, inside, outside = archive
    assert main(["predict", str(folder), *bundle, "--json"]) == 1
    out, error = capfd.readouterr()
    assert found_in(inside, (out + error).encode()) == []
    assert len(found_in(outside, out.encode())) == 100  # so the search does find them
    assert all(json.loads(line)["path"].startswith(str(folder)) for line in out.splitlines())


def test_an_overlay_folder_that_holds_a_radiograph_is_refused_without_its_name(
    archive, bundle, capfd
):
    folder, inside, outside = archive
    arguments = ["predict", str(folder), *bundle, "--overlay", str(folder), "--no-names"]
    assert main(arguments) == 2
    out, error = capfd.readouterr()
    assert "holds one of the radiographs" in error
    assert found_in([*inside, *outside], (out + error).encode()) == []
