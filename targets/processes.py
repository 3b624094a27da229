"""Processes of this machine that each have an engine of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


class EngineProcesses:
    """Pools of processes that end with this one, also where it is killed.

    Args:
        threads: CPU threads of each process.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._others = set(multiprocessing.active_children())
        self._pools: list[ProcessPoolExecutor] = []

    def start_pool(self, processes: int) -> ProcessPoolExecutor:
        """Return a pool, whose processes start when work is submitted.

        Submit within `no_interrupt`, so that Ctrl-C reaches this process alone.
        """
        # A forked process would inherit OpenCV's and the engine's locks without the threads that
        # release them.
        context = multiprocessing.get_context("spawn")
        with no_interrupt():
            pool = ProcessPoolExecutor(processes, context, _begin, (self._threads,))
        self._pools.append(pool)
        return pool

    def replace_pool(self, pool: ProcessPoolExecutor) -> ProcessPoolExecutor:
        """Return a new pool of one process in place of one whose process has died."""
        self._pools.remove(pool)
        pool.shutdown(wait=False, cancel_futures=True)
        return self.start_pool(1)

    def end(self) -> None:
        """Kill all processes, whatever they do."""
        for process in set(multiprocessing.active_children()) - self._others:
            process.kill()
        for pool in self._pools:
            pool.shutdown(cancel_futures=True)


@contextmanager
def no_interrupt() -> Iterator[None]:
    """Block SIGINT in processes started meanwhile: a terminal sends it to all of them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(threads: int) -> None:
    import cv2

    cv2.setNumThreads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is killed; otherwise it would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
