"""What docs/embed/jetson.md owes its reader; tests/cli/test_documents.py parses its commands."""

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import msgspec
import pytest

from orthoedge.benchmarks.device_record_schema import Check, PlanFacts, Ran, Record, Timed
from orthoedge.benchmarks.machine import Machine
from orthoedge.targets.jetson.device import Device
from orthoedge.targets.jetson.plan_builder import Layer
from orthoedge.targets.jetson.power import Power, RailPower
from orthoedge.targets.jetson.telemetry import Absent, Board, Clock

TEXT = (Path(__file__).parents[3] / "docs" / "embed" / "jetson.md").read_text()


def test_it_begins_with_what_is_not_known_and_with_the_licence():
    head = TEXT.split("## ")[0]
    assert head.splitlines()[0].endswith("not yet measured on hardware")
    assert "excludes medical use" in head
    assert "Critical Applications" in head


def test_the_record_takes_fewer_than_ten_commands():
    block = re.findall(r"^```\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)[0]
    commands = [line for line in block.splitlines() if line]
    assert len(commands) < 10
    assert "--record" in commands[-1]


OWN = (Record, Ran, PlanFacts, Timed, Check)
WITHIN = (Machine, Device, Layer, Board, Clock, Absent, Power, RailPower)


@pytest.mark.parametrize("part", [*OWN, *WITHIN])
def test_every_field_of_the_record_is_explained(part):
    documented = set(re.findall(r"`(\w+)`", TEXT))
    named = fields(part) if is_dataclass(part) else msgspec.structs.fields(part)
    assert {field.name for field in named} <= documented
