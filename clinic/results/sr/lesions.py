"""The outlined regions of a finding, each with its contour and sizes (PS3.16 TID 1410)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from orthoedge.clinic.results import codes
from orthoedge.clinic.results.sr.items import algorithm, comment, evaluation, tracking
from orthoedge.runtime.lesions.wording import caveat_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydicom.dataset import Dataset

    from orthoedge.clinic.results.answer import Answer
    from orthoedge.runtime.lesions.measure import Lesion, Point


def lesion_groups(header: Dataset, report_uid: str, answer: Answer) -> list[Any]:
    """Return one group for each outlined region, the largest first; none where there are none.

    Each has the contour in pixels of the source image (PS3.3 C.18.6), the highest probability in
    it, its longest diameter and its area: in millimetres with the plane for which they are true, or
    in pixels of the radiograph where the image states no spacing.

    Args:
        header: from `usable_header`.
        report_uid: SOP Instance UID of the report.
        answer: finding and radiograph.
    """
    lesions = answer.finding.lesions or ()
    return [
        _group(header, report_uid, answer, lesion, number)
        for number, lesion in enumerate(lesions, 1)
    ]


def _group(header: Dataset, report_uid: str, answer: Answer, lesion: Lesion, number: int) -> Any:
    from highdicom import sr

    source = sr.SourceImageForRegion(header.SOPClassUID, header.SOPInstanceUID)
    contour = _on_image(header, answer, lesion.contour)
    kind = "POLYLINE"
    if len(contour) < 3:  # of a region that is hardly larger than a pixel
        kind, contour = "POINT", contour.mean(axis=0, keepdims=True)
    else:
        contour = np.vstack([contour, contour[:1]])
    evaluations = []
    diameter: tuple[float, codes.Code] = (lesion.diameter_px, codes.PIXELS)
    area: tuple[float, codes.Code] = (lesion.area_px, codes.PIXELS)
    if lesion.diameter_mm is not None and lesion.area_mm2 is not None:
        diameter = (lesion.diameter_mm, codes.MILLIMETRE)
        area = (lesion.area_mm2, codes.SQUARE_MILLIMETRE)
        evaluations.append(evaluation(codes.PLANE, codes.PLANES[lesion.plane]))
    probability = (round(100 * lesion.probability, 2), codes.PERCENT)
    group = sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(report_uid, f"outlined region {number}"),
        referenced_region=sr.ImageRegion(kind, contour, source),
        finding_category=codes.MORPHOLOGICALLY_ABNORMAL.concept(),
        finding_type=codes.LESION.concept(),
        algorithm_id=algorithm(answer.finding, []),
        measurements=[
            _measurement(codes.PROBABILITY, *probability),
            _measurement(codes.LONG_AXIS, *diameter),
            _measurement(codes.AREA, *area),
        ],
        qualitative_evaluations=evaluations,
    )
    group[0].ContentSequence.extend(comment(text) for text in caveat_of((lesion,)))
    return group


def _measurement(name: codes.Code, value: float, unit: codes.Code) -> Any:
    from highdicom import sr

    return sr.Measurement(name=name.concept(), value=value, unit=unit.concept())


def _on_image(header: Dataset, answer: Answer, points: Sequence[Point]) -> npt.NDArray[np.float64]:
    """Turn points of the radiograph into columns and rows of the source image.

    There 0 is the outer edge of the first pixel; and the reader has made the pixels square.
    """
    rows, columns = answer.radiograph.pixels.shape
    size = np.array([int(header.Columns), int(header.Rows)])
    zoomed = (np.array(points) + 0.5) * size / np.array([columns, rows])
    return np.asarray(np.clip(zoomed, 0, size), np.float64)
