"""docs/embed/api.md lists every public name and nothing else, and its Python runs."""

import re
from pathlib import Path

import pytest

from orthoedge import runtime, targets

TEXT = (Path(__file__).parents[1] / "docs" / "embed" / "api.md").read_text("utf-8")
TABLES = [line for line in TEXT.splitlines() if line.startswith("| `")]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
PUBLIC = {*runtime.__all__, *targets.__all__}


def listed():
    """Names in the first column without methods (`.name`), and public names in the others."""
    cells = [line.split(" | ")[0] for line in TABLES]
    names = {name for cell in cells for name in re.findall(r"`(\w+)[`(]", cell)}
    return names | {name for name in re.findall(r"`(\w+)`", "".join(TABLES)) if name in PUBLIC}


def test_the_page_lists_every_public_name_and_nothing_else():
    assert listed() == PUBLIC


def test_each_name_is_said_to_be_in_a_module_that_has_it():
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        for line in section.splitlines():
            name = re.match(r"\| `(\w+)", line)
            if name is None:
                continue
            columns = [cell.strip() for cell in line.strip("|").split(" | ")]
            homes = {"runtime": [runtime], "targets": [targets], "both": [runtime, targets]}
            for home in homes.get(columns[1], [runtime]):
                assert name[1] in home.__all__, line


@pytest.mark.parametrize("name", ["predict", "predict_with_image", "map_results"])
def test_the_pipelines_methods_exist(name):
    assert f"`.{name}(" in TEXT
    assert callable(getattr(runtime.Pipeline, name))


def test_every_section_but_the_changes_has_an_example():
    sections = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    assert all("```python" in section for section in sections if "Changed" not in section[:8])


def test_the_python_of_the_page_runs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino")
    monkeypatch.chdir(tmp_path)
    names = {}
    for block in BLOCKS:
        exec(compile(block, "api.md", "exec"), names)
    assert names["finding"].label in names["bundle"].manifest.labels
    assert names["sandboxed"].verdict == names["finding"].verdict
    assert (tmp_path / "overlay.png").read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "compiled").iterdir())
    printed = capsys.readouterr().out
    assert "\nfracture\n" in printed  # of the phantom 0-hand-fracture-comminuted
    assert "no such file" in printed
    assert "expected PNG, JPEG, TIFF, BMP or DICOM" in printed
