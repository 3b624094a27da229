"""Run as a program: predict, and report as JSON what was changed on the way.

Usage: watched_child.py TARGET FILE... The kernel ends the process where anything in it, native code
included, writes to a file (SIGXFSZ) or opens a socket (SIGSYS), and any program that it starts.
Standard output must be a pipe.
"""

import ctypes
import json
import logging
import os
import platform
import random
import resource
import signal
import struct
import sys
import warnings
from itertools import count
from pathlib import Path

# Their own imports set LD_LIBRARY_PATH; what counts is what is changed after them.
import cv2
import numpy as np

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_TELLING = (
    "os.chdir", "os.chmod", "os.exec", "os.fork", "os.link", "os.mkdir", "os.posix_spawn",
    "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.system", "os.truncate", "os.utime",
    "shutil.", "socket.", "subprocess.", "tempfile.", "urllib.",
)  # fmt: skip
_SECCOMP_MODE_FILTER = 2
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_SOCKET, _EXECVE, _EXECVEAT = 41, 59, 322  # system calls of x86-64


def forbid_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and natives may not look


def forbid_sockets_and_programs():
    _forbid(_SOCKET, _EXECVE, _EXECVEAT)


def forbid_sockets():
    """For this process and all that it starts."""
    _forbid(_SOCKET)


def _forbid(*forbidden):
    """A filter of seccomp(2): kill the process at these calls, allow all others."""
    assert platform.machine() == "x86_64"
    steps = [(0x20, 0, 0, 0)]  # load the number of the call
    steps += [(0x15, len(forbidden) - i, 0, call) for i, call in enumerate(forbidden)]
    steps += [(0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x80000000)]  # allow; kill the process
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    code = ctypes.create_string_buffer(program, len(program))
    header = ctypes.create_string_buffer(
        struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code))
    )
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    assert prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    address = ctypes.addressof(header)
    assert prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, address, 0, 0) == 0, ctypes.get_errno()


def environment_of_c():
    """Native code sets variables that os.environ does not see."""
    found = ctypes.POINTER(ctypes.c_char_p).in_dll(ctypes.CDLL(None), "environ")
    return sorted(
        os.fsdecode(entry) for entry in iter(map(found.__getitem__, count()).__next__, None)
    )


def state():
    """What belongs to the whole process and so to the program around the library."""
    loggers = {name: logging.getLogger(name) for name in logging.root.manager.loggerDict}
    loud = {
        name: [logger.level, *map(repr, logger.handlers)]
        for name, logger in {**loggers, "root": logging.root}.items()
        if logger.level not in (logging.NOTSET, logging.WARNING)
        or any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers)
    }
    handlers = {int(s): repr(signal.getsignal(s)) for s in signal.valid_signals()}
    status = Path("/proc/self/status").read_text().splitlines()
    limits = [getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "loggers": loud,
        "root level": logging.root.level,
        "logging disabled": logging.root.manager.disable,
        "threads of OpenCV": cv2.getNumThreads(),
        "OpenCV optimized": cv2.useOptimized(),
        "errors of numpy": np.geterr(),
        "printing of numpy": repr(np.get_printoptions()),
        "random numbers": hash(random.getstate()),
        "random numbers of numpy": hash(np.random.get_state()[1].tobytes()),  # noqa: NPY002
        "environment": dict(os.environ),
        "environment of C": environment_of_c(),
        "folder": os.getcwd(),  # noqa: PTH109
        "sys.path": sys.path,
        "umask": next(line for line in status if line.startswith("Umask")),
        "hooks": [repr(sys.excepthook), repr(sys.unraisablehook), repr(sys.displayhook)],
        "warnings": repr(warnings.filters),
        "signals": handlers,
        # A program that native code starts and waits for: the filter ends it, not this process.
        "children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt,
        "limits": [resource.getrlimit(limit) for limit in limits],
    }


def main(target, files):
    seen = []

    def hook(event, arguments):
        if event == "open":
            flags = arguments[2]
            if isinstance(flags, int) and flags & _WRITING:
                seen.append(f"open {arguments[0]!r} to write")
        elif event.startswith(_TELLING):
            seen.append(f"{event} {arguments}")

    forbid_files()
    forbid_sockets_and_programs()
    before = state()
    sys.addaudithook(hook)
    from orthoedge.targets import open_pipeline

    pipeline = open_pipeline(target=target)
    decisions = [pipeline(Path(file)).decision for file in files]
    after = state()
    changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    open_files = []
    for file in Path("/proc/self/fd").iterdir():
        try:
            open_files.append(str(file.readlink()))
        except OSError:
            continue  # that of the listing itself
    print(json.dumps({
        "decisions": decisions, "seen": seen, "changed": changed, "open": open_files,
    }))  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
