"""The actions of `orthoedge benchmark`, and the options of earlier versions."""

import argparse

import pytest

from orthoedge.cli.commands import benchmark
from orthoedge.cli.main import main


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("", "run"),
        ("BUNDLE --quick --no-seeds", "run BUNDLE --quick --no-baseline"),
        ("--seeds --peer a=b", "run --baseline --external a=b"),
        ("--compare A B", "compare A B"),
        ("--training tiny --set a=1", "training tiny --set a=1"),
        ("--rounds 9 --training=tiny", "training tiny --rounds 9"),
        ("--ratios", "claims"),
        ("--ratios --out o", "claims --out o"),
        ("--ratios bare,map --rounds 400", "claims minimal_pipeline saliency_map --rounds 400"),
        ("--ratios=start", "claims start cached_start"),
        ("BUNDLE --ratios dicom --threads 1", "claims dicom --bundle BUNDLE --threads 1"),
        ("--quick B --ratios map --out o", "claims saliency_map --bundle B --quick --out o"),
        ("--threads=2 --ratios --out o B", "claims --bundle B --threads=2 --out o"),
        (
            "--ratios peers --peer a=b",
            "claims onnxruntime_by_hand external --external a=b",
        ),
        ("run --quick", "run --quick"),
        ("claims a/report.json", "claims a/report.json"),
        ("--help", "--help"),
    ],
)
def test_earlier_options_are_translated_to_actions(old, new):
    rewritten = benchmark.rewrite_arguments(old.split())
    assert rewritten == new.split()
    if new != "--help":
        parser = argparse.ArgumentParser()
        benchmark.add_arguments(parser)
        parser.parse_args(rewritten)


def test_a_processor_quota_is_refused_with_the_command_that_sets_one(capsys):
    for given in (["--cpu-quota", "0.5"], ["run", "--cpu-quota=0.5"]):
        assert main(["benchmark", *given]) == 2
        error = capsys.readouterr().err
        assert "systemd-run" in error
        assert "CPUQuota=" in error
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["claims", "dicom", "--target", "x86"], "unrecognized arguments: --target x86"),
        (["compare", "a", "b", "--quick"], "unrecognized arguments: --quick"),
        (["run", "--rounds", "9"], "unrecognized arguments: --rounds"),
        (["run", "--external", "x"], "expected NAME=COMMAND"),
        (["run", "--quick", "--full"], "not allowed with argument"),
    ],
)
def test_options_of_another_action_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", *arguments])
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["claims", "dusk"], "'dusk' is unknown"),
        (["claims", "dicom", "--external", "a=b"], "not among the claims"),
        (["claims", "--external", "a=b", "--external", "a=c"], "same name"),
        (["claims", "a.json", "b.json"], "one report"),
        (["claims", "/nowhere/report.json"], "/nowhere/report.json"),
    ],
)
def test_claims_that_cannot_be_checked_are_one_line(arguments, message, capsys):
    assert main(["benchmark", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
