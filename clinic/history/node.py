"""Answers of the DICOM node and of a watched folder, entered into the history of the page."""

from __future__ import annotations

import contextlib
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from orthoedge.clinic.history.header import plain_text
from orthoedge.clinic.history.history import History
from orthoedge.clinic.history.records import NewFinding, Origin, Picture
from orthoedge.clinic.log import Log
from orthoedge.clinic.settings import NodeSettings
from orthoedge.clinic.watch.journal import Journal
from orthoedge.runtime.atomic_files import file_sha256
from orthoedge.runtime.errors import DataError

if TYPE_CHECKING:
    from orthoedge.clinic.making.messages import HeaderFacts
    from orthoedge.runtime.finding import Finding
    from orthoedge.runtime.image_io.radiograph import Radiograph

__all__ = ["NodeHistory", "picture_of"]


class NodeHistory:
    """Enters what a worker answered, if the settings name a history.

    It is opened with the first answer. A damaged one is logged, and keeps no image from its answer.

    Args:
        settings: of the node.
        log: takes a line for what is not entered.
    """

    def __init__(self, settings: NodeSettings, log: Log) -> None:
        self._folder = settings.history.folder
        self._spool = settings.folder
        self._log = log

    @cached_property
    def _history(self) -> History:
        return History(Path(self._folder))

    @cached_property
    def _origin(self) -> Origin:
        return "watch" if Journal.exists(self._spool) else "node"

    def close(self) -> None:
        """Close the history if it was opened."""
        if "_history" in vars(self):
            self._history.close()

    def answered(
        self,
        uid: str,
        file: Path,
        name: str,
        source: HeaderFacts | None,
        radiograph: Radiograph,
        finding: Finding,
        alert_labels: tuple[str, ...],
    ) -> None:
        """Enter a finding, once however often it is tried.

        Args:
            uid: of the image.
            file: in the spool.
            name: by which the image came, or empty.
            source: its header; None for an image without one, or whose header was not read.
            radiograph: as it was read.
            finding: on it.
            alert_labels: of the bundle.

        Raises:
            OSError: the disk is full or fails.
        """
        if not self._folder:
            return
        picture, pixels = picture_of(radiograph)
        new = NewFinding(
            origin=self._origin,
            file_name=plain_text(name) or uid,
            image_sha256=file_sha256(file),
            finding=finding.to_json(),
            alert_labels=alert_labels,
            spacing_mm=radiograph.spacing_mm,
            spacing_plane=radiograph.spacing_plane or "",
            picture=picture,
        )
        self._add(uid, source, new, pixels)

    def failed(
        self, uid: str, file: Path, name: str, source: HeaderFacts | None, reason: str
    ) -> None:
        """Enter an image that has no answer; arguments and errors as of `answered`."""
        if not self._folder:
            return
        digest = ""
        with contextlib.suppress(OSError):  # it is missing, or cannot be read
            digest = file_sha256(file)
        new = NewFinding(
            origin=self._origin,
            file_name=plain_text(name) or uid,
            image_sha256=digest,
            failure=reason,
        )
        self._add(uid, source, new, b"")

    def _add(self, uid: str, source: HeaderFacts | None, new: NewFinding, pixels: bytes) -> None:
        if source is not None:
            if source.is_selftest:
                return
            new = msgspec.structs.replace(new, patient=source.patient, study=source.study)
        try:
            self._history.add(msgspec.structs.replace(new, key=f"{self._origin}:{uid}"), pixels)
        except DataError as error:
            self._log("not entered into the history", uid=uid, reason=str(error))
            return
        if pixels:
            self._history.pixels.compress_next()


def picture_of(radiograph: Radiograph) -> tuple[Picture, bytes]:
    """A radiograph as the history keeps it, without its hash, and its pixels as uint16."""
    height, width = radiograph.pixels.shape
    stored = radiograph.stored
    samples = radiograph.pixels if stored is None else stored.samples
    bits, (black, white) = (8, (0.0, 255.0)) if stored is None else (stored.bits, stored.window)
    picture = Picture(width, height, bits, (black + white) / 2, max(1.0, white - black))
    return picture, samples.astype(np.dtype("<u2"), copy=False).tobytes()
