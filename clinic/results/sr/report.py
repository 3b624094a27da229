"""The report: a Comprehensive 3D SR of template TID 1500, after the profile IHE AIR.

Each label of the bundle is one group of template TID 1501, the decision is the first; each outlined
region is one of TID 1410. A rejected image has the group of the decision alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orthoedge.clinic.results import codes
from orthoedge.clinic.results.equipment import (
    MANUFACTURER,
    device_uid,
    finish,
    identifiers,
    model_name,
)
from orthoedge.clinic.results.source import clean_text
from orthoedge.clinic.results.sr.image_library import image_library
from orthoedge.clinic.results.sr.items import algorithm, comment, evaluation, tracking
from orthoedge.clinic.results.sr.lesions import lesion_groups
from orthoedge.runtime.settings import plain

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from orthoedge.clinic.results.answer import Answer
    from orthoedge.runtime.finding import Finding


def make_report(header: Dataset, answer: Answer) -> Dataset:
    """Make the structured report (PS3.3 A.35.13).

    Args:
        header: from `usable_header`.
        answer: finding and radiograph.
    """
    from highdicom import sr

    finding = answer.finding
    arguments = identifiers("report", header, answer)
    groups = [_decision_group(header, arguments["sop_instance_uid"], finding)]
    if finding.decision != "reject":
        groups += [
            _label_group(header, arguments["sop_instance_uid"], finding, label)
            for label in sorted(
                finding.probabilities, key=lambda each: -finding.probabilities[each]
            )
        ]
        groups += lesion_groups(header, arguments["sop_instance_uid"], answer)
    report = sr.MeasurementReport(
        observation_context=_observation_context(finding),
        procedure_reported=codes.PLAIN_RADIOGRAPHY.concept(),
        imaging_measurements=groups,
        title=codes.IMAGING_MEASUREMENT_REPORT.concept(),
        language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
            codes.ENGLISH.concept()
        ),
    )
    content = report[0].ContentSequence
    content.insert(
        len(content) - 1, image_library(header)
    )  # before the measurements, as in TID 1500
    result = sr.Comprehensive3DSR(
        evidence=[header],
        content=report[0],
        is_complete=True,
        is_final=False,
        is_verified=False,
        **arguments,
    )
    result.CodingSchemeIdentificationSequence = [_private_scheme()]
    finish(result, header, answer)
    return result


def _decision_group(header: Dataset, report_uid: str, finding: Finding) -> Any:
    """Return the group of decision, reasons and algorithm."""
    from highdicom import sr

    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(report_uid, "decision"),
        algorithm_id=algorithm(finding, _parameters(finding)),
        qualitative_evaluations=[
            evaluation(codes.DECISION, codes.DECISIONS[finding.decision]),
        ],
        source_images=[_source_image(header)],
    )
    content = group[0].ContentSequence
    content.extend(comment(reason) for reason in finding.verdict.reasons)
    content.append(comment(f"Intended use: {finding.notice}"))
    return group


def _label_group(header: Dataset, report_uid: str, finding: Finding, label: str) -> Any:
    """Return the group of one label: its code, its probability and its place."""
    from highdicom import sr

    coded = codes.label_code(label)
    if label == finding.label:
        place = codes.MOST_PROBABLE
    else:
        is_in_set = label in finding.verdict.label_set
        place = codes.LABEL_SET if is_in_set else codes.RULED_OUT
    evaluations = [evaluation(codes.RANK, place)]
    if coded.behaviour is not None:
        evaluations.append(evaluation(codes.BEHAVIOUR, coded.behaviour))
    if label == finding.label and finding.saliency_map.any():  # the map is that of this label
        evaluations.append(evaluation(codes.VISUAL_EXPLANATION, codes.GRAD_CAM))
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking(report_uid, clean_text(label, 48)),
        finding_type=coded.finding.concept(),
        algorithm_id=algorithm(finding, _parameters(finding)[:1]),
        measurements=[
            sr.Measurement(
                name=codes.PROBABILITY.concept(),
                value=round(100 * finding.probabilities[label], 2),
                unit=codes.PERCENT.concept(),
            )
        ],
        qualitative_evaluations=evaluations,
        source_images=[_source_image(header)],
    )


def _parameters(finding: Finding) -> list[str]:
    """Return what reproduces the numbers; the first names the bundle and suffices for a label."""
    provenance, thresholds = finding.provenance, finding.thresholds
    parameters = [
        f"bundle sha256 = {provenance.bundle_sha256}",
        f"engine = {provenance.engine} {provenance.engine_version}",
        f"precision = {provenance.precision}",
        f"instruction set = {provenance.isa}",
        f"threads = {provenance.threads}",
        f"temperature = {plain(thresholds.temperature)}",
        f"conformal quantile = {plain(thresholds.conformal_quantile)}",
        f"out-of-distribution threshold = {plain(thresholds.out_of_distribution)}",
        f"out-of-distribution reject = {plain(thresholds.out_of_distribution_reject)}",
    ]
    if provenance.fallback:
        parameters.append(f"fallback = {provenance.fallback}")
    return parameters


def _observation_context(finding: Finding) -> Any:
    """Return the observer: the algorithm as a device (TID 1004)."""
    from highdicom import sr
    from pydicom.sr.codedict import codes as standard

    provenance = finding.provenance
    return sr.ObservationContext(
        observer_device_context=sr.ObserverContext(
            observer_type=standard.DCM.Device,
            observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
                uid=device_uid(provenance),
                name=MANUFACTURER,
                manufacturer_name=MANUFACTURER,
                model_name=model_name(provenance),
                serial_number=provenance.bundle_sha256,
            ),
        )
    )


def _source_image(header: Dataset) -> Any:
    from highdicom import sr

    return sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID)


def _private_scheme() -> Any:
    """Say whose the private codes are (PS3.3 C.12.1.1.7)."""
    from pydicom.dataset import Dataset

    item = Dataset()
    item.CodingSchemeDesignator = codes.PRIVATE_SCHEME
    item.CodingSchemeName = "orthoedge"
    item.CodingSchemeResponsibleOrganization = "orthoedge"
    return item
