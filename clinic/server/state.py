"""What all requests of one server share."""

from __future__ import annotations

from dataclasses import dataclass

from orthoedge.clinic.accounts import Accounts, Guesses, Sessions
from orthoedge.clinic.history import History
from orthoedge.clinic.log import Log
from orthoedge.clinic.server.engine.bundle_facts import BundleFacts
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
    log: Log
    local_csrf: str
    """Token of changing requests where there are no accounts."""

    @property
    def needs_accounts(self) -> bool:
        """Whether a user must log in."""
        return self.settings.has_open_address or bool(self.accounts.names())
