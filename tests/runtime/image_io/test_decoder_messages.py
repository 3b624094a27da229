"""What a decoder prints about a file refuses that file, and no other."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io import decoder_messages
from orthoedge.runtime.image_io.decoder_messages import decode_checked, decode_quietly
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.files import encode, radiograph

libc = ctypes.CDLL(None)
NOISE = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
JPEG = encode(".jpg", NOISE)
BAD = JPEG[:5000] + bytes(100) + JPEG[5100:]
ROOT = Path(__file__).parents[3]


@pytest.fixture(
    params=["own descriptors", "Linux before 5.9", "those of the process", "only thread"]
)
def redirected(request, monkeypatch):
    """The ways to a stderr of the decoder's own."""
    monkeypatch.setattr(decoder_messages, "_idle", deque())
    only = request.param == "only thread"
    monkeypatch.setattr(decoder_messages, "_is_only_thread", lambda: only)
    if request.param == "Linux before 5.9":
        monkeypatch.setattr(decoder_messages, "_CLOSE_RANGE", 99_999)  # no such call
    if request.param == "those of the process":

        def not_allowed():
            raise OSError

        monkeypatch.setattr(decoder_messages, "_own_descriptors", not_allowed)
    yield request.param
    for thread in decoder_messages._idle:
        thread.end()


def printing(text):
    return lambda: libc.dprintf(2, b"%s", text)


@pytest.mark.usefixtures("redirected")
def test_a_line_refuses_the_file_and_is_quoted(capfd):
    with pytest.raises(InputError, match=r"^damaged JPEG: its decoder reports 'one bad block'$"):
        decode_checked("JPEG", printing(b"one bad block\nanother\n"))
    with pytest.raises(InputError, match=r"reports 'escape[?]'"):
        decode_checked("JPEG", printing(b"escape\x1b\n"))
    assert decode_checked("JPEG", lambda: 7) == 7  # nothing is left of what was printed before
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("redirected")
@pytest.mark.parametrize(
    "line",
    [
        b"[ WARN:0@0.080] global grfmt_tiff.cpp:1040 readData OpenCV TIFF: failed\n",
        b"[ INFO:0@0.080] global any\n",
        b"Warning: unknown JFIF revision number 3.01\n",
        b"Invalid SOS parameters for sequential JPEG\n",
    ],
)
def test_lines_that_are_not_about_the_pixels_are_dropped(line, capfd):
    assert decode_checked("JPEG", printing(line)) == len(line)
    assert decode_quietly(printing(b"any line\n")) == 9
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("redirected")
def test_an_exception_of_a_decoder_is_raised_and_the_next_file_is_decoded():
    def fails():
        libc.dprintf(2, b"a reason\n")
        raise ValueError("no picture")

    for _ in range(3):
        with pytest.raises(ValueError, match="no picture"):
            decode_checked("JPEG", fails)
        assert decode_checked("JPEG", lambda: 7) == 7


@pytest.mark.usefixtures("redirected")
def test_good_and_bad_files_in_several_threads_are_told_apart(capfd):
    good = read_image(JPEG).pixels
    other = encode(".png", radiograph(200))
    files = [JPEG, BAD, other, BAD, JPEG, other] * 10

    def read(data):
        try:
            return read_image(data).pixels
        except InputError as error:
            return str(error)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(read, files))
    for data, result in zip(files, results, strict=True):
        if data is BAD:
            assert "its decoder reports 'Corrupt JPEG data" in result
        else:
            assert np.array_equal(result, good if data is JPEG else radiograph(200))
    assert capfd.readouterr().err == ""


def test_what_other_threads_print_reaches_stderr_and_refuses_nothing(redirected, capfd):
    done, count = threading.Event(), 0

    def chatter():
        nonlocal count
        while not done.is_set():
            libc.dprintf(2, b"line %d of another thread\n", count)
            count += 1

    thread = threading.Thread(target=chatter)
    thread.start()
    try:
        for _ in range(20):
            assert read_image(JPEG).pixels.shape == (300, 300)
    finally:
        done.set()
        thread.join()
    lines = capfd.readouterr().err.splitlines()
    missing = {f"line {n} of another thread" for n in range(count)} - set(lines)
    assert len(lines) == count - len(missing)  # none twice, none changed
    # Where the process is redirected, a line may be lost at the moment of change: twice a decoding.
    of_process = redirected in ("those of the process", "only thread")
    assert len(missing) <= (80 if of_process else 0)


def test_a_process_started_while_a_file_is_decoded_has_the_usual_stderr(capfd):
    started, go_on = threading.Event(), threading.Event()

    def slow():
        started.set()
        go_on.wait(30)

    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(decode_checked, "JPEG", slow)
        started.wait(30)
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'child')"], check=True)
        go_on.set()
        future.result()
    assert capfd.readouterr().err == "child"


class TimeIsUp(Exception):
    pass


@pytest.mark.usefixtures("redirected")
@pytest.mark.parametrize("error", [TimeIsUp, KeyboardInterrupt])
def test_a_call_that_a_signal_ends_leaves_its_result_to_no_other(error, capfd):
    def raise_error(*_):
        raise error

    go_on = threading.Event()
    usual = signal.signal(signal.SIGALRM, raise_error)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with pytest.raises(error):
            decode_checked("JPEG", lambda: go_on.wait(30) and "the first")
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert decode_checked("JPEG", lambda: "the second") == "the second"
    go_on.set()
    for number in range(5):
        assert decode_checked("JPEG", lambda number=number: number) == number
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"


def test_the_only_thread_decodes_itself(tmp_path):
    program = (
        "import runpy, sys, threading; runpy.run_path(sys.argv[1]); "
        "from orthoedge.runtime.image_io.reader import read_image; read_image(sys.argv[2]); "
        "print(threading.active_count())"
    )
    (tmp_path / "good.jpg").write_bytes(JPEG)
    command = [sys.executable, "-c", program, f"{ROOT}/conftest.py", str(tmp_path / "good.jpg")]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout == b"1\n"


def test_no_more_threads_wait_than_there_are_cores():
    count, all_here = 3 * (os.cpu_count() or 1), threading.Event()
    here = []

    def wait():
        here.append(1)
        if len(here) == count:
            all_here.set()
        return all_here.wait(30)

    with ThreadPoolExecutor(count) as pool:
        assert all(pool.map(lambda _: decode_checked("JPEG", wait), range(count)))
    deadline = time.monotonic() + 30  # a thread that is told to end needs a moment
    while len(decoders := threads_of_decoders()) > (os.cpu_count() or 1):
        assert time.monotonic() < deadline, decoders
        time.sleep(0.01)
    assert decoders


def threads_of_decoders():
    return [thread for thread in threading.enumerate() if thread.name == "orthoedge-decoder"]


def test_a_pipe_closed_while_decoders_wait_is_closed_for_its_reader():
    end, other = os.pipe()
    read_image(JPEG)  # its thread goes on
    with ThreadPoolExecutor(1) as pool:
        pool.submit(decode_checked, "JPEG", lambda: 7).result()
    os.close(other)
    assert os.read(end, 1) == b""
    os.close(end)


CHILD = """
import os, runpy, sys
runpy.run_path(sys.argv[1])
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io import decoder_messages
from orthoedge.runtime.image_io.reader import read_image
good, bad = (open(name, "rb").read() for name in sys.argv[2:4])

def check():
    for _ in range(2):
        assert read_image(good).pixels.shape == (300, 300)
        try:
            read_image(bad)
        except InputError as error:
            assert "Corrupt JPEG data" in str(error), error
        else:
            raise SystemExit("read")

def not_allowed():
    raise OSError

for way in ("only thread", "own descriptors", "those of the process"):
    if way == "own descriptors":
        decoder_messages._is_only_thread = lambda: False
    if way == "those of the process":
        decoder_messages._idle.clear()
        decoder_messages._own_descriptors = not_allowed
    check()
    if sys.argv[4] == "fork":
        child = os.fork()
        if not child:
            check()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    if sys.argv[4] == "closed":
        os.close(2)
        check()
        try:
            os.fstat(2)
        except OSError:
            os.dup2(1, 2)
        else:
            raise SystemExit("stderr was opened")
"""


@pytest.mark.parametrize("way", ["plain", "fork", "closed", "silent", "verbose"])
def test_every_state_of_the_process_gives_the_same_answer(way, tmp_path):
    for name, data in (("good", JPEG), ("bad", BAD)):
        (tmp_path / name).write_bytes(data)
    levels = {"silent": "SILENT", "verbose": "VERBOSE"}
    environment = os.environ | {"OPENCV_LOG_LEVEL": levels.get(way, "INFO")}
    command = [sys.executable, "-c", CHILD, f"{ROOT}/conftest.py"]
    command += [str(tmp_path / "good"), str(tmp_path / "bad"), way]
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120)
    assert (done.returncode, done.stdout) == (0, b""), done.stderr.decode()[-2000:]
    assert b"Corrupt JPEG" not in done.stderr
    assert b"Traceback" not in done.stderr


def test_opencv_reports_success_for_the_bad_file():
    """If this fails, OpenCV has learnt to refuse it, and these tests need another one."""
    decoded = decode_quietly(lambda: cv2.imdecode(np.frombuffer(BAD, np.uint8), -1))
    assert decoded.shape == (300, 300)
