"""Settings of the DICOM node, one struct for each table of its TOML file.

A setting that is unknown, of the wrong type or out of range is an error that names its key, and so
is a file or folder that is not given by its absolute path: the node runs as a service, where a
relative path would be relative to nothing that the reader of the file can see.

    spool = "/var/lib/orthoedge/spool"
    ae_title = "XRAY-AI"

    [receiver]
    port = 11112

    [destinations.pacs]
    kind = "dicom"
    host = "10.0.0.2"
    port = 104
    ae_title = "PACS"
    results = ["picture", "report"]
    commitment = true
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from orthoedge.clinic.destination import Destination, ResultKind, check_ae_title
from orthoedge.runtime.errors import ConfigError
from orthoedge.runtime.settings import plain

__all__ = [
    "EngineSettings",
    "HistorySettings",
    "NodeSettings",
    "OperationsSettings",
    "Paper",
    "QueueSettings",
    "ReceiverSettings",
    "ReportSettings",
    "RetentionSettings",
    "SendingSettings",
    "ServerTls",
    "Table",
    "check_absolute",
    "check_name",
    "check_range",
]

Paper = Literal["a4", "letter"]
_UID = re.compile(r"[0-9.]{1,64}")
_TARGETS = ("x86", "portable", "jetson")  # `orthoedge.targets` is too large for a receiver
_NAME = re.compile(r"[A-Za-z0-9_-]{1,32}")  # it becomes part of a file's name


def check_name(name: str) -> None:
    """Check the name of a destination.

    Raises:
        ConfigError: it cannot be part of a file's name everywhere.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"destinations.{name}: a name has 1 to 32 letters, digits, - or _")


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Check a number; raises ConfigError."""
    if not least <= value <= most:
        low, high, got = (plain(number, 15, group="") for number in (least, most, value))
        raise ConfigError(f"{name} must be from {low} to {high}, got {got}")


def check_absolute(name: str, path: str) -> None:
    """Check that a path does not depend on the working folder; raises ConfigError."""
    if not Path(path).is_absolute():
        raise ConfigError(f"{name} must be an absolute path, got {path!r}")


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table of a file of settings."""


class ServerTls(Table, frozen=True):
    """TLS 1.3 of the receiver. Paths of PEM files, all three required."""

    certificate: str
    """Certificate of the node, with its chain."""
    key: str
    """Private key of the node, not encrypted."""
    ca: str
    """Certificates that signed those of the clients; a client without one is refused."""

    def __post_init__(self) -> None:
        for name in ("certificate", "key", "ca"):
            check_absolute(name, getattr(self, name))


class ReceiverSettings(Table, frozen=True):
    """The DICOM port of the node, and the limits that keep it open to honest senders."""

    host: str = "0.0.0.0"
    """Address to listen on; `127.0.0.1` for this machine alone."""
    port: int = 11112
    tls: ServerTls | None = None
    """None for plain TCP: anyone on the network can then send, whatever AE title is asked for."""
    called_ae: bool = False
    """Refuse associations that call another AE title than that of the node."""
    calling_ae: tuple[str, ...] = ()
    """AE titles that may send; empty for all. No security: an AE title can be forged."""
    other_classes: tuple[str, ...] = ()
    """UIDs of storage classes that are also accepted, filed and forwarded, but not answered."""
    max_associations: int = 64
    max_per_peer: int = 32
    """Connections of one address, open at the same time."""
    negotiation_s: float = 10.0
    """Seconds from a connection to the accepted association, the TLS handshake included."""
    idle_s: float = 60.0
    """Seconds without a complete PDU after which an association is closed."""
    stall_s: float = 5.0
    """Seconds without a byte inside a PDU after which a connection is closed."""
    max_object_mb: float = 512.0
    """MiB of one object; the intake reads files of up to 512 MiB."""

    def __post_init__(self) -> None:
        check_range("port", self.port, 1, 65535)
        check_range("max_associations", self.max_associations, 1, 1000)
        check_range("max_per_peer", self.max_per_peer, 1, 1000)
        for name in ("negotiation_s", "idle_s", "stall_s"):
            check_range(name, getattr(self, name), 0.1, 86400)
        check_range("max_object_mb", self.max_object_mb, 0.001, 4096)
        for title in self.calling_ae:
            check_ae_title("calling_ae", title)
        for uid in self.other_classes:
            if not _UID.fullmatch(uid):
                raise ConfigError(f"other_classes: expected a UID, got {uid!r}")


class QueueSettings(Table, frozen=True):
    """When new images are refused; those that are there are never dropped for them."""

    max_images: int = 10_000
    """Images that are not yet answered or not yet sent."""
    max_gb: float = 100.0
    """GiB of all files of the spool."""
    min_free_mb: float = 1024.0
    """MiB that stay free on the disk of the spool."""

    def __post_init__(self) -> None:
        check_range("max_images", self.max_images, 1, 10_000_000)
        check_range("max_gb", self.max_gb, 0.001, 1_000_000)
        check_range("min_free_mb", self.min_free_mb, 1, 1_000_000)


class RetentionSettings(Table, frozen=True):
    """How long files stay.

    An image is settled once it is answered and every object of it is sent, and confirmed where the
    destination is asked to commit itself to storage.
    """

    settled_days: float = 7.0
    """Of images that are settled, with nothing of them refused."""
    unsettled_days: float = 90.0
    """Of images that are not; after it they are deleted although an object was not sent."""
    dead_days: float = 90.0
    """Of dead letters: images without an answer, and those of which an object was refused."""
    max_gb: float = 50.0
    """GiB of settled files; above it the oldest settled ones are deleted before their time."""

    def __post_init__(self) -> None:
        for name in ("settled_days", "unsettled_days", "dead_days"):
            check_range(name, getattr(self, name), 0, 36500)
        check_range("max_gb", self.max_gb, 0, 1_000_000)


class EngineSettings(Table, frozen=True):
    """What answers the images."""

    bundle: str = ""
    """Folder or .zip; `phantom` for the demonstration; empty for the bundle in the package."""
    target: str = "x86"
    """`x86`, `portable` or `jetson`."""
    precision: Literal["auto", "int8", "fp32", "fp16"] = "auto"
    threads: int = 0
    """CPU threads; 0 for one per core."""
    cache: str = ""
    """Folder for the compiled model; empty for none."""
    public_key: str = ""
    """PEM file of the Ed25519 key that must have signed the bundle; empty accepts any."""
    decode_s: float = 10.0
    """Seconds that decoding one image may take, in a sandboxed process."""
    decode_mb: float = 512.0
    """MiB that decoding one image may take."""
    attempts: int = 3
    """Failures of the worker on one image after which that goes to the dead-letter folder."""
    silent_s: float = 300.0
    """Seconds without a sign of life after which the worker is killed and started again."""

    def __post_init__(self) -> None:
        if self.target not in _TARGETS:
            raise ConfigError(f"target must be one of {', '.join(_TARGETS)}, got {self.target!r}")
        check_range("threads", self.threads, 0, 1024)
        check_range("decode_s", self.decode_s, 0.1, 3600)
        check_range("decode_mb", self.decode_mb, 16, 65536)
        check_range("attempts", self.attempts, 1, 100)
        check_range("silent_s", self.silent_s, 10, 86400)
        if self.bundle and self.bundle != "phantom":
            check_absolute("bundle", self.bundle)
        for name in ("cache", "public_key"):
            if getattr(self, name):
                check_absolute(name, getattr(self, name))


class SendingSettings(Table, frozen=True):
    """Retries, the same for all destinations."""

    retry_s: float = 5.0
    """Seconds before the first retry; doubled with each failure."""
    longest_retry_s: float = 900.0
    """Seconds between retries, at most."""
    batch: int = 16
    """Objects sent over one association."""
    commitment_s: float = 3600.0
    """Seconds after which storage commitment that was not reported is requested again."""

    def __post_init__(self) -> None:
        check_range("retry_s", self.retry_s, 0.01, 86400)
        check_range("longest_retry_s", self.longest_retry_s, self.retry_s, 864000)
        check_range("batch", self.batch, 1, 1000)
        check_range("commitment_s", self.commitment_s, 1, 864000)


class ReportSettings(Table, frozen=True):
    """The words of destinations that get `picture` or `pdf`."""

    language: Literal["en", "fr", "es", "pt", "sw", "hi", "ar", "ur", "bn", "zh"] = "en"
    paper: Paper = "a4"
    """Of the page."""


class OperationsSettings(Table, frozen=True):
    """What tells whoever runs the node how it does."""

    metrics_port: int = 0
    """TCP port of the loopback address at which `/metrics` can be read; 0 for none."""
    golden_s: float = 60.0
    """Seconds between two golden images of the bundle that the worker answers."""

    def __post_init__(self) -> None:
        check_range("metrics_port", self.metrics_port, 0, 65535)
        check_range("golden_s", self.golden_s, 1, 86400)


class HistorySettings(Table, frozen=True):
    """Where answers are entered, so that the clinic's page shows them."""

    folder: str = ""
    """Folder of the page's history; empty for none."""

    def __post_init__(self) -> None:
        if self.folder:
            check_absolute("folder", self.folder)


class NodeSettings(Table, frozen=True):
    """All settings of a node; `[destinations.NAME]` is one table for each destination."""

    spool: str
    """Folder for everything that the node keeps, on a local disk: SQLite's write-ahead log does
    not work over a network file system."""
    ae_title: str = "ORTHOEDGE"
    receiver: ReceiverSettings = ReceiverSettings()
    queue: QueueSettings = QueueSettings()
    retention: RetentionSettings = RetentionSettings()
    engine: EngineSettings = EngineSettings()
    sending: SendingSettings = SendingSettings()
    report: ReportSettings = ReportSettings()
    operations: OperationsSettings = OperationsSettings()
    history: HistorySettings = HistorySettings()
    destinations: dict[str, Destination] = {}

    def __post_init__(self) -> None:
        check_absolute("spool", self.spool)
        check_ae_title("ae_title", self.ae_title)
        for name in self.destinations:
            check_name(name)

    @property
    def folder(self) -> Path:
        """Folder of the spool."""
        return Path(self.spool)

    @property
    def kinds(self) -> frozenset[ResultKind]:
        """Results that are made for any destination."""
        return frozenset(kind for each in self.destinations.values() for kind in each.results)

    @property
    def worker_alive(self) -> Path:
        """The file whose modification time says when the worker was last seen alive."""
        return self.folder / "worker.alive"

    @property
    def worker_sound(self) -> Path:
        """The file whose modification time says when a golden image had its right answer."""
        return self.folder / "worker.sound"

    @property
    def worker_counters(self) -> Path:
        """The file in which the worker counts what it did."""
        return self.folder / "worker.counters.json"
