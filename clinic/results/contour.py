"""The contour: a greyscale softcopy presentation state that a viewer lays over the image."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from orthoedge.clinic.results.equipment import finish, identifiers
from orthoedge.clinic.results.hot_region import contours_on_image
from orthoedge.clinic.results.source import clean_text
from orthoedge.runtime.decision import percentage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from orthoedge.clinic.results.answer import Answer
    from orthoedge.runtime.finding import Finding

_FINEST_ASPECT = 1000  # of the ratio; no one sees less
_COLOUR = (72.0, -10.0, -40.0)  # CIELAB of the sky blue of the picture's contour
_WORDS = (0.02, 0.02, 0.7, 0.14)  # left, top, right and bottom, in shares of the display


def make_contour(header: Dataset, answer: Answer) -> Dataset | None:
    """Make the presentation state (PS3.3 A.33.1).

    The grey scale of the image is repeated in it: a viewer that applies it uses nothing else. An
    image that is stored inverted is inverted here too.

    Args:
        header: from `usable_header`.
        answer: finding and radiograph.

    Returns:
        None for a rejected image, and where the map has no peak inside the image.
    """
    lines = contours_on_image(header, answer)
    if not lines:
        return None
    from highdicom import PresentationLUTTransformation
    from highdicom.color import CIELabColor
    from highdicom.pr import (
        GraphicAnnotation,
        GraphicLayer,
        GraphicObject,
        GrayscaleSoftcopyPresentationState,
        TextObject,
    )

    layer = GraphicLayer(
        "ORTHOEDGE",
        order=1,
        description="Where the network looked, not where the disease is",
        display_color=CIELabColor(*_COLOUR),
    )
    annotation = GraphicAnnotation(
        [header],
        layer,
        graphic_objects=[GraphicObject("POLYLINE", line, "PIXEL") for line in lines],
        text_objects=[TextObject(_words(answer.finding), "DISPLAY", bounding_box=_WORDS)],
    )
    result = GrayscaleSoftcopyPresentationState(
        referenced_images=[header],
        content_label="ORTHOEDGE",
        content_description="Contour of the saliency map at half of its peak",
        content_creator_name="orthoedge^",
        presentation_lut_transformation=PresentationLUTTransformation(
            presentation_lut_shape=header.PresentationLUTShape
        ),
        graphic_layers=[layer],
        graphic_annotations=[annotation],
        **identifiers("contour", header, answer),
    )
    result.DisplayedAreaSelectionSequence[0].PresentationPixelAspectRatio = _aspect(header, answer)
    finish(result, header, answer)
    return result


def _aspect(header: Dataset, answer: Answer) -> list[int]:
    """Return height and width of a stored pixel; the reader has made the pixels square."""
    rows, columns = answer.radiograph.pixels.shape
    ratio = Fraction(rows * int(header.Columns), columns * int(header.Rows))
    return list(ratio.limit_denominator(_FINEST_ASPECT).as_integer_ratio())


def _words(finding: Finding) -> str:
    probability = percentage(finding.probabilities[finding.label])
    decision = {"report": "REPORT", "refer": "REFER: a human must read this"}[finding.decision]
    lines = (
        f"{clean_text(finding.label, 64)} {probability}",
        decision,
        "RESEARCH ONLY, not for diagnosis",
    )
    return "\r\n".join(lines)
