"""The precision of a run's steps: measured as it begins, recorded, and kept by `--resume`."""

import pytest
import torch

from orthoedge.runtime.errors import DataError
from orthoedge.training.data.index import read_index
from orthoedge.training.fit import fit
from orthoedge.training.loop import precision
from orthoedge.training.loop.precision import starting_precision, training_precision
from orthoedge.training.model.ensemble import build
from orthoedge.training.recipe_file import load_recipe
from orthoedge.training.run_folder import RunInfo, read_record

SETTINGS = (
    *("labels=plain,spot", "compress.alert_labels=spot", "batch=8", "precision=auto"),
    *("preprocess.size=32", "augment.crop=0", "threads=1"),
)
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="about CPUs")


def auto(*more):
    return load_recipe("tiny", (*SETTINGS, *more))


def unexpected(*_):
    raise AssertionError("measured or built where it should not be")


@pytest.fixture
def has(monkeypatch):
    """Let the processor have these instructions, and a step take so long in both precisions."""

    def pretend(*instructions, seconds=None):
        there = dict.fromkeys(instructions, True) | {"l1d_cache_size": 32768, "avx512_f": False}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: there, raising=False)
        measure = unexpected if seconds is None else lambda *_: seconds
        monkeypatch.setattr(precision, "_step_seconds", measure)

    return pretend


@pytest.mark.parametrize("instructions", ["amx_bf16", "avx512_bf16"])
@pytest.mark.parametrize(
    ("seconds", "expected"), [((1.0, 0.5), "bf16-mixed"), ((1.0, 1.0), "32-true")]
)
def test_the_faster_of_both_is_taken(has, instructions, seconds, expected):
    has(instructions, seconds=seconds)
    taken, measured = starting_precision(auto(), unexpected)
    assert taken == expected
    assert measured.startswith("a step on 8 images takes 1 s in float32 and ")


@pytest.mark.parametrize("setting", ["auto", "32-true", "bf16-mixed"])
def test_nothing_is_measured_where_there_is_nothing_to_choose(has, setting):
    has(*([] if setting == "auto" else ["amx_bf16"]))
    recipe = auto(f"precision={setting}")
    expected = "32-true" if setting == "auto" else setting
    assert starting_precision(recipe, unexpected) == (expected, "")


def test_several_processes_go_by_the_processor_and_agree(has, monkeypatch, tmp_path):
    has("amx_bf16")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    (tmp_path / "report.json").write_text("not read")
    assert starting_precision(auto(), unexpected, tmp_path) == ("bf16-mixed", "")


def test_the_measurement_runs_both_and_leaves_the_random_numbers_alone():
    torch.manual_seed(3)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    recipe = auto()
    try:
        single, half = precision._step_seconds(recipe, lambda: build(recipe))
    finally:
        torch.set_num_threads(threads)
    assert single > 0
    assert half > 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
def test_a_run_records_what_it_took_and_goes_on_with_it(has, spot_images, tmp_path, capfd):
    records, out = read_index(spot_images), tmp_path / "run"
    has("avx512_bf16", seconds=(1.0, 0.5))
    fit(auto("epochs=1"), records, out, progress=False, data=spot_images)
    assert "bf16-mixed: a step on 8 images takes 1 s in float32" in capfd.readouterr().err
    assert read_record(out / "report.json", RunInfo).precision == "bf16-mixed"
    assert training_precision(auto()) == "32-true"
    for instructions in ([], ["avx512_bf16"]):  # it is not measured again
        has(*instructions)
        assert starting_precision(auto(), unexpected, out) == ("bf16-mixed", "")
    fit(auto("epochs=1"), records, out, resume=True, progress=False, data=spot_images)
    assert read_record(out / "report.json", RunInfo).precision == "bf16-mixed"
    (out / "report.json").write_text("{}")
    with pytest.raises(DataError, match=r"report\.json"):
        starting_precision(auto(), unexpected, out)
