"""The image library of a report: the image that it is about (TID 1600 to 1603).

highdicom's own needs attributes that many radiographs lack; here what is absent is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orthoedge.clinic.results.codes import MODALITIES, PIXELS, SOURCE

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


def image_library(header: Dataset) -> Any:
    """Return the content item of the library, with one image.

    Args:
        header: from `usable_header`.
    """
    from highdicom import sr
    from pydicom.sr.codedict import codes

    image = sr.ImageContentItem(
        name=SOURCE.concept(),
        referenced_sop_class_uid=header.SOPClassUID,
        referenced_sop_instance_uid=header.SOPInstanceUID,
        relationship_type="CONTAINS",
    )
    image.ContentSequence = sr.ContentSequence(_descriptors(header))
    group = sr.ContainerContentItem(codes.DCM.ImageLibraryGroup, relationship_type="CONTAINS")
    group.ContentSequence = sr.ContentSequence([image])
    library = sr.ContainerContentItem(codes.DCM.ImageLibrary, relationship_type="CONTAINS")
    library.ContentSequence = sr.ContentSequence([group])
    return library


def _descriptors(header: Dataset) -> list[Any]:
    """Describe the image: modality, size, and orientation and spacing where they are known."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    relation = "HAS ACQ CONTEXT"
    pixels = PIXELS.concept()
    items: list[Any] = []
    modality = MODALITIES.get(header.get("Modality", ""))
    if modality is not None:
        items.append(sr.CodeContentItem(codes.DCM.Modality, modality.concept(), relation))
    items += [
        sr.NumContentItem(codes.DCM.PixelDataRows, header.Rows, pixels, None, relation),
        sr.NumContentItem(codes.DCM.PixelDataColumns, header.Columns, pixels, None, relation),
    ]
    if "PatientOrientation" in header:
        row, column = header.PatientOrientation
        items += [
            sr.TextContentItem(codes.DCM.PatientOrientationRow, row, relation),
            sr.TextContentItem(codes.DCM.PatientOrientationColumn, column, relation),
        ]
    if "ImagerPixelSpacing" in header:
        vertical, horizontal = map(float, header.ImagerPixelSpacing)
        for name, value in (
            (codes.DCM.HorizontalPixelSpacing, horizontal),
            (codes.DCM.VerticalPixelSpacing, vertical),
        ):
            items.append(
                sr.NumContentItem(name, value, codes.UCUM.Millimeter, relationship_type=relation)
            )
    return items
