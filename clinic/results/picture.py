"""The picture: a Secondary Capture of the radiograph next to the same under its map, with words.

It asks nothing of a viewer, so it is the one result that every viewer shows. Compressed by RLE: no
decoder is missing for it, and letters keep their edges. JPEG 2000 makes a seventh of it, but the
viewers of Orthanc 1.10 show no colours in it (`YBR_RCT`), with the GDCM plug-in or without.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from orthoedge.clinic.results.codes import SOURCE_IMAGE
from orthoedge.clinic.results.equipment import finish, identifiers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from orthoedge.clinic.results.answer import Answer


def make_picture(header: Dataset, answer: Answer) -> Dataset:
    """Make the Secondary Capture (PS3.3 A.8.1).

    Args:
        header: from `usable_header`.
        answer: finding and radiograph, and language of the words.

    Raises:
        ConfigError: no font for the language of the words.
        MissingDependency: typst is not installed.
    """
    from highdicom.sc import SCImage
    from pydicom.dataset import Dataset
    from pydicom.uid import RLELossless

    from orthoedge.clinic.report.side_by_side import draw_with_words

    picture = draw_with_words(answer.radiograph, answer.finding, answer.language)
    # GDCM's encoder of RLE ends the process where the number of pixels is odd.
    odd = picture.shape[0] * picture.shape[1] % 2
    picture = np.pad(picture, ((0, odd), (0, 0), (0, 0)), mode="edge")
    drawn = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    result = SCImage.from_ref_dataset(
        header,
        pixel_array=drawn,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # asked for; a drawing has none
        transfer_syntax_uid=RLELossless,
        **identifiers("picture", header, answer, answer.language),
    )
    result.PatientOrientation = []
    result.ImageType = ["DERIVED", "SECONDARY"]
    result.ConversionType = "WSD"  # made by a workstation, not captured from one
    result.BurnedInAnnotation = "YES"
    for keyword in ("", "Ratio", "Method"):
        if (name := f"LossyImageCompression{keyword}") in header:
            setattr(result, name, header[name].value)
    result.DerivationDescription = "Radiograph next to its saliency map, with the decision in words"
    image = Dataset()
    image.ReferencedSOPClassUID = header.SOPClassUID
    image.ReferencedSOPInstanceUID = header.SOPInstanceUID
    image.PurposeOfReferenceCodeSequence = [SOURCE_IMAGE.concept()]
    result.SourceImageSequence = [image]
    finish(result, header, answer)
    return result
