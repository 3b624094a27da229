"""The segmentation: the map of a finding as fractions of its peak, for every pixel of the image."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np

from orthoedge.clinic.results.codes import ARTIFICIAL_INTELLIGENCE, GRAD_CAM, SPATIAL_CONCEPT
from orthoedge.clinic.results.equipment import (
    MANUFACTURER,
    finish,
    identifiers,
    model_name,
    model_version,
)
from orthoedge.clinic.results.hot_region import map_over_image
from orthoedge.clinic.results.source import derived_uid

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from orthoedge.clinic.results.answer import Answer

_STEPS = 100  # per cent of the peak: finer steps would only make the file larger


def make_segmentation(header: Dataset, answer: Answer) -> Dataset | None:
    """Make the fractional Segmentation (PS3.3 A.51).

    It is no outline of a lesion: its segment is named by what it is, a map of what the network
    looked at.

    Args:
        header: from `usable_header`.
        answer: finding and radiograph.

    Returns:
        None for a rejected image, and where the map is empty.
    """
    heat = map_over_image(header, answer, _STEPS)
    if heat is None:
        return None
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.frame import encode_frame
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom.encaps import encapsulate
    from pydicom.uid import RLELossless

    provenance = answer.finding.provenance
    arguments = identifiers("segmentation", header, answer)
    algorithm = AlgorithmIdentificationSequence(
        name=model_name(provenance),
        family=ARTIFICIAL_INTELLIGENCE.concept(),
        version=model_version(provenance),
        source=MANUFACTURER,
        parameters={"sha256": provenance.bundle_sha256},
    )
    segment = SegmentDescription(
        1,
        "Grad-CAM++, share of its peak",
        SPATIAL_CONCEPT.concept(),
        GRAD_CAM.concept(),
        "AUTOMATIC",
        algorithm,
        tracking_uid=derived_uid(arguments["sop_instance_uid"], "map"),
        tracking_id="orthoedge map",
    )
    # highdicom takes fractions as floats alone, and makes several copies of 4 bytes a pixel. So it
    # gets an image of one pixel, and the frame of the fractions is put into the result.
    tiny = copy.copy(header)
    tiny.Rows = tiny.Columns = 1
    result = Segmentation(
        [tiny],
        np.ones((1, 1), np.uint8),
        "FRACTIONAL",
        [segment],
        fractional_type="PROBABILITY",  # the other type, occupancy, would be further off
        max_fractional_value=_STEPS,
        content_label="ORTHOEDGE",
        content_description="Saliency map of the most probable label",
        content_creator_name="orthoedge^",
        transfer_syntax_uid=RLELossless,
        **arguments,
    )
    result.Rows, result.Columns = heat.shape
    frame = encode_frame(heat, RLELossless, 8, 8, "MONOCHROME2")
    result.PixelData = encapsulate([frame])
    result.PatientOrientation = header.get("PatientOrientation", "")
    dimensions = derived_uid(
        arguments["sop_instance_uid"], "dimensions"
    )  # in place of a random one
    for item in (*result.DimensionOrganizationSequence, *result.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
    finish(result, header, answer)
    return result
