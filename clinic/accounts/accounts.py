"""Accounts: names, roles and hashes of passwords, in one file next to the history.

Passwords are hashed with Argon2id by the parameters of RFC 9106, section 4, second recommendation,
as argon2-cffi has them. A backup of the history has no accounts.
"""

from __future__ import annotations

import contextlib
import re
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

import msgspec

from orthoedge.clinic.file_system import only_one
from orthoedge.runtime.atomic_files import write_atomic
from orthoedge.runtime.errors import ConfigError, DataError

__all__ = ["FILE", "Account", "Accounts", "Role"]

Role = Literal["operator", "physician", "administrator"]
"""An operator adds radiographs and reads findings; a physician also enters opinions and exports
them; an administrator also deletes, backs up and reads the audit trail."""

FILE = "accounts.json"
"""Name of the file in the history's folder."""
_LOCK = ".orthoedge-accounts.lock"
_SHORTEST, _LONGEST = 10, 1024  # characters of a password
_NAME = re.compile(r"[\w.@-]{1,64}")


class Account(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One account."""

    name: str
    role: Role
    password_hash: str
    """Argon2id, in its encoded form."""


class Accounts:
    """The accounts of one folder; read again when the file has changed.

    Args:
        folder: of the history.

    Raises:
        DataError: the file is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._read_at: tuple[int, int] | None = None
        self._accounts: dict[str, Account] = {}
        self._hashing = threading.Lock()  # one at a time: each takes 64 MiB
        self._dummy = ""
        self.names()

    def names(self) -> list[str]:
        """Names of the accounts."""
        return list(self._read())

    def has_administrator(self) -> bool:
        """Whether anyone can make a backup and read the audit trail."""
        return any(account.role == "administrator" for account in self._read().values())

    def get(self, name: str) -> Account | None:
        """The account of that name."""
        return self._read().get(name)

    def add(self, name: str, role: Role, password: str) -> None:
        """Add an account, or give it a new role and password.

        Raises:
            ConfigError: the name or the password cannot be used.
            DataError: another command changes the accounts at the moment.
            OSError: the file cannot be written.
        """
        from argon2 import PasswordHasher

        if not _NAME.fullmatch(name):
            raise ConfigError(f"account {name!r}: a name has 1 to 64 letters, digits, dots, - or @")
        if not _SHORTEST <= len(password) <= _LONGEST:
            raise ConfigError(
                f"account {name}: a password has {_SHORTEST} to {_LONGEST} characters"
            )
        account = Account(name, role, PasswordHasher().hash(password))
        with self._alone():
            self._write({**self._read(), name: account})

    def remove(self, name: str) -> None:
        """Remove an account.

        Raises:
            ConfigError: there is none of that name.
            DataError: another command changes the accounts at the moment.
            OSError: the file cannot be written.
        """
        with self._alone():
            accounts = dict(self._read())
            if accounts.pop(name, None) is None:
                raise ConfigError(f"account {name}: there is none of that name")
            self._write(accounts)

    def check(self, name: str, password: str) -> Account | None:
        """The account, if the password is its own; takes as long where there is no account."""
        from argon2 import PasswordHasher
        from argon2.exceptions import Argon2Error, InvalidHashError

        account = self.get(name)
        with self._hashing:
            hasher = PasswordHasher()
            if not self._dummy:
                self._dummy = hasher.hash("no password is this one")
            with contextlib.suppress(Argon2Error, InvalidHashError):
                hasher.verify(account.password_hash if account else self._dummy, password)
                return account
        return None

    def _read(self) -> dict[str, Account]:
        try:
            state = self._path.stat()
        except FileNotFoundError:
            return {}
        if self._read_at != (state.st_mtime_ns, state.st_ino):
            try:
                accounts = msgspec.json.decode(self._path.read_bytes(), type=list[Account])
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise DataError(f"{self._path}: damaged: {error}") from error
            self._accounts = {account.name: account for account in accounts}
            self._read_at = (state.st_mtime_ns, state.st_ino)
        return self._accounts

    def _alone(self) -> AbstractContextManager[object]:
        """Keep another command from changing the accounts between reading and writing."""
        folder = self._path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        what = f"{folder}: another command changes the accounts at the moment"
        return only_one(folder / _LOCK, what, "try again")

    def _write(self, accounts: dict[str, Account]) -> None:
        write_atomic(self._path, msgspec.json.format(msgspec.json.encode([*accounts.values()])))
        self._path.chmod(0o600)
