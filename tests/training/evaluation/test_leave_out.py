"""Leaving sites out in turn: each is measured by a network that never saw it."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from orthoedge.cli.main import main
from orthoedge.runtime.errors import ConfigError, DataError
from orthoedge.training.data.index import read_index, write_index
from orthoedge.training.data.splits import unit_of
from orthoedge.training.evaluation.leave_out import JSON, LeaveOneOut, leave_one_out
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.run_folder import load_run


def at_sites(phantoms):
    """The phantoms at two hospitals, and some of one label at a third."""
    records = []
    for number, record in enumerate(read_index(phantoms)):
        alone = record.label == "fracture" and number % 5 == 0
        records.append(replace(record, site="Oslo" if alone else ("Lima", "Rome")[number // 4 % 2]))
    return records


@pytest.mark.slow
def test_one_command_trains_for_every_site_and_resumes(phantoms, tmp_path, capsys):
    records = at_sites(phantoms)
    write_index(tmp_path / "index.csv", records)
    out = tmp_path / "left-out"
    command = ["train", "tiny", "--data", str(tmp_path), "--out", str(out)]
    command += ["--set", "epochs=1", "--leave-out", "site", "--cache", str(tmp_path / "cache")]
    assert main(command) == 0
    assert capsys.readouterr().out.strip().endswith("leave-one-out.md")
    result = msgspec.json.decode((out / JSON).read_bytes(), type=LeaveOneOut)
    assert [row.name for row in result.left_out] == ["Lima", "Oslo", "Rome"]
    lima, oslo, rome = result.left_out
    assert "one label" in oslo.skipped
    assert not (out / "Oslo").exists()
    for row in (lima, rome):
        assert {answer.question for answer in row.answers} == {"fracture", "tumour", "malignancy"}
        splits = load_run(out / row.name).splits
        assert {record.site for record in splits.test} == {row.name}
        assert row.name not in {record.site for record in (*splits.train, *splits.val)}
        assert row.images == len(splits.test)
    text = (out / "leave-one-out.md").read_text()
    assert "site Rome malignancy" in text
    assert "- Oslo: not left out" in text
    before = (out / "Lima" / "model.safetensors").stat().st_mtime_ns
    assert main(command) == 2
    assert main([*command, "--resume"]) == 0
    assert (out / "Lima" / "model.safetensors").stat().st_mtime_ns == before


def test_what_cannot_be_left_out_is_refused_before_any_training(phantoms, tmp_path):
    records = at_sites(phantoms)
    recipe = load_recipe("tiny", ("epochs=1",))
    with pytest.raises(ConfigError, match="one source only"):
        leave_one_out(recipe, records, tmp_path, "source")
    with pytest.raises(ConfigError, match="without folds"):
        leave_one_out(load_recipe("tiny", ("split.folds=2",)), records, tmp_path, "site")
    (tmp_path / JSON).write_text("{}")
    with pytest.raises(DataError, match="already holds a result"):
        leave_one_out(recipe, records, tmp_path, "site")
    assert unit_of(replace(records[0], site=""), "site") == records[0].source
