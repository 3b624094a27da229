"""docs/how/benchmarks.md explains every field, name of a condition and option."""

import argparse
import re
from pathlib import Path

import msgspec
import pytest

from orthoedge.benchmarks import schema
from orthoedge.benchmarks.machine import Machine
from orthoedge.benchmarks.regression import DRIFT
from orthoedge.benchmarks.thresholds import ALIASES
from orthoedge.cli.commands import benchmark

DOCS = Path(__file__).parents[2] / "docs" / "how"
TEXT = (DOCS / "benchmarks.md").read_text("utf-8")
STRUCTS = [
    one
    for one in vars(schema).values()
    if isinstance(one, type)
    and issubclass(one, msgspec.Struct)
    and not one.__name__.startswith("_")
]


@pytest.mark.parametrize("struct", [*STRUCTS, Machine], ids=lambda one: one.__name__)
def test_every_field_is_explained(struct):
    text = TEXT + (DOCS / "accuracy.md").read_text("utf-8")
    fields = set(struct.__struct_fields__)
    if struct is schema.Interval:
        fields = {f'"{name}"' for name in fields}
        assert all(name in text for name in fields)
        return
    assert fields <= set(re.findall(r"`(\w+)`", text))


def test_the_schema_is_the_one_that_is_written():
    assert f"`{schema.SCHEMA}`" in TEXT


def test_every_name_of_a_condition_is_listed():
    section = TEXT.partition("In a device maker's CI")[2].partition("## report.json")[0]
    listed = set(re.findall(r"`(\w+)`", section))
    engines = {name for name in ALIASES if re.fullmatch(r"engine_\w+_ms", name)}
    assert set(ALIASES) - engines <= listed
    assert "`engine_mean_ms` … `engine_p999_ms`" in section


def options(parser):
    """Options of a parser and of its actions."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from options(subparser)


def test_every_option_exists():
    parser = argparse.ArgumentParser()
    benchmark.add_arguments(parser)
    known = {*options(parser), "--benchmark-compare", "--scope", "--user"}
    known |= {"--compare", "--ratios", "--training", "--seeds", "--peer"}  # of earlier versions
    assert set(re.findall(r"--[a-z][a-z-]*", TEXT)) <= known


def test_the_share_that_is_never_called_a_change_is_the_one_it_names():
    assert f"moved by more than {DRIFT:.0%}".replace("%", " %") in TEXT
