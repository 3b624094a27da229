"""Every text that a person reads, in ten languages, and a finding in words."""

from orthoedge.clinic.words.catalogue import Catalogue, catalogue
from orthoedge.clinic.words.facts import ImageFacts
from orthoedge.clinic.words.finding_words import ALERT_LABELS, FindingWords, Reader, finding_words
from orthoedge.clinic.words.languages import LANGUAGES

__all__ = [
    "ALERT_LABELS",
    "LANGUAGES",
    "Catalogue",
    "FindingWords",
    "ImageFacts",
    "Reader",
    "catalogue",
    "finding_words",
]
