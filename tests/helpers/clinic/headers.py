"""Headers as units write them: complete, sparse, malformed, and in the scripts of the world.

Each is a name and its changes to the complete header of `images`; the values of texts are bytes,
because they are not valid for their VR or not in the default character set.
"""

from tests.helpers.clinic.images import DX
from tests.helpers.hostile.dicom_bytes import BIG, EXPLICIT, IMPLICIT

TYPE_2 = (
    *(0x00080020, 0x00080030, 0x00080050, 0x00080090, 0x00100010, 0x00100020, 0x00100030),
    *(0x00100040, 0x00200010, 0x00200020, 0x00200060, 0x00080070, 0x00180015),
)
_CHARSET, _NAME, _ID = 0x00080005, 0x00100010, 0x00100020


def name(charset, text):
    """A patient's name: the bytes of a text in a character set of the standard."""
    return {_CHARSET: ("CS", charset), _NAME: ("PN", text)}


JAPANESE = "Yamada^Tarou=山田^太郎=やまだ^たろう"
ARABIC = "قباني^لنزار"
KOREAN = "Hong^Gildong=洪^吉洞=홍^길동"


def _ideographs(encoding, escape, back):
    """The groups of the Japanese or Korean name, each of them escaped as PS3.5 annexes H and I."""

    def encode(text):
        groups = text.split("=")
        encoded = [groups[0].encode("ascii")]
        for group in groups[1:]:
            words = (escape + word.encode(encoding) + back for word in group.split("^"))
            encoded.append(b"^".join(words))
        return b"=".join(encoded)

    return encode


def _jis(word):
    return word.encode("iso2022_jp")  # with its own escapes


def japanese():
    """As PS3.5 H.3.1: ISO 2022 IR 6 and IR 87."""
    groups = JAPANESE.split("=")
    rest = (b"^".join(map(_jis, group.split("^"))) for group in groups[1:])
    return b"=".join((groups[0].encode(), *rest))


korean = _ideographs("euc_kr", b"\x1b$)C", b"")

HEADERS = {
    "complete": {},
    "no attribute of type 2": dict.fromkeys(TYPE_2),
    "every attribute of type 2 empty": {
        tag: (vr, b"")
        for tag, vr in zip(
            TYPE_2[:10],
            ("DA", "TM", "SH", "PN", "PN", "LO", "DA", "CS", "SH", "CS"),
            strict=True,
        )
    },
    "birth date with dashes": {0x00100030: ("DA", b"1980-01-31")},
    "birth date of zeros": {0x00100030: ("DA", b"00000000")},
    "study date in month 13": {0x00080020: ("DA", b"20261341")},
    "study date as words": {0x00080020: ("LO", b"29 Nov 2026 ")},
    "study time 25:61": {0x00080030: ("TM", b"25:61 ")},
    "study time with colons": {0x00080030: ("TM", b"12:34:56")},
    "study time with a leap second": {0x00080030: ("TM", b"235960")},
    "sex X": {0x00100040: ("CS", b"X ")},
    "sex in lower case": {0x00100040: ("CS", b"f ")},
    "sex of unknown VR": {0x00100040: ("UN", b"F ")},
    "name without ^": {_NAME: ("PN", b"Doe Jane")},
    "name of 100 letters": {_NAME: ("PN", b"D" * 60 + b"^" + b"J" * 39)},
    "name of eight components": {_NAME: ("PN", b"a^b^c^d^e^f^g^h")},
    "name of four groups": {_NAME: ("PN", b"Doe^Jane=a^b=c^d=e^f")},
    "name with control characters": {_NAME: ("PN", b"Doe\r\n^Ja\x07ne ")},
    "two names": {_NAME: ("PN", b"Doe^Jane\\Roe^Jill")},
    "Japanese": name(b"\\ISO 2022 IR 87", japanese()),
    "Arabic": name("ISO_IR 127", ARABIC.encode("iso8859_6")),
    "Korean": name(b"\\ISO 2022 IR 149", korean(KOREAN)),
    "Cyrillic": name("ISO_IR 144", "Люкceмбypг".encode("iso8859_5")),
    "Greek": name("ISO_IR 126", "Διονυσιος".encode("iso8859_7")),
    "Chinese": name("GB18030", "王^小东".encode("gb18030")),
    "UTF-8": name("ISO_IR 192", "Äneas^Rüdiger".encode()),
    "UTF-8 that is not declared": {_CHARSET: None, _NAME: ("PN", "Rüdiger".encode())},
    "unknown character set": name(b"ISO_IR 999", b"Do\xeb^Jane "),
    "bytes that are not of the character set": name("ISO_IR 192", b"Do\xeb^J\xffne"),
    "texts that are too long": {
        0x00080050: ("SH", b"A" * 40),
        _ID: ("LO", b"P" * 100),
        0x00200010: ("SH", b"S" * 17 + b" "),
        0x00080070: ("LO", b"M" * 90),
    },
    "patient ID with a backslash": {_ID: ("LO", b"12\\34 ")},
    "MONOCHROME1": {0x00280004: ("CS", "MONOCHROME1")},
    "DX for presentation, inverse": {
        0x00080016: ("UI", DX),
        0x00080060: ("CS", "DX"),
        0x00280004: ("CS", "MONOCHROME1"),
        0x20500020: ("CS", "INVERSE"),
    },
    "no spacing": {0x00181164: None},
    "spacing of words": {0x00181164: ("DS", b"fine\\fine ")},
    "spacing of zero": {0x00181164: ("DS", b"0\\0 ")},
    "one direction": {0x00200020: ("CS", b"L ")},
    "directions that are none": {0x00200020: ("CS", b"LEFT\\DOWN ")},
    "two sides": {0x00200060: ("CS", b"R "), 0x00200062: ("CS", b"L ")},
    "both sides in one image": {0x00200060: None, 0x00200062: ("CS", b"B ")},
    "chest": {0x00180015: ("CS", b"CHEST ")},
    "body part that is no code": {0x00180015: ("CS", b"left hand!")},
    "no window": {0x00281050: None, 0x00281051: None},
    "window without a width": {0x00281051: None},
    "window that is no number": {0x00281050: ("DS", b"middle"), 0x00281051: ("DS", b"0 ")},
    "two windows": {0x00281050: ("DS", b"2048\\1000 "), 0x00281051: ("DS", b"4096\\400 ")},
    "rescale without an intercept": {0x00281053: ("DS", b"1 ")},
    "no study and no series": {0x0020000D: None, 0x0020000E: None},
    "time zone that is none": {0x00080201: ("SH", b"+2560 ")},
    "time zone": {0x00080201: ("SH", b"-0730 ")},
    "private elements": {0x00091001: ("LO", b"private "), 0x00090010: ("LO", b"MAKER ")},
}

SYNTAXES = {"explicit": EXPLICIT, "implicit": IMPLICIT, "big endian": BIG}
