"""Files of the plan store that are wrong, and builds that are killed."""

import json
import random

from orthoedge.runtime.atomic_files import sha256

# TensorRT's stand-in, as a module of a process that ends itself by SIGKILL at one step.
KILLED = """
import os, pathlib, signal, sys
from tests.helpers.tensorrt_standin.trt10 import *
from tests.helpers.tensorrt_standin import trt10 as standin_trt10

def kill(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def kill_after(work):
    def both(*arguments):
        work(*arguments)
        kill()
    return both

step = {step!r}
if step == "import":
    kill()
elif step == "parse":
    OnnxParser.parse = kill
elif step == "build":
    Builder.build_serialized_network = kill
elif step == "half":
    os.fsync = kill
elif step == "rename":
    pathlib.Path.replace = kill
elif step == "renamed":
    pathlib.Path.replace = kill_after(pathlib.Path.replace)
"""


def damaged(whole, foreign, seed):
    """`whole`, wrong in one of the ways that a disk, a copy or an update can make it wrong."""
    rng = random.Random(seed)
    kind, at = seed % 8, rng.randrange(len(whole))
    if kind < 3:
        return bytes((*whole[:at], whole[at] ^ 1 << rng.randrange(8), *whole[at + 1 :]))
    if kind == 3:
        return whole[:at]
    if kind == 4:
        return whole + rng.randbytes(rng.randrange(1, 99))
    if kind == 5:  # two blocks change places
        return whole[at:] + whole[:at] if at else whole[1:]
    magic, _, line, payload = whole.split(b"\n", 3)
    if kind == 6:  # this head, the body of another
        return b"\n".join(whole.split(b"\n", 3)[:3]) + b"\n" + foreign.split(b"\n", 3)[3]
    head = json.loads(line)
    fact = rng.choice(["gpu", "driver", "tensorrt", "kind", "new"])
    head["facts"][fact] = "timings" if head["facts"].get(fact) == "tensorrt" else "tensorrt"
    rest = json.dumps(head).encode() + b"\n" + payload
    return b"\n".join((magic, sha256(rest).encode(), rest))  # whole, and from elsewhere
