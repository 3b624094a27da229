"""Presentation contexts that the receiver accepts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from orthoedge.runtime.dicom.encoding import EXPLICIT, READ_SYNTAXES
from orthoedge.runtime.errors import ConfigError

if TYPE_CHECKING:
    from pynetdicom.presentation import PresentationContext

__all__ = ["ANSWERED_CLASSES", "contexts"]

_VERIFICATION = "1.2.840.10008.1.1"
_IMAGE = "1.2.840.10008.5.1.4.1.1.1"
ANSWERED_CLASSES = {
    _IMAGE: "Computed Radiography Image Storage",
    f"{_IMAGE}.1": "Digital X-Ray Image Storage - For Presentation",
    f"{_IMAGE}.1.1": "Digital X-Ray Image Storage - For Processing",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
}
"""Storage classes whose images are answered (PS3.4 B.5)."""


def contexts(other_classes: Sequence[str] = ()) -> list[PresentationContext]:
    """Verification, and storage in every transfer syntax that the intake reads.

    Where a sender proposes several syntaxes in one context, Explicit VR Little Endian is chosen, so
    that nothing is compressed by a sender for this.

    Args:
        other_classes: UIDs of storage classes that are accepted and filed.

    Raises:
        ConfigError: one of them is no storage class.
    """
    from pynetdicom.presentation import build_context
    from pynetdicom.service_class import StorageServiceClass
    from pynetdicom.sop_class import uid_to_service_class

    for uid in other_classes:
        if uid_to_service_class(uid) is not StorageServiceClass:
            raise ConfigError(f"receiver.other_classes: {uid} is no storage class of the standard")
    syntaxes = [EXPLICIT, *(syntax for syntax in READ_SYNTAXES if syntax != EXPLICIT)]
    classes = dict.fromkeys((*ANSWERED_CLASSES, *other_classes))
    return [build_context(_VERIFICATION), *(build_context(uid, syntaxes) for uid in classes)]
