"""Make a result object of any kind, and its file."""

from __future__ import annotations

import functools
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orthoedge.clinic.destination import ResultKind
from orthoedge.clinic.results.answer import Answer
from orthoedge.runtime.dicom.silence import quiet_pydicom
from orthoedge.runtime.errors import MissingDependency

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_RESULTS = (  # secondary capture, presentation state, Comprehensive 3D SR, Segmentation
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.11.1",
    "1.2.840.10008.5.1.4.1.1.88.34",
    "1.2.840.10008.5.1.4.1.1.66.4",
)
_making = threading.Lock()


@functools.cache
def prepare_results() -> None:
    """Import highdicom, and drop the tables that no result needs.

    `make_result` calls it. A process that is short of memory calls it first of all: highdicom
    reads the attributes of every module of the standard, which takes 110 MB for a moment and would
    keep 65 MB.

    Raises:
        MissingDependency: highdicom is not installed.
    """
    try:
        from highdicom._standard_utils import (
            get_iod_module_map,
            get_module_attribute_map,
            get_sop_class_iod_map,
        )
    except ImportError as error:
        raise MissingDependency("highdicom", "clinic", "making DICOM results") from error

    from orthoedge.clinic.results.source import RADIOGRAPHS

    iods, modules = get_sop_class_iod_map(), get_iod_module_map()
    needed = {
        module["key"]
        for sop_class in (*RADIOGRAPHS, *_RESULTS)
        for module in modules[iods[sop_class]]
    }
    attributes = get_module_attribute_map()
    for name in attributes.keys() - needed:
        del attributes[name]


def make_result(kind: ResultKind, source: Dataset, answer: Answer) -> Dataset | None:
    """Make one DICOM object of an answer, in the study of the image and a series of its own.

    The same source and kind with a finding of the same provenance give the same UIDs, and with the
    same finding and `answer.received` the same bytes.

    Args:
        kind: which object.
        source: the image; its header is enough (`dcmread(..., stop_before_pixels=True)`).
        answer: the finding with the radiograph as it was read.

    Returns:
        The object with its file meta information; None where this kind has nothing to show: the
        contour or segmentation of a rejected image, or of a map without a peak inside the image.

    Raises:
        InputError: the source has no SOP class of a radiograph, no SOP instance UID, or no size.
        MissingDependency: highdicom is not installed, or typst for a picture or a page.
        ConfigError: no font for the language of a picture or a page.
    """
    prepare_results()
    from orthoedge.clinic.results.source import usable_header

    with quiet_pydicom(), _lenient_uids():
        header = usable_header(source)
        if kind == "picture":
            from orthoedge.clinic.results.picture import make_picture

            return make_picture(header, answer)
        if kind == "report":
            from orthoedge.clinic.results.sr.report import make_report

            return make_report(header, answer)
        if kind == "contour":
            from orthoedge.clinic.results.contour import make_contour

            return make_contour(header, answer)
        if kind == "pdf":
            from orthoedge.clinic.report.encapsulated import make_pdf

            return make_pdf(header, answer)
        from orthoedge.clinic.results.segmentation import make_segmentation

        return make_segmentation(header, answer)


def encode_result(result: Dataset) -> bytes:
    """Return the content of the file of an object from `make_result`: PS3.10, with preamble."""
    content = io.BytesIO()
    with quiet_pydicom(), _lenient_uids():
        result.save_as(content, enforce_file_format=True)
    return content.getvalue()


@contextmanager
def _lenient_uids() -> Iterator[None]:
    """Let pydicom write the UID of an image as it is, even with leading zeros.

    `usable_header` has checked everything else. The setting belongs to the whole process, hence the
    lock.
    """
    from pydicom import config

    with _making:
        before = config.settings.writing_validation_mode
        config.settings.writing_validation_mode = config.IGNORE
        try:
            yield
        finally:
            config.settings.writing_validation_mode = before
