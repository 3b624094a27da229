"""The steps of the self-test: send, wait until it is answered and sent on, ask the destinations."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from orthoedge.clinic.destination import Destination, Tls
from orthoedge.clinic.node import is_running
from orthoedge.clinic.selftest.arrival import ask_destination
from orthoedge.clinic.selftest.image import make_image
from orthoedge.clinic.sending import send
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.spool.spool import Spool
from orthoedge.runtime.errors import OrthoEdgeError
from orthoedge.runtime.settings import plain

__all__ = ["Step", "run_selftest"]

_POLL_S = 0.05
_CALLING_AE = "SELFTEST"
_THIS_MACHINE = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class Step:
    """One line of the self-test."""

    text: str
    """What was done; with its reason where it failed."""
    passed: bool


@dataclass(frozen=True)
class _Object:
    destination: str
    kind: str
    uid: str
    state: str
    reason: str


@dataclass(frozen=True)
class _Times:
    """Seconds from the end of a C-STORE."""

    answered: float
    sent: float


def run_selftest(
    settings: NodeSettings, wait_s: float, host: str = "", count: int = 1
) -> Iterator[Step]:
    """Send images to the running node of these settings, one after another, and follow them.

    Args:
        settings: of the node, which runs on this machine.
        wait_s: seconds that answering one image and sending it on may take together.
        host: name of this machine in the node's certificate; empty for the address of the settings.
        count: of images; with more than one the last step has their times.

    Yields:
        The steps of the first image as they are done, and those of others that fail; the first that
        fails is the last, except among destinations.

    Raises:
        OSError: the spool cannot be read.
    """
    if not is_running(settings.folder):
        yield Step(f"no node uses the spool {settings.spool}: orthoedge node serve FILE", False)
        return
    yield Step("the node runs", True)
    spool = Spool(settings.folder, settings.queue)
    times: list[_Times] = []
    try:
        for number in range(count):
            has_failed = False
            for step in _send_and_follow(settings, spool, wait_s, host, times):
                has_failed |= not step.passed
                if not number or not step.passed:
                    yield step
            if has_failed:
                return
    finally:
        spool.close()
    if count > 1:
        yield Step(_in_words(times), True)


def _send_and_follow(
    settings: NodeSettings, spool: Spool, wait_s: float, host: str, times: list[_Times]
) -> Iterator[Step]:
    uid, problem = _send_image(settings, host)
    if problem:
        yield Step(f"the receiver took no image: {problem}", False)
        return
    started = time.monotonic()
    port = settings.receiver.port
    yield Step(f"the receiver at port {port} has stored the image, {uid}", True)
    state, decision, reason = _wait_for_answer(spool, uid, started + wait_s)
    if state == "received":
        yield Step(
            f"no answer within {plain(wait_s)} s: {reason or 'see the log of the worker'}", False
        )
        return
    if state == "dead":
        yield Step(f"no answer: {reason}", False)
        return
    answered = time.monotonic() - started
    yield Step(f"the worker has answered: {decision}, after {answered:.1f} s", True)
    objects = _wait_for_sender(spool, uid, started + wait_s)
    times.append(_Times(answered, time.monotonic() - started))
    for name, destination in settings.destinations.items():
        of_this = [each for each in objects if each.destination == name]
        pause = _pause_of(spool, name)
        yield _step_of(name, destination, of_this, settings.ae_title, pause)
    if not settings.destinations:
        yield Step("there are no destinations, so the answer stays in the spool", True)


def _in_words(times: list[_Times]) -> str:
    """Median and 95th percentile, the nearest rank, of both times."""

    def of(seconds: list[float]) -> str:
        ranked = sorted(seconds)
        return f"{median(ranked):.2f} s, p95 {ranked[math.ceil(0.95 * len(ranked)) - 1]:.2f} s"

    return (
        f"{len(times)} images, from the end of C-STORE: answered after a median of "
        f"{of([each.answered for each in times])}; at every destination after "
        f"{of([each.sent for each in times])}"
    )


def _send_image(settings: NodeSettings, host: str) -> tuple[str, str]:
    """Send by C-STORE; return the UID, and what went wrong."""
    receiver, tls = settings.receiver, None
    if receiver.tls is not None:  # the node's own certificate stands for that of a client
        tls = Tls(ca=receiver.tls.ca, certificate=receiver.tls.certificate, key=receiver.tls.key)
    node = Destination(
        kind="dicom",
        host=host or _THIS_MACHINE.get(receiver.host, receiver.host),
        port=receiver.port,
        ae_title=settings.ae_title,
        tls=tls,
    )
    uid, content = make_image(settings.engine.bundle)
    calling_ae = receiver.calling_ae[0] if receiver.calling_ae else _CALLING_AE
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.dcm"
        file.write_bytes(content)
        try:
            (outcome,) = send(node, [file], calling_ae)
        except OrthoEdgeError as error:
            return uid, str(error)
    return uid, "" if outcome.state == "stored" else outcome.reason


def _wait_for_answer(spool: Spool, uid: str, deadline: float) -> tuple[str, str, str]:
    """State, decision and reason once there is an answer, or at the deadline."""
    while True:
        rows = spool.index.read("SELECT state, decision, reason FROM images WHERE uid = ?", uid)
        state, decision, reason = map(str, rows[0]) if rows else ("received", "", "")
        if state != "received" or time.monotonic() > deadline:
            return state, decision, reason
        time.sleep(_POLL_S)


def _wait_for_sender(spool: Spool, uid: str, deadline: float) -> list[_Object]:
    """Objects once none of them waits, or at the deadline."""
    query = "SELECT destination, kind, uid, state, reason FROM objects WHERE image = ?"
    while True:
        objects = [_Object(*map(str, row)) for row in spool.index.read(query, uid)]
        if time.monotonic() > deadline or all(each.state != "waiting" for each in objects):
            return objects
        time.sleep(_POLL_S)


def _pause_of(spool: Spool, name: str) -> str:
    """Why a destination waits, and until when the sender does; empty if it does not."""
    rows = spool.index.read("SELECT next_try, reason FROM destinations WHERE name = ?", name)
    for next_try, reason in rows:
        wait_s = float(str(next_try)) - time.time()
        if wait_s > 0:
            return f"{reason}; the sender tries this destination again in {math.ceil(wait_s)} s"
    return ""


def _step_of(
    name: str, destination: Destination, objects: list[_Object], ae_title: str, pause: str
) -> Step:
    """What became of the objects for one destination."""
    if not objects:
        return Step(f"{name}: its rules leave the image out, nothing was to be sent", True)
    for each in objects:
        if each.state in ("waiting", "dead"):
            word = "not sent in time" if each.state == "waiting" else "not sent"
            reason = (each.state == "waiting" and pause) or each.reason or "it waits"
            return Step(f"{name}: the {each.kind} was {word}: {reason}", False)
    kinds = ", ".join(sorted(each.kind for each in objects))
    try:
        how = ask_destination(destination, [each.uid for each in objects], ae_title)
    except OrthoEdgeError as error:
        return Step(f"{name}: {kinds} sent, but {error}", False)
    confirmed = all(each.state == "confirmed" for each in objects)
    more = "; storage is committed" if confirmed else ""
    left_out = sorted(set(destination.results) - {each.kind for each in objects})
    if left_out:  # a rejected image has no contour
        more += f"; {', '.join(left_out)}: nothing to show for this image"
    return Step(f"{name}: {kinds} sent; {how}{more}", True)
