"""A processor at a quarter of its speed: the process runs 25 ms of every 100."""

import contextlib
import os
import signal
import threading

_RUNS_S, _STOPS_S = 0.025, 0.075


@contextlib.contextmanager
def quarter_speed(pid):
    """Slow a process and its threads down until the context is left."""
    over = threading.Event()

    def drive():
        with contextlib.suppress(ProcessLookupError):
            while not over.wait(_RUNS_S):
                os.kill(pid, signal.SIGSTOP)
                over.wait(_STOPS_S)
                os.kill(pid, signal.SIGCONT)

    thread = threading.Thread(target=drive)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
