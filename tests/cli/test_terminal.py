"""Other libraries' noise stays off the terminal; errors and the project's own lines do not.

Each test starts an interpreter, because pytest keeps log lines and warnings to itself.
"""

import os
import subprocess
import sys

# What torch, NNCF, rich and ONNX exporters do.
NOISE = """
import logging, sys, warnings
from orthoedge.cli.terminal import quiet_libraries
logging.basicConfig(level=logging.INFO)

def noise():
    print("Statistics collection 100% 64/64")
    logging.getLogger("torch.utils.cpp_extension").warning("No CUDA runtime is found")
    logging.getLogger("nncf").info("bias correction")
    message = "CUDA initialization: Found no NVIDIA driver"
    warnings.warn_explicit(message, UserWarning, "torch/cuda/__init__.py", 1, "torch.cuda")
"""
WORDS = ("Statistics", "No CUDA runtime", "bias correction", "Found no NVIDIA driver")


def run(code, *options):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environment.pop("PYTHONWARNINGS", None)
    command = [sys.executable, *options, "-c", NOISE + code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_nothing_of_a_library_is_shown_and_everything_of_ours_is():
    ended = run(
        "with quiet_libraries():\n"
        "    noise()\n"
        "    print('epoch 1/3', file=sys.stderr)\n"
        "    logging.getLogger('nncf').error('the file is damaged')\n"
        "    warnings.warn_explicit('of ours', UserWarning, 'x', 1, 'orthoedge.training.fit')\n"
        "print('bundle: b')\n"
    )
    assert ended.stdout == "bundle: b\n"
    for line in ("epoch 1/3", "the file is damaged", "of ours"):
        assert line in ended.stderr
    for word in WORDS:
        assert word not in ended.stderr


def test_afterwards_everything_is_as_it_was_also_after_an_error():
    ended = run(
        "before = list(warnings.filters), logging.root.manager.disable, sys.stdout\n"
        "try:\n"
        "    with quiet_libraries():\n"
        "        raise ValueError('of a library')\n"
        "except ValueError as error:\n"
        "    print('raised', error)\n"
        "assert before == (list(warnings.filters), logging.root.manager.disable, sys.stdout)\n"
        "noise()\n"
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("raised of a library\n")
    for word in WORDS:
        assert word in ended.stdout + ended.stderr


def test_warnings_that_python_was_asked_for_are_shown():
    ended = run("with quiet_libraries():\n    noise()\n", "-W", "default")
    for word in WORDS:
        assert word in ended.stdout + ended.stderr
