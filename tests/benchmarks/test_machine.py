"""What other processes do while something is timed."""

import subprocess
import sys
import time

from orthoedge.benchmarks.machine import BackgroundLoad


def spin(seconds):
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_own_work_is_nobody_elses():
    """Beside a neighbour that works all the time, own work does not add to what is counted."""
    neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)  # it has started
        idle = BackgroundLoad()
        time.sleep(1.0)
        beside = idle.cores()
        spinning = BackgroundLoad()
        spin(0.5)
        working = spinning.cores()
    finally:
        neighbour.kill()
        neighbour.wait()
    # The kernel counts in ticks of 10 ms; a crowded machine gives the neighbour less than a core.
    assert beside > 0.2
    assert working > 0.2
