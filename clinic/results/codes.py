"""Every code in the result objects, and the codes of a bundle's labels.

Codes of the standard come first. Fracture and neoplasm are RadLex terms, because SNOMED CT is free
of a licence in DICOM only for the codes that the standard contains. What no one has a code for has
one of the scheme 99ORTHOEDGE.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orthoedge.clinic.results.source import clean_text

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept

PRIVATE_SCHEME = "99ORTHOEDGE"
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64  # characters (PS3.3 table 8.8-1, SH and LO)


@dataclass(frozen=True)
class Code:
    """A coded concept (PS3.3 8)."""

    value: str
    scheme: str
    meaning: str

    def concept(self) -> CodedConcept:
        """Return it as highdicom takes it."""
        from highdicom.sr import CodedConcept

        return CodedConcept(self.value, self.scheme, self.meaning)


@dataclass(frozen=True)
class LabelCode:
    """How a label of a bundle is written in a report."""

    finding: Code
    """What was found."""
    behaviour: Code | None = None
    """Whether a neoplasm is benign or malignant; None for other findings."""


ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")  # CID 7005
AREA = Code("42798000", "SCT", "Area")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")  # CID 7162
COMMENT = Code("121106", "DCM", "Comment")
ENGLISH = Code("en", "RFC5646", "English")
GRAD_CAM = Code("130403", "DCM", "Gradient-weighted class activation")  # CID 217
IMAGING_MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
LESION = Code("52988006", "SCT", "Lesion")
LONG_AXIS = Code("103339001", "SCT", "Long axis")  # CID 7470
MILLIMETRE = Code("mm", "UCUM", "mm")
MORPHOLOGICALLY_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
PERCENT = Code("%", "UCUM", "Percent")
PIXELS = Code("{pixels}", "UCUM", "Pixels")
PLAIN_RADIOGRAPHY = Code("168537006", "SCT", "Plain radiography")
PROBABILITY = Code("122157", "DCM", "Probability")
PROCESSING_ALGORITHM = Code("Newcode1", "99IHE", "Processing Algorithm")  # IHE AIR 6.5.3.1
SOURCE = Code("260753009", "SCT", "Source")
SOURCE_IMAGE = Code("121324", "DCM", "Source image")
SPATIAL_CONCEPT = Code("309825002", "SCT", "Spatial and Relational Concept")  # CID 7150
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "mm2")
VISUAL_EXPLANATION = Code("130401", "DCM", "Visual explanation")

MODALITIES = {  # CID 29
    "CR": Code("CR", "DCM", "Computed Radiography"),
    "DX": Code("DX", "DCM", "Digital Radiography"),
    "RF": Code("RF", "DCM", "Radiofluoroscopy"),
    "RG": Code("RG", "DCM", "Radiographic imaging"),
}

DECISION = Code("decision", PRIVATE_SCHEME, "Decision of the algorithm")
DECISIONS = {
    "report": Code("report", PRIVATE_SCHEME, "Report: an answer is given"),
    "refer": Code("refer", PRIVATE_SCHEME, "Refer: a human must read this"),
    "reject": Code("reject", PRIVATE_SCHEME, "Reject: no answer is given"),
}
LABEL_SET = Code("in-label-set", PRIVATE_SCHEME, "Cannot be ruled out")
MOST_PROBABLE = Code("most-probable", PRIVATE_SCHEME, "Most probable")
PLANE = Code("plane", PRIVATE_SCHEME, "Where the millimetres are true")
PLANES = {
    "detector": Code("plane-detector", PRIVATE_SCHEME, "At the detector, which magnifies the bone"),
    "patient": Code("plane-patient", PRIVATE_SCHEME, "At one depth of the patient, calibrated"),
    None: Code("plane-unknown", PRIVATE_SCHEME, "Not stated by the image"),
}
RANK = Code("rank", PRIVATE_SCHEME, "Place among the findings")
RULED_OUT = Code("ruled-out", PRIVATE_SCHEME, "Less than the calibrated set holds")
BEHAVIOUR = Code("behaviour", PRIVATE_SCHEME, "Behaviour of neoplasm")

_FRACTURE = Code("RID4650", "RADLEX", "fracture")
_NEOPLASM = Code("RID3957", "RADLEX", "neoplasm")
_BENIGN = Code("30807003", "SCT", "Benign")  # CID 6063
_MALIGNANT = Code("21594007", "SCT", "Malignant")
_LABELS = {
    "fracture": LabelCode(_FRACTURE),
    "non-affected": LabelCode(Code("111286", "DCM", "No abnormality")),  # CID 6030
    "tumor-benign": LabelCode(_NEOPLASM, _BENIGN),
    "tumor-malignant": LabelCode(_NEOPLASM, _MALIGNANT),
}


def label_code(label: str) -> LabelCode:
    """Return the code of a bundle's label; one of our own scheme where there is no public one."""
    if label in _LABELS:
        return _LABELS[label]
    meaning = clean_text(label, _LONGEST_MEANING) or "unnamed"
    value = "label-" + hashlib.sha256(label.encode("utf-8", "replace")).hexdigest()[:10]
    return LabelCode(Code(value, PRIVATE_SCHEME, meaning))
