"""Programs of the system that judge or receive what the clinic folder makes."""

import os
import shutil
import subprocess

import pytest

_PACKAGES = {
    "chromium": "chromium",
    "dciodvfy": "dicom3tools",
    "pdftotext": "poppler-utils",
    "Orthanc": "orthanc orthanc-dicomweb",
    "fusermount3": "fuse3",
    "sshfs": "sshfs",
    "systemd-analyze": "systemd",
}  # others: dcmtk


def require(program):
    """Path of a program; without it the test is skipped, or fails under ORTHOEDGE_REQUIRE_ALL=1."""
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin")
    if path is not None:
        return path
    return _miss(program, _PACKAGES.get(program, "dcmtk"))


def require_file(path, package):
    """Path of a file of a package, as `require` has it for a program."""
    return path if path.exists() else _miss(path, package)


def _miss(what, package):
    message = f"{what} is not installed: apt-get install {package}"
    if os.environ.get("ORTHOEDGE_REQUIRE_ALL") == "1":
        pytest.fail(message)
    pytest.skip(message)


def run(program, *arguments):
    """Exit status and output, both streams together; the output of these programs is no UTF-8."""
    done = subprocess.run(
        [require(program), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


def errors_of(file):
    """What dciodvfy calls an error; a warning is none, and names private codes among others."""
    _, output = run("dciodvfy", file)
    assert output.strip(), "dciodvfy said nothing"
    return [line for line in output.splitlines() if line.startswith("Error")]
