"""Radiographs of a DICOMweb service: listed by QIDO-RS, fetched by WADO-RS (PS3.18 10.6, 10.4)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from orthoedge.clinic.archive.inputs.sources import ArchiveInput
from orthoedge.clinic.destination import Destination
from orthoedge.clinic.sending.outcome import DestinationError
from orthoedge.clinic.sending.stow import StatusError, fetch
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.image_io.reader import MAX_BYTES
from orthoedge.runtime.settings import plain

__all__ = ["fetch_instance", "list_instances"]

_PAGE = 100  # studies or instances of one answer
_LONGEST_PAGE = 2**25  # bytes
_MODALITIES = frozenset({"CR", "DX", "RG", "XC"})  # projection radiographs; films, photographs
_STUDY, _SERIES, _INSTANCE, _MODALITY = "0020000D", "0020000E", "00080018", "00080060"
_JSON = "application/dicom+json"
# As it is stored, whatever its transfer syntax: decoding is the worker's own.
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_TRIES = 4
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})  # HTTP statuses that another try may mend


def list_instances(address: str, authorization: Path | None) -> Iterator[ArchiveInput]:
    """List the radiographs (CR, DX, RG, XC) of the studies that a service finds.

    Args:
        address: of the service; after a `?` the attributes to search studies by, such as
            `StudyDate=20200101-20201231&PatientSex=F`.
        authorization: file that holds the `Authorization` header.

    Raises:
        ConfigError: the address is none of a DICOMweb service.
        DestinationError: the service cannot be reached, or answers with an error.
        DataError: what it answers is no QIDO-RS.
    """
    parts = urlsplit(address)
    base = urlunsplit(parts._replace(query="", fragment="")).rstrip("/")
    service = _service(base, authorization)
    for study in _search(service, "studies", parts.query):
        uid = _value(study, _STUDY)
        fields = f"includefield={_MODALITY}"
        for series in _search(service, f"studies/{uid}/series", fields):
            if _value(series, _MODALITY) not in _MODALITIES:
                continue
            place = f"studies/{uid}/series/{_value(series, _SERIES)}/instances"
            for instance in _search(service, place, ""):
                name = f"{base}/{place}/{_value(instance, _INSTANCE)}"
                yield ArchiveInput(name.encode(), base)


def fetch_instance(address: str, authorization: Path | None) -> bytes:
    """Fetch the file of one instance.

    Args:
        address: of the instance, as listed.
        authorization: file that holds the `Authorization` header.

    Raises:
        InputError: the service refuses this instance, or it is too large.
        DestinationError: the service cannot be reached.
    """
    base, _, place = address.rpartition("/studies/")
    try:
        content, headers = _again(_service(base, authorization), f"studies/{place}", _DICOM)
    except StatusError as error:
        if error.status in _PASSING or error.status in (401, 403):
            raise
        raise InputError(f"the service answers with HTTP status {error.status}") from error
    if len(content) > MAX_BYTES:
        raise InputError(f"file too large: over {plain(MAX_BYTES, 9)} bytes")
    if headers.get_content_maintype() != "multipart":
        return content
    return _first_part(content, (headers.get_boundary() or "").encode())


def _first_part(content: bytes, boundary: bytes) -> bytes:
    """The body of the first part of multipart/related (RFC 2046, 5.1)."""
    start = content.find(b"\r\n\r\n")
    end = content.rfind(b"\r\n--" + boundary)
    if not boundary or start < 0 or end < start:
        raise InputError("the answer of the service breaks off")
    if (second := content.find(b"\r\n--" + boundary, start + 4)) < end:
        end = second
    return content[start + 4 : end]


def _search(service: Destination, place: str, query: str) -> Iterator[dict[str, Any]]:
    """Yield what the service finds, page by page.

    A page may be shorter than asked for, since a service may have a lower limit of its own
    (PS3.18 8.3.4.4); so nothing but an empty page is the end.
    """
    offset, first = 0, None
    while True:
        page = "&".join(filter(None, (query, f"limit={_PAGE}&offset={offset}")))
        content, _ = _again(service, f"{place}?{page}", _JSON)
        try:
            found = json.loads(content or b"[]")
            assert isinstance(found, list)
        except (ValueError, AssertionError) as error:
            raise DataError(f"{service.url}/{place}: no answer in DICOM JSON") from error
        if found and found[0] == first:
            if offset != _PAGE:  # it was all there is
                return
            raise DataError(f"{service.url}/{place}: the service ignores `offset`")
        yield from found
        if not found or len(found) > _PAGE:  # more where a service knows no limit
            return
        first = found[0]
        offset += len(found)


def _value(found: dict[str, Any], tag: str) -> str:
    try:
        value = str(found[tag]["Value"][0])
    except (KeyError, IndexError, TypeError) as error:
        raise DataError(f"an answer of the DICOMweb service lacks the attribute {tag}") from error
    if not value.isprintable() or "/" in value or "?" in value:
        raise DataError(f"an answer of the DICOMweb service has {value!r} as attribute {tag}")
    return value


def _again(service: Destination, address: str, accept: str) -> tuple[bytes, Any]:
    """Fetch; a service that restarts is asked again for some seconds."""
    longest = _LONGEST_PAGE if accept == _JSON else MAX_BYTES + 2**16
    for attempt in range(_TRIES):
        try:
            return fetch(service, address, accept, longest)
        except DestinationError as error:
            is_final = isinstance(error, StatusError) and error.status not in _PASSING
            if is_final or attempt == _TRIES - 1:
                raise
            time.sleep(2**attempt)
    raise AssertionError


def _service(base: str, authorization: Path | None) -> Destination:
    file = "" if authorization is None else str(authorization)
    return Destination(kind="dicomweb", url=base, authorization_file=file)
