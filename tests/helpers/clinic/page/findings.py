"""Findings of a kind that no sample gets, made from those of samples."""

import json

from orthoedge.clinic.history import History, NewFinding


def add_like(folder, number, *, patient=None, study=None, origin="api", **changes):
    """Enter a finding again with changes to its JSON, patient or study; its number.

    Args:
        folder: of the history.
        number: of the finding.
        patient: `PatientFacts`; None for those of the finding.
        study: `StudyFacts`; likewise.
        origin: how it came.
        changes: fields of the finding's JSON.
    """
    history = History(folder)
    try:
        stored = history.get(number)
        finding = json.dumps(json.loads(stored.finding) | changes).encode()
        new = NewFinding(
            origin=origin,
            file_name=stored.summary.file_name,
            image_sha256=stored.image_sha256,
            finding=finding,
            alert_labels=("tumor-malignant",),
            patient=patient or stored.patient,
            study=study or stored.study,
            spacing_mm=stored.spacing_mm,
            spacing_plane=stored.spacing_plane,
            picture=stored.picture,
        )
        return history.add(new)
    finally:
        history.close()
