"""One PNG's way from `orthoedge predict` to its finding: few files, and forward only.

A profiler in a child process records every call into a file of the project. "Forward" means that
no file calls into one that still waits for it: a file is entered from above and left by returning.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LIMIT = 19

CHILD = """
import inspect, json, os, sys

root, path = sys.argv[1:]
from orthoedge.cli import main as command

names = {}
def name_of(code):
    file = code.co_filename
    if file not in names:
        real = os.path.realpath(file)
        name = os.path.relpath(real, root)
        ours = name.split(os.sep)[0] in ("cli", "runtime", "targets")  # not a .venv beside them
        names[file] = name if ours and not file.startswith("<") else None
    return names[file]

def is_function(frame):  # not the body of a module or class, which an import runs
    return frame.f_code.co_flags & inspect.CO_OPTIMIZED

def is_decorator(frame):  # it stands between a caller and what is called
    return name_of(frame.f_code) == "runtime/settings.py" and frame.f_code.co_name == "call"

def passes_on(name, stack):  # it calls the decoder that it is given
    return bool(stack) and name == "runtime/image_io/decoder_messages.py"

def stack_of(frame):
    stack = []
    while frame is not None:
        name = name_of(frame.f_code)
        shown = name and is_function(frame) and not is_decorator(frame)
        shown = shown and not passes_on(name, stack)
        if shown and (not stack or stack[-1] != name):
            stack.append(name)
        frame = frame.f_back
    return stack[::-1]

opened, predicted, backward = [], [], []
seen = opened
def profile(frame, event, argument):
    global seen
    name = name_of(frame.f_code)
    if event != "call" or name is None or not is_function(frame):
        return
    if frame.f_code.co_name == "predict_file":
        seen = predicted
    stack = stack_of(frame)
    for file in stack:
        if file not in seen:
            seen.append(file)
    if stack.count(name) > 1 and stack not in backward:
        backward.append(stack)

sys.setprofile(profile)
status = command.main(["predict", path, "--json", "--bundle", "phantom"])
sys.setprofile(None)
print(json.dumps([status, opened, predicted, backward]))
"""


@pytest.fixture(scope="module")
def walk():
    pytest.importorskip("openvino")
    sample = min((ROOT / "runtime" / "assets" / "samples" / "phantoms").glob("*.png"))
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".typing")}
    command = [sys.executable, "-c", CHILD, str(ROOT.resolve()), str(sample)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    status, opened, predicted, backward = json.loads(done.stdout.splitlines()[-1])
    assert status == 0
    assert '"label":"fracture"' in done.stdout
    return opened, predicted, backward


def test_one_png_crosses_few_files(walk):
    _, predicted, _ = walk
    print(len(predicted), *predicted, sep="\n")
    assert len(predicted) <= LIMIT
    assert predicted[0] == "cli/main.py"
    assert {"runtime/pipeline.py", "runtime/image_io/reader.py", "targets/x86/engine.py"} <= set(
        predicted
    )


def test_the_way_goes_forward_only(walk):
    _, _, backward = walk
    assert backward == []


def test_the_way_of_opening_is_counted_too(walk):
    """No limit is promised for it; it is printed for whoever compares."""
    opened, predicted, _ = walk
    print(len({*opened, *predicted}), *opened, sep="\n")
    assert opened[0] == "cli/main.py"
