"""A destination: where results are sent, which of them, and for which images."""

from __future__ import annotations

import re
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from orthoedge.runtime.errors import ConfigError

ResultKind = Literal["picture", "report", "contour", "segmentation", "pdf"]
"""Secondary Capture, Comprehensive 3D SR, greyscale presentation state, fractional Segmentation,
Encapsulated PDF."""

Decision = Literal["report", "refer", "reject"]
"""As `orthoedge.runtime.decision` has it, whose imports are too large for a receiver."""

RESULT_KINDS: tuple[ResultKind, ...] = get_args(ResultKind)
KINDS_WITH_WORDS: frozenset[ResultKind] = frozenset({"picture", "pdf"})
"""Those whose words are in the language of the settings."""

_LONGEST_TIMEOUT_S = 3600.0
# PS3.5 6.2, AE: printable ASCII without backslash; spaces at the ends do not count.
_AE_TITLE = re.compile(r"(?! )[ -\[\]-~]{1,16}(?<! )")
_PLACES = {"dicom": ("host", "port", "ae_title"), "dicomweb": ("url",), "folder": ("path",)}


class Tls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Files of a TLS connection, all PEM.

    Raises:
        ConfigError: a certificate without its key, or a key without its certificate.
    """

    ca: str = ""
    """Certificates that may have signed the peer's; empty for those that the system trusts."""
    certificate: str = ""
    """Own certificate, shown to the peer; empty for none."""
    key: str = ""
    """Private key of `certificate`, not encrypted."""

    def __post_init__(self) -> None:
        if bool(self.certificate) != bool(self.key):
            missing = "key" if self.certificate else "certificate"
            raise ConfigError(f"tls.{missing} is missing: certificate and key go together")


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """For which images a destination gets results: every list that is not empty must hold it."""

    modality: tuple[str, ...] = ()
    """Modality of the image, such as `CR` or `DX`, in any case."""
    body_part: tuple[str, ...] = ()
    """Body Part Examined of the image, such as `HAND`, in any case."""
    decision: tuple[Decision, ...] = ()
    """Decision of the finding."""
    calling_ae: tuple[str, ...] = ()
    """AE title of the unit that sent the image, exactly."""

    def match(self, *, modality: str, body_part: str, decision: Decision, calling_ae: str) -> bool:
        """Return whether an image of these values is sent; an absent value is an empty string."""
        pairs = (
            (self.modality, modality.upper()),
            (self.body_part, body_part.upper()),
        )
        return (
            all(not allowed or value in map(str.upper, allowed) for allowed, value in pairs)
            and (not self.decision or decision in self.decision)
            and (not self.calling_ae or calling_ae.strip() in self.calling_ae)
        )


class Destination(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One table `[destinations.NAME]` of the settings.

    Raises:
        ConfigError: a key is missing, out of range, or belongs to another kind of destination.
    """

    kind: Literal["dicom", "dicomweb", "folder"]
    """C-STORE, STOW-RS, or files in a folder."""
    host: str = ""
    """Name or address of a `dicom` peer."""
    port: int = 0
    """TCP port of a `dicom` peer."""
    ae_title: str = ""
    """AE title of a `dicom` peer."""
    url: str = ""
    """Base address of a `dicomweb` service, to which `/studies` is added."""
    authorization_file: str = ""
    """File that holds the value of the `Authorization` header for `dicomweb`; empty for none. A
    file, so that the secret is not in the settings."""
    path: str = ""
    """The folder of a `folder` destination, created if missing."""
    results: tuple[ResultKind, ...] = ("picture", "report")
    """Which results are sent."""
    forward_original: bool = False
    """Send the image too, as it was received."""
    commitment: bool = False
    """Ask a `dicom` peer for storage commitment, and keep the files until it confirms."""
    tls: Tls | None = None
    """TLS with a `dicom` peer, and its files for `dicom` and `dicomweb`; None for no TLS with a
    `dicom` peer."""
    rules: Rules = Rules()
    """For which images."""
    timeout_s: float = 30.0
    """Seconds that connecting, one answer, or one pause of the network may take."""

    def __post_init__(self) -> None:
        for key in _PLACES[self.kind]:
            if not getattr(self, key):
                raise ConfigError(f"{key} is missing: a {self.kind} destination needs it")
        for kind, keys in _PLACES.items():
            for key in keys:
                if kind != self.kind and getattr(self, key):
                    raise ConfigError(f"{key} is for kind = {kind!r}, and this is {self.kind!r}")
        self._check_dicom()
        self._check_dicomweb()
        if self.kind == "folder" and self.tls is not None:
            raise ConfigError("tls has no meaning for a folder: remove it")
        if "\0" in self.path:
            raise ConfigError("path cannot contain a NUL character")
        if not 0 < self.timeout_s <= _LONGEST_TIMEOUT_S:  # not a number fails too
            raise ConfigError(
                f"timeout_s must be above 0 and at most {_LONGEST_TIMEOUT_S:.0f}, "
                f"got {self.timeout_s}"
            )
        if len(set(self.results)) != len(self.results):
            raise ConfigError("results names a kind twice")
        if not self.results and not self.forward_original:
            raise ConfigError("results is empty and forward_original is off: nothing would be sent")

    def _check_dicom(self) -> None:
        if self.commitment and self.kind != "dicom":
            raise ConfigError(f"commitment needs kind = 'dicom', and this is {self.kind!r}")
        if self.kind != "dicom":
            return
        if not 1 <= self.port <= 65535:
            raise ConfigError(f"port must be 1 to 65535, got {self.port}")
        check_ae_title("ae_title", self.ae_title)

    def _check_dicomweb(self) -> None:
        if self.kind != "dicomweb":
            if self.authorization_file:
                raise ConfigError("authorization_file is for kind = 'dicomweb'")
            return
        try:
            parts = urlsplit(self.url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
            is_address = is_address and (parts.port is None or parts.port > 0)
        except ValueError:
            is_address = False
        if not is_address or not self.url.isascii() or re.search(r"[\x00-\x20\x7f]", self.url):
            raise ConfigError("url must be http://… or https://… with a host, in ASCII")
        if parts.username or parts.password:
            raise ConfigError("url holds a user name or password: use authorization_file")
        if parts.query or parts.fragment:
            raise ConfigError("url must end with the path of the service, without ? and #")


def check_ae_title(key: str, title: str) -> None:
    """Check an AE title from the settings (PS3.5 6.2, VR AE).

    Raises:
        ConfigError: not 1 to 16 printable ASCII characters without backslash; it names the key.
    """
    if not _AE_TITLE.fullmatch(title):
        raise ConfigError(
            f"{key} must be 1 to 16 printable ASCII characters without a backslash, got {title!r}"
        )
