"""Make a result object of any kind, and its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orthoedge.clinic.destination import ResultKind
from orthoedge.clinic.results.answer import Answer

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def make_result(kind: ResultKind, source: Dataset, answer: Answer) -> Dataset | None:
    """Make one DICOM object of an answer, in the study of the image and a series of its own.

    The same source, bundle and kind give the same UIDs, and with the same `answer.received` the
    same object.

    Args:
        kind: which object.
        source: the image; its header is enough (`dcmread(..., stop_before_pixels=True)`).
        answer: the finding with the radiograph as it was read.

    Returns:
        The object with its file meta information; None where this kind has nothing to show: the
        contour or segmentation of a rejected image, or of a map without a peak in it.

    Raises:
        InputError: the source has no SOP class or instance UID, or no size.
        MissingDependency: highdicom is not installed.
    """
    raise NotImplementedError


def encode_result(result: Dataset) -> bytes:
    """Return the content of the file of an object from `make_result`: PS3.10, with preamble."""
    raise NotImplementedError
