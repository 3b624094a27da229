"""What the result objects are made from: a finding and the radiograph it is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from orthoedge.clinic.words import ALERT_LABELS

if TYPE_CHECKING:  # importing the clinic must stay small for a receiver
    from orthoedge.clinic.settings import Paper
    from orthoedge.runtime.finding import Finding
    from orthoedge.runtime.image_io.radiograph import Radiograph


@dataclass(frozen=True)
class Answer:
    """The answer to one image, as `Pipeline.predict_with_image` returns it."""

    finding: Finding
    radiograph: Radiograph
    received: datetime | None = None
    """When the image arrived, with a time zone: the content date and time of every object, so that
    making them again gives the same bytes. None takes the date and time in the image, and those of
    now where it states none."""
    language: str = "en"
    """Of picture and page, one of `LANGUAGES`; the other objects are in English."""
    paper: Paper = "a4"
    """Of the page."""
    alert_labels: tuple[str, ...] = ALERT_LABELS
    """Of the bundle: labels for which a physician must look at the radiograph soon."""
    image_sha256: str = ""
    """Of the file, for the foot of the page; empty leaves it out."""
    history: str = ""
    """Folder of the history that lists the patient's earlier radiographs; empty for none."""
