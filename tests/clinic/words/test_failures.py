"""Every reason that a reader can give has a sentence of its own in the catalogues."""

import ast
import errno
from pathlib import Path
from typing import get_args

import pytest

from orthoedge.clinic.words import catalogue
from orthoedge.clinic.words.failures import FailureId, failure_id
from orthoedge.runtime import InputError, read_image
from orthoedge.runtime.errors import DeadlineExceeded, MissingDependency

RUNTIME = Path(__file__).parents[3] / "runtime"
READERS = sorted((*RUNTIME.glob("image_io/**/*.py"), *RUNTIME.glob("dicom/**/*.py")))
PROGRAMS = "expected a path or the bytes of a file"  # a fault of a program, not of a file


def text_of(node, constants):
    """The text of an expression with 7 for each value that is put in; None if it is not known."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return constants.get(node.id)
    if isinstance(node, ast.JoinedStr):
        parts = (
            part.value if isinstance(part, ast.Constant) else kind(part) for part in node.values
        )
        return "".join(parts)
    return None


def kind(value):
    """What stands for a value: the kinds of files are words that a reason may begin with."""
    return "TIFF" if ast.unparse(value.value) in ("kind", "header.kind") else "7"


def reasons():
    """Every text with which the readers raise an InputError."""
    for file in READERS:
        tree = ast.parse(file.read_text("utf-8"))
        constants = {
            target.id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "InputError":
                text = text_of(node.args[0], constants)
                if isinstance(text, str) and not text.startswith(PROGRAMS):
                    yield f"{file.name}: {text}", text


ALL = dict(reasons())


def test_the_reasons_are_found():
    assert len(ALL) > 90


@pytest.mark.parametrize("where", ALL)
def test_a_reason_of_a_reader_is_no_unknown_one(where):
    assert failure_id(ALL[where]) != "failure.other"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "failure.empty"),
        (b"no image at all", "failure.not_image"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0", "failure.truncated"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "failure.damaged"),
        (b"\xff\xd8\xff\xf7\0\x0b\x08\1\0\1\0\1\1\x11\0", "failure.encoding"),
    ],
)
def test_files_that_cannot_be_read_have_their_sentence(content, name):
    with pytest.raises(InputError) as error:
        read_image(content)
    assert failure_id(str(error.value)) == name


def test_what_is_no_fault_of_the_content_has_its_sentence_too():
    missing = MissingDependency("pydicom", "dicom", "reading DICOM files")
    late = DeadlineExceeded("decoding overran the deadline of 100 ms: 120 ms since the call began")
    denied = InputError.unreadable(PermissionError(errno.EACCES, "Permission denied"))
    assert failure_id(str(missing)) == "failure.missing_package"
    assert failure_id(str(late)) == "failure.too_slow"
    assert failure_id(str(denied)) == "failure.unreadable"
    assert failure_id("its decoder crashed: the process ended by SIGSEGV") == "failure.crashed"
    assert failure_id("there is not enough memory to read it") == "failure.memory"
    assert failure_id("nobody knows") == "failure.other"


def test_every_id_is_a_sentence_of_the_catalogue_and_the_other_way_round():
    named = {name for name in catalogue("en").ids if name.startswith("failure.")}
    assert named == set(get_args(FailureId))
