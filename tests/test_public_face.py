"""Everything public is imported from orthoedge.runtime and orthoedge.targets, and only on use."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FACES = ("orthoedge.runtime", "orthoedge.targets")


def fresh(code):
    """What a fresh interpreter prints as JSON."""
    prelude = f"import json, runpy, sys; runpy.run_path({str(ROOT / 'conftest.py')!r})\n"
    done = subprocess.run(
        [sys.executable, "-c", prelude + code], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize("face", FACES)
def test_importing_a_face_imports_no_numpy_and_nothing_else_of_ours(face):
    loaded = fresh(f"import {face}\nprint(json.dumps(list(sys.modules)))")
    assert "numpy" not in loaded
    assert [name for name in loaded if name.startswith("orthoedge")] == ["orthoedge", face]


@pytest.mark.parametrize("face", FACES)
def test_every_listed_name_is_there_and_is_the_same_object_again(face):
    module = importlib.import_module(face)
    assert dir(module) == sorted(module.__all__)
    for name in module.__all__:
        value = getattr(module, name)
        assert value is getattr(module, name)
    with pytest.raises(AttributeError, match="has no attribute 'Absent'"):
        module.Absent  # noqa: B018


@pytest.mark.parametrize("face", FACES)
def test_type_checkers_know_the_names_that_are_listed(face):
    module = importlib.import_module(face)
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    known = {}
    for statement in block.body:
        for alias in statement.names:
            known[alias.asname or alias.name] = statement.module, alias.name
    assert sorted(known) == sorted(module.__all__)
    for name, (home, original) in known.items():
        assert getattr(module, name) is getattr(importlib.import_module(home), original)


def test_the_errors_are_all_public():
    from orthoedge import runtime
    from orthoedge.runtime import errors

    assert set(errors.__all__) - {"RecipeError"} <= set(
        runtime.__all__
    )  # its former name stays apart


def test_a_subpackage_hides_no_name():
    for face in FACES:
        module = importlib.import_module(face)
        folder = Path(module.__file__).parent
        homes = {path.stem for path in folder.iterdir()}
        assert not homes & set(module.__all__)
