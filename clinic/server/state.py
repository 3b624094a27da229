"""What all requests of one server share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from orthoedge.clinic.accounts import Accounts, Guesses, Sessions
from orthoedge.clinic.history import History
from orthoedge.clinic.log import Log
from orthoedge.clinic.server.engine.bundle_facts import BundleFacts
from orthoedge.clinic.server.engine.client import Engine
from orthoedge.clinic.server.events import Events
from orthoedge.clinic.server.settings import ClinicSettings

__all__ = ["ServerState"]


@dataclass(frozen=True)
class ServerState:
    """What all requests of one server share."""

    settings: ClinicSettings
    bundle: BundleFacts
    history: History
    accounts: Accounts
    sessions: Sessions
    guesses: Guesses
    events: Events
    engine: Engine
    log: Log
    local_csrf: str
    """Token of changing requests where there are no accounts."""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    """Kept here while they run, since the event loop keeps no task alive."""

    uploads: set[asyncio.Task[Any]] = field(default_factory=set)
    """Requests whose file is on its way or being answered; the end of the server cancels them."""

    @property
    def needs_accounts(self) -> bool:
        """Whether a user must log in."""
        return self.settings.has_open_address or bool(self.accounts.names())
