"""What the node tells systemd: that it is ready, that it is sound, that it ends (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket

from orthoedge.clinic.settings import NodeSettings

__all__ = ["Notifier"]

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Notifier:
    """Tells the service manager of `NOTIFY_SOCKET`; without that variable it does nothing.

    READY=1 comes once the receiver listens and the worker has given the golden images their right
    answers; WATCHDOG=1 after each later golden image, and for no other reason: neither an engine
    that gives wrong answers nor a supervisor that hangs is taken for sound.

    Args:
        settings: of the node.
        has_receiver: False for a watched folder.
    """

    def __init__(self, settings: NodeSettings, has_receiver: bool) -> None:
        self._settings = settings
        self._has_receiver = has_receiver
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._is_ready = False
        self._before = self._sound_at = self._last_answer()  # of an earlier run

    def step(self) -> None:
        """Tell what has become true since the last call."""
        if not self._address or not self._has_new_answer():
            return
        if self._is_ready:
            self._send("WATCHDOG=1")
        elif self._is_open():
            self._is_ready = True
            self._send("READY=1\nWATCHDOG=1")
        else:
            self._sound_at = self._before  # the same answer counts once the receiver listens

    def stopping(self) -> None:
        """Tell that the node ends."""
        if self._address:
            self._send("STOPPING=1")

    def _has_new_answer(self) -> bool:
        sound_at = self._last_answer()
        is_new = sound_at not in (0, self._sound_at)
        if is_new:
            self._sound_at = sound_at
        return is_new

    def _last_answer(self) -> int:
        """Nanoseconds since 1970; not compared by size, since a clock may be set back."""
        with contextlib.suppress(OSError):
            return self._settings.worker_sound.stat().st_mtime_ns
        return 0

    def _is_open(self) -> bool:
        if not self._has_receiver:
            return True
        receiver = self._settings.receiver
        host = _ANY_ADDRESS.get(receiver.host, receiver.host)
        with contextlib.suppress(OSError), socket.create_connection((host, receiver.port), 1.0):
            return True
        return False

    def _send(self, message: str) -> None:
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        # A manager that does not listen must not end the node: its own watchdog then does.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.sendto(message.encode(), address)
