"""Accounts, sessions, and the limit of guesses."""

from orthoedge.clinic.accounts.accounts import Account, Accounts, Role
from orthoedge.clinic.accounts.guesses import Guesses
from orthoedge.clinic.accounts.sessions import Session, Sessions

__all__ = ["Account", "Accounts", "Guesses", "Role", "Session", "Sessions"]
