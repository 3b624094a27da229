"""Settings of the clinic's server, one struct for each table of its TOML file.

folder = "/var/lib/orthoedge-clinic"
host = "0.0.0.0"
port = 8443
names = ["xray.clinic.example"]

[tls]
certificate = "/etc/orthoedge/server.pem"
key = "/etc/orthoedge/server.key"

[retention]
days = 3650
"""

from __future__ import annotations

import ipaddress
import os
from pathlib import Path

from orthoedge.clinic.settings import EngineSettings, Table, check_absolute, check_range
from orthoedge.clinic.settings_file import convert_settings
from orthoedge.runtime.errors import ConfigError

__all__ = [
    "AccessSettings",
    "ClinicSettings",
    "KeepingSettings",
    "PageTls",
    "UploadSettings",
    "default_folder",
    "is_loopback",
    "read_clinic_settings",
]


class PageTls(Table, frozen=True):
    """TLS of the page. Paths of PEM files."""

    certificate: str
    """Certificate of the server, with its chain."""
    key: str
    """Its private key, not encrypted."""


class AccessSettings(Table, frozen=True):
    """Sessions and guesses."""

    idle_minutes: float = 15.0
    """Minutes without a request of the user after which a session is locked."""
    longest_hours: float = 12.0
    """Hours after which a session ends in any case."""

    def __post_init__(self) -> None:
        check_range("idle_minutes", self.idle_minutes, 0.05, 1440)
        check_range("longest_hours", self.longest_hours, 0.05, 168)


class UploadSettings(Table, frozen=True):
    """What one file may take."""

    max_mb: float = 512.0
    """MiB; the intake reads files of up to 512 MiB."""
    stall_s: float = 10.0
    """Seconds without a byte after which it is given up."""
    longest_s: float = 300.0
    """Seconds for a whole file."""
    max_waiting: int = 64
    """Files that wait for the engine; further ones are refused until there are fewer."""

    def __post_init__(self) -> None:
        check_range("max_mb", self.max_mb, 0.001, 512)
        check_range("stall_s", self.stall_s, 0.1, 3600)
        check_range("longest_s", self.longest_s, 0.1, 86400)
        check_range("max_waiting", self.max_waiting, 1, 10_000)


class KeepingSettings(Table, frozen=True):
    """How long findings stay."""

    days: float = 0.0
    """Days after which a finding is deleted with its pixels and opinions; 0 for never."""

    def __post_init__(self) -> None:
        check_range("days", self.days, 0, 36500)


class ClinicSettings(Table, frozen=True):
    """All settings of the server."""

    folder: str
    """Folder of the history, on a local disk."""
    host: str = "127.0.0.1"
    """Address to listen on. Any but that of this machine needs `[tls]` and an account."""
    port: int = 8420
    names: tuple[str, ...] = ()
    """Names by which browsers may ask for the server, beyond its address."""
    backup: str = ""
    """Folder for the backup that the page makes, best on another disk. Empty for the name of
    `folder` with `.backup` after it, next to it."""
    tls: PageTls | None = None
    access: AccessSettings = AccessSettings()
    upload: UploadSettings = UploadSettings()
    retention: KeepingSettings = KeepingSettings()
    engine: EngineSettings = EngineSettings()

    def __post_init__(self) -> None:
        for name in ("folder", "backup"):
            if getattr(self, name) or name == "folder":
                check_absolute(name, getattr(self, name))
        check_range("port", self.port, 0, 65535)
        if not is_loopback(self.host) and self.tls is None:
            raise ConfigError(
                f"host {self.host}: other machines can reach this address, so it needs TLS: add a "
                "[tls] table, or leave host out for this machine alone"
            )

    @property
    def history_folder(self) -> Path:
        """Folder of the history."""
        return Path(self.folder)

    @property
    def backup_folder(self) -> Path:
        """Folder for the backup that the page makes."""
        return Path(self.backup or f"{self.history_folder}.backup")

    @property
    def has_open_address(self) -> bool:
        """Whether other machines can reach the address."""
        return not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_clinic_settings(path: Path) -> ClinicSettings:
    """Read the settings of the server.

    Raises:
        ConfigError: no TOML, or a setting is unknown, missing, of the wrong type or out of range.
        OSError: the file cannot be read.
    """
    return convert_settings(path, ClinicSettings)


def default_folder() -> Path:
    """Folder of the history where none is given: that of the user's data."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(home) / "orthoedge" / "clinic"
