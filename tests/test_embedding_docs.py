"""What docs/embed/embedding.md and its unit file tell a reader to type runs as it stands."""

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import cv2
import pytest

from orthoedge.runtime.bundles.bundle import PHANTOM, PHANTOM_SAMPLES

DOCS = Path(__file__).parents[1] / "docs" / "embed"
TEXT = (DOCS / "embedding.md").read_text()
UNIT = (DOCS / "cpp" / "orthoedge@.service").read_text()


def blocks(language):
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder such as the page assumes."""
    (tmp_path / "bundles").mkdir()
    shutil.copytree(PHANTOM, tmp_path / "bundles" / "0.1.0")
    (tmp_path / "bundles" / "current").symlink_to("0.1.0")
    pixels = cv2.imread(str(min(PHANTOM_SAMPLES.glob("*.png"))), cv2.IMREAD_GRAYSCALE)
    pixels.tofile(tmp_path / "radiograph.raw")
    (tmp_path / "inbox").mkdir()
    for name in ("radiograph.png", "inbox/a.png"):
        assert cv2.imwrite(str(tmp_path / name), pixels)
    (tmp_path / "inbox" / "b.png").write_bytes(b"cut")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ran(installed, capsys):
    """The names that the page's Python leaves, block after block, and what each block printed."""
    names, printed = {}, []
    for block in blocks("python"):
        exec(compile(block, "embedding.md", "exec"), names)
        printed.append(capsys.readouterr().out)
        names.setdefault("findings of blocks", []).append(names["finding"])
    return names, printed


def numbers(finding):
    return finding.saliency_map.tobytes(), finding.verdict, finding.placement


def test_every_line_of_python_runs(ran):
    names, printed = ran
    ten, limits, many, together, sound, replayed = blocks("python")
    assert len([line for line in ten.splitlines() if line]) == 10
    first, guarded, *_ = names["findings of blocks"]
    assert first.label == "fracture"  # the sample is 0-hand-fracture-comminuted
    assert printed[0].startswith(f"{first.decision} fracture {{")
    assert names["record"] == first.to_json()
    assert "deadline_ms" in limits
    assert numbers(guarded) == numbers(first)
    assert "pipeline.map_results" in many
    assert re.fullmatch(rf"a.png: {first.decision}\nb.png: .+\n", printed[2])
    assert "to_thread" in together
    assert [numbers(finding) for finding in names["findings"]] == [numbers(first)] * 2
    assert "golden_images" in sound
    assert names["sound"] is True
    assert "provenance" in replayed
    assert names["now"] is not names["then"]
    assert names["now"]["probabilities"] == first.probabilities


def test_a_call_that_is_late_gives_no_answer(installed):
    names = {}
    ten, limits, *_ = blocks("python")
    exec(compile(ten, "embedding.md", "exec"), names)
    exec(compile(limits.replace("=2000", "=0.001"), "embedding.md", "exec"), names)
    assert names["finding"] is None


def test_a_replay_by_another_bundle_stops(installed):
    names = {}
    ten, *_, replayed = blocks("python")
    exec(compile(ten, "embedding.md", "exec"), names)
    manifest = installed / "bundles" / "0.1.0" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes() + b" ")
    manifest.with_suffix(".sha256").unlink()
    with pytest.raises(SystemExit, match="not what ran then"):
        exec(compile(replayed, "embedding.md", "exec"), names)


def test_the_ten_lines_stop_at_a_damaged_model(installed):
    from orthoedge.runtime.errors import IntegrityError

    model = installed / "bundles" / "0.1.0" / "model.int8.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"model\.int8\.onnx"):
        exec(compile(blocks("python")[0], "embedding.md", "exec"), {})


def test_a_bundle_is_changed_and_changed_back_as_the_page_says(installed):
    bundles = installed / "bundles"
    shutil.copytree(PHANTOM, bundles / "0.2.0")
    line = re.search(r"^ln -s .*$", TEXT, re.MULTILINE).group()
    for version in ("0.2.0", "0.1.0"):
        subprocess.run(line.replace("0.2.0", version), shell=True, check=True)
        assert (bundles / "current").resolve().name == version
        assert sorted(path.name for path in bundles.iterdir()) == ["0.1.0", "0.2.0", "current"]


def directives():
    lines = [line for line in UNIT.splitlines() if line and line[0] not in "#["]
    return [tuple(line.split("=", 1)) for line in lines]


def commands():
    lines = [line for text in blocks("") for line in text.replace("\\\n", "").splitlines()]
    lines += [value for key, value in directives() if key == "ExecStart"]
    for line in lines:
        words = shlex.split(line, comments=True)
        if words and Path(words[0]).name == "orthoedge":
            yield pytest.param(words[1:], id=" ".join(words[:3]))


def test_the_page_and_the_unit_have_commands():
    assert len(list(commands())) == 10


@pytest.mark.parametrize("words", list(commands()))
def test_commands_are_understood(words):
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    importlib.import_module(f"orthoedge.cli.commands.{words[0]}").add_arguments(parser)
    parser.parse_args(words[1:])


def test_the_unit_has_no_network_nothing_writable_and_a_ceiling():
    found = dict(directives())
    assert found["PrivateNetwork"] == "yes"
    assert found["ProtectSystem"] == "strict"
    assert found["DynamicUser"] == "yes"
    assert found["MemoryMax"] == "256M"
    assert found["Environment"] == "MALLOC_MMAP_THRESHOLD_=1048576"
    assert not {"ReadWritePaths", "StateDirectory", "CacheDirectory"} & set(found)
    # With these the engine cannot compile its kernels, or the processor's flags cannot be read.
    assert not {"MemoryDenyWriteExecute", "ProcSubset"} & set(found)


def test_links_lead_somewhere():
    targets = re.findall(r"\]\(([^)#:]+)\)", TEXT)
    assert targets
    for target in targets:
        assert (DOCS / target).exists(), target
