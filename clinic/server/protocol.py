"""Connections that send half a request, or none, are closed after a while.

uvicorn waits for the rest of a header for ever (Kludex/uvicorn#157), so that a few hundred silent
connections would keep everyone else out.
"""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["patient_protocol"]


def patient_protocol(patience_s: float) -> type[asyncio.Protocol]:
    """Uvicorn's protocol with a limit of the time for the header of a request."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class PatientProtocol(H11Protocol):
        _silence: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is not h11.IDLE:  # the header is complete
                self._end()
            elif self._silence is None:
                self._begin()

        def connection_lost(self, exc: Exception | None) -> None:
            self._end()
            super().connection_lost(exc)

        def _begin(self) -> None:
            self._silence = self.loop.call_later(patience_s, self._give_up)

        def _end(self) -> None:
            if self._silence is not None:
                self._silence.cancel()
                self._silence = None

        def _give_up(self) -> None:
            self._silence = None
            if self.conn.their_state is h11.IDLE and (
                self.cycle is None or self.cycle.response_complete
            ):
                self.transport.close()

    return PatientProtocol
