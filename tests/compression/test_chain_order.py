"""The chain is a line: reading along a real `compress`, few files are returned to.

Method. Each call between two modules of compression/ is followed as a reader follows it: once, at
its first occurrence, as a pair (calling file, called file). Loops and later calls along the same
pair add nothing. A pair whose called file was entered before, from whatever file, is a return to a
file already left. Frames of other packages and of generated code are skipped, so that a callback
counts for the file that passed it on. Properties and `str(record)` are data and are not followed.
"""

import sys
from functools import cache
from pathlib import Path

import pytest

import orthoedge.compression.compress as chain
from orthoedge.cli.main import main

FOLDER = Path(chain.__file__).parent


@cache
def module_of(file):
    path = Path(file)
    return str(path.relative_to(FOLDER)) if FOLDER in path.parents else None


def is_data(frame):
    """True in a property or `__str__`."""
    owner = frame.f_locals.get("self")
    name = frame.f_code.co_name
    return name == "__str__" or isinstance(getattr(type(owner), name, None), property)


def followed(act):
    """Pairs of files in the order in which `act` first calls from one into the other."""
    pairs = {}

    def trace(frame, event, argument):
        called = module_of(frame.f_code.co_filename)
        if called is None:
            return
        if frame.f_code.co_name == "<module>" or is_data(frame):
            return
        caller = frame.f_back
        while caller is not None and module_of(caller.f_code.co_filename) is None:
            caller = caller.f_back
        if caller is not None and module_of(caller.f_code.co_filename) != called:
            pairs.setdefault((module_of(caller.f_code.co_filename), called))

    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(None)
    return list(pairs)


def returns(pairs):
    """Pairs that lead back into a file that was entered before."""
    entered, back = {"compress.py"}, []
    for caller, called in pairs:
        if called in entered:
            back.append((caller, called))
        entered.add(called)
    return back


def test_the_count_is_that_of_the_definition():
    line = [("compress.py", "a.py"), ("a.py", "b.py"), ("compress.py", "c.py")]
    assert returns(line) == []
    assert returns([*line, ("c.py", "b.py"), ("b.py", "a.py")]) == [
        ("c.py", "b.py"),
        ("b.py", "a.py"),
    ]


@pytest.mark.slow
def test_a_compression_returns_to_few_files(tiny_run, tmp_path):
    arguments = ["compress", str(tiny_run), "--out", str(tmp_path / "bundle"), "--ablation"]
    pairs = followed(lambda: main(arguments))
    assert (tmp_path / "bundle").is_dir()
    assert len({called for _, called in pairs}) > 20
    # Two of them lead to the brushes of all drawn pictures.
    assert len(returns(pairs)) <= 14, returns(pairs)
