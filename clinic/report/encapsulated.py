"""The report as a DICOM object: an Encapsulated PDF in the study of the image."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from orthoedge.clinic.history.header import facts_of
from orthoedge.clinic.report.content import EarlierFinding, ReportContent
from orthoedge.clinic.report.make import make_report
from orthoedge.clinic.results.codes import SOURCE_IMAGE
from orthoedge.clinic.results.equipment import content_moment, finish, identifiers
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from orthoedge.clinic.history.records import PatientFacts, StudyFacts
    from orthoedge.clinic.results.answer import Answer

__all__ = ["make_pdf"]

_PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
_OPTIONAL = ("IssuerOfPatientID", "StudyDescription")


def make_pdf(header: Dataset, answer: Answer) -> Dataset:
    """Make the Encapsulated PDF (PS3.3 A.45.1), which highdicom has no class for.

    The page names the patient as the header does. Where no font has the letters of the name, it has
    a blank line in its place: the object's own header names the patient all the same.

    Args:
        header: from `usable_header`.
        answer: finding and radiograph, language and paper.

    Raises:
        ConfigError: no font for the language of the report.
        MissingDependency: typst is not installed.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

    page = _page(header, answer)
    made = identifiers("pdf", header, answer, sha256(page))
    result = Dataset()
    for keyword in _PATIENT_AND_STUDY:
        setattr(result, keyword, header.get(keyword, ""))
    for keyword in _OPTIONAL:
        if keyword in header:
            setattr(result, keyword, header[keyword].value)
    result.SOPClassUID, result.SOPInstanceUID = EncapsulatedPDFStorage, made["sop_instance_uid"]
    result.SeriesInstanceUID, result.SeriesNumber = (
        made["series_instance_uid"],
        made["series_number"],
    )
    result.SeriesDescription, result.Modality = made["series_description"], "DOC"
    result.Manufacturer = made["manufacturer"]
    result.ManufacturerModelName = made["manufacturer_model_name"]
    result.SoftwareVersions = list(made["software_versions"])
    result.DeviceSerialNumber = made["device_serial_number"]
    result.ContentQualification = made["content_qualification"]
    result.InstanceNumber = made["instance_number"]
    result.ConversionType = "WSD"
    result.ContentDate = result.ContentTime = result.AcquisitionDateTime = ""
    result.InstanceCreationDate = result.InstanceCreationTime = ""
    result.BurnedInAnnotation = "YES"
    result.VerificationFlag = "UNVERIFIED"
    result.DocumentTitle = "orthoedge report, RESEARCH ONLY, not for diagnosis"
    result.ConceptNameCodeSequence = []
    image = Dataset()
    image.ReferencedSOPClassUID = header.SOPClassUID
    image.ReferencedSOPInstanceUID = header.SOPInstanceUID
    image.PurposeOfReferenceCodeSequence = [SOURCE_IMAGE.concept()]
    result.SourceInstanceSequence = [image]
    result.MIMETypeOfEncapsulatedDocument = "application/pdf"
    result.EncapsulatedDocumentLength = len(page)
    result.EncapsulatedDocument = page + b"\0" * (len(page) % 2)
    result.file_meta = FileMetaDataset()
    result.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    finish(result, header, answer)
    return result


def _page(header: Dataset, answer: Answer) -> bytes:
    patient, study = facts_of(header)
    content = ReportContent(
        finding=answer.finding.to_json(),
        pixels=answer.radiograph.pixels,
        made=content_moment(header, answer)[0],
        study=study,
        patient=patient,
        image_sha256=answer.image_sha256,
        earlier=_earlier(answer, patient, study),
        alert_labels=answer.alert_labels,
    )
    try:
        return make_report(content, answer.language, answer.paper)
    except ConfigError:
        without_name = dataclasses.replace(content, patient=None)
        return make_report(without_name, answer.language, answer.paper)


def _earlier(
    answer: Answer, patient: PatientFacts, study: StudyFacts
) -> tuple[EarlierFinding, ...]:
    """Earlier radiographs of the patient; none where the history is damaged, which the log says."""
    from orthoedge.clinic.history import History

    if not answer.history:
        return ()
    try:
        with contextlib.closing(History(Path(answer.history))) as history:
            earlier = history.earlier(patient, study, answer.image_sha256)
    except DataError:  # the node says so when it enters the finding
        return ()
    return tuple(EarlierFinding.from_finding(*one) for one in earlier)
