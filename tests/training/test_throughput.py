"""`benchmark --training`: the loop beside the bare step, not how fast either is here."""

import re

from orthoedge.cli.commands import benchmark
from orthoedge.cli.main import main


def test_it_prints_both_rates_and_their_ratio(monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "STEPS", 2)
    settings = [
        "backbones=test_efficientnet",
        "fusion=",
        "preprocess.size=32",
        "batch=4",
        "ema=0.9",
    ]
    arguments = [word for setting in settings for word in ("--set", setting)]
    assert main(["benchmark", "--training", "tiny", "--rounds", "3", *arguments]) == 0
    printed = capsys.readouterr().out
    rate, bound = r"[\d.]+ images/s", r"[\d.]+"
    assert re.fullmatch(
        rf"tiny, batch 4 at 32 px: 32-true, loop {rate}, bare step {rate}, ratio {bound} "
        rf"\(95 % {bound} to {bound}\)\n",
        printed,
    )


def test_a_recipe_slip_is_one_line(capsys):
    assert main(["benchmark", "--training", "tiny", "--set", "bach=4"]) == 2
    assert "did you mean batch?" in capsys.readouterr().err
