"""One process of the node: `python -m orthoedge.clinic.child receiver|worker|sender SETTINGS`.

In `orthoedge watch` the receiver's place is taken by `watcher SETTINGS FOLDER`.

It ends on SIGTERM, and when the supervisor that started it has died: its standard input, a pipe
from there, is then at its end. Exit status 2: it cannot start with these settings, so that trying
again is of no use.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

from orthoedge.clinic.log import Log, kind_and_place
from orthoedge.clinic.operations.start import START_ERRORS
from orthoedge.clinic.settings_file import read_settings
from orthoedge.runtime.errors import OrthoEdgeError

__all__ = ["UNUSABLE", "main"]

UNUSABLE = 2
"""Exit status of a process that cannot start with these settings."""
_DECODERS = ("PIL", "gdcm", "jpeg_ls", "numpy", "openjpeg", "pylibjpeg", "rle")


def main(role: str, settings_file: str, watched: str = "") -> int:
    """Run one role until SIGTERM; return the exit status."""
    log = Log(role)
    _keep_to_the_log(log)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    threading.Thread(target=_watch_parent, args=(stop,), daemon=True).start()
    try:
        settings = read_settings(Path(settings_file))
        if role == "receiver":
            _leave_out_decoders()
            from orthoedge.clinic.receiver.serve import receive

            receive(settings, log, stop)
        elif role == "watcher":
            from orthoedge.clinic.watch.watcher import watch_folder

            watch_folder(settings, Path(watched), log, stop)
        elif role == "worker":
            from orthoedge.clinic.worker import answer_images

            answer_images(settings, log, stop)
        else:
            from orthoedge.clinic.sender import send_objects

            send_objects(settings, log, stop)
    except START_ERRORS as error:
        log("cannot run", reason=str(error))
        return UNUSABLE
    except (OrthoEdgeError, OSError) as error:
        log("failed", reason=str(error))
        return 1
    except Exception as error:  # a traceback could hold values of an image
        log("failed unexpectedly", reason=kind_and_place(error))
        return 1
    return 0


def _keep_to_the_log(log: Log) -> None:
    """Let nothing of libraries and threads reach stderr but through `log`: it may hold values."""
    warnings.simplefilter("ignore")
    logging.getLogger().addHandler(logging.NullHandler())
    threading.excepthook = lambda failed: log(
        "thread failed unexpectedly",
        reason=kind_and_place(failed.exc_value) if failed.exc_value else "unknown",
    )


def _leave_out_decoders() -> None:
    """Keep pydicom from importing numpy and every decoder: 35 MB, and nothing is decoded here."""
    for name in _DECODERS:
        sys.modules[name] = None  # type: ignore[assignment]


def _watch_parent(stop: threading.Event) -> None:
    while os.read(0, 4096):
        continue
    stop.set()


if __name__ == "__main__":
    _status = main(*sys.argv[1:])
    sys.stderr.flush()
    # Threads of associations with peers that no longer answer would hold the process.
    os._exit(_status)
