"""The tree of errors that is drawn is the one that is raised."""

import re

import pytest

from orthoedge.cli import main as cli
from orthoedge.cli.commands import doctor
from orthoedge.runtime import errors


def drawn():
    """(class, its parent) of each line of the tree in the module's docstring."""
    parents = ["OrthoEdgeError"]
    for line in errors.__doc__.splitlines():
        if match := re.match(r"([│ ]*)[├└]── (\w+)", line):
            depth = len(match[1]) // 4 + 1
            parents[depth:] = [match[2]]
            yield match[2], parents[depth - 1]


def test_the_drawn_tree_is_the_real_one():
    assert dict(drawn()) == {
        name: getattr(errors, name).__bases__[0].__name__
        for name in set(errors.__all__) - {"OrthoEdgeError", "RecipeError"}
    }


def test_a_bad_setting_is_a_value_error_and_keeps_its_former_name():
    assert issubclass(errors.ConfigError, ValueError)
    assert errors.RecipeError is errors.ConfigError


@pytest.mark.parametrize(
    ("kind", "status"),
    [(errors.GateFailed, 1), (errors.ModelError, 2), (errors.ConfigError, 2)],
)
def test_only_a_failed_gate_exits_with_1(monkeypatch, capsys, kind, status):
    def fail(arguments):
        raise kind("the reason")

    monkeypatch.setattr(doctor, "run", fail)
    assert cli.main(["doctor"]) == status
    assert capsys.readouterr().err.endswith("the reason\n")
