"""A destination's settings: what is accepted, and which key an error names."""

import msgspec
import pytest

from orthoedge.clinic.destination import Destination, Rules
from orthoedge.runtime.errors import ConfigError

DICOM = {"kind": "dicom", "host": "pacs", "port": 104, "ae_title": "PACS"}
WEB = {"kind": "dicomweb", "url": "https://pacs/dicom-web"}
FOLDER = {"kind": "folder", "path": "/results"}


@pytest.mark.parametrize("given", [DICOM, WEB, FOLDER], ids=lambda given: given["kind"])
def test_the_place_is_enough(given):
    made = msgspec.convert(given, Destination)
    assert made.results == ("picture", "report")
    assert made.rules.match(modality="CR", body_part="", decision="report", calling_ae="UNIT")


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({**DICOM, "host": ""}, "host is missing"),
        ({**DICOM, "port": 0}, "port is missing"),
        ({**DICOM, "port": 65536}, "port must be"),
        ({**DICOM, "ae_title": "LONGER THAN SIXTEEN"}, "ae_title must be"),
        ({**DICOM, "ae_title": "A\\B"}, "ae_title must be"),
        ({**DICOM, "ae_title": " PACS"}, "ae_title must be"),
        ({**DICOM, "url": "http://x"}, "url is for kind"),
        ({**DICOM, "timeout_s": 0}, "timeout_s must be"),
        ({**DICOM, "timeout_s": float("nan")}, "timeout_s must be"),
        ({**DICOM, "results": ("report", "report")}, "results names a kind twice"),
        ({**DICOM, "results": ()}, "nothing would be sent"),
        ({**DICOM, "authorization_file": "x"}, "authorization_file is for"),
        ({**WEB, "url": "ftp://pacs"}, "url must be"),
        ({**WEB, "url": "https://"}, "url must be"),
        ({**WEB, "url": "https://pacs:x/"}, "url must be"),
        ({**WEB, "url": "https://pacs/a b"}, "url must be"),
        ({**WEB, "url": "https://me:secret@pacs/"}, "use authorization_file"),
        ({**WEB, "url": "https://pacs/?x=1"}, "without"),
        ({**WEB, "commitment": True}, "commitment needs"),
        ({**FOLDER, "path": "a\0b"}, "path cannot"),
        ({**FOLDER, "tls": {}}, "tls has no meaning"),
        ({**DICOM, "tls": {"certificate": "c.pem"}}, "tls.key is missing"),
        ({**DICOM, "tls": {"key": "k.pem"}}, "tls.certificate is missing"),
    ],
)
def test_an_error_names_the_key(given, key):
    with pytest.raises(msgspec.ValidationError, match=key):
        msgspec.convert(given, Destination)
    if "tls" not in given:
        with pytest.raises(ConfigError, match=key):
            Destination(**given)


@pytest.mark.parametrize(
    "given", [{**DICOM, "prot": 104}, {**DICOM, "kind": "ftp"}, {**DICOM, "results": ["film"]}]
)
def test_an_unknown_key_or_value_is_an_error(given):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Destination)


def test_an_error_never_shows_a_secret():
    with pytest.raises(ConfigError) as error:
        Destination(kind="dicomweb", url="https://me:secret@pacs:x/")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("rules", "is_match"),
    [
        (Rules(), True),
        (Rules(modality=("cr", "DX")), True),
        (Rules(modality=("DX",)), False),
        (Rules(body_part=("Hand",)), True),
        (Rules(body_part=("FOOT",)), False),
        (Rules(decision=("report", "refer")), True),
        (Rules(decision=("reject",)), False),
        (Rules(calling_ae=("UNIT1",)), True),
        (Rules(calling_ae=("unit1",)), False),
        (Rules(modality=("CR",), decision=("reject",)), False),
    ],
)
def test_every_list_that_is_not_empty_must_hold_the_value(rules, is_match):
    given = {"modality": "CR", "body_part": "HAND", "decision": "refer", "calling_ae": "UNIT1 "}
    assert rules.match(**given) is is_match
