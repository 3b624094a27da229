"""A clinic's server in a process of its own, and large radiographs, for what measures the page."""

import contextlib
import re
import subprocess

import numpy as np

from orthoedge.runtime.subprocesses import module_command
from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.page.radiographs import samples
from tests.helpers.hostile.dicom_bytes import pixel_elements

ROWS, COLUMNS = 3000, 2500


@contextlib.contextmanager
def served(folder, *options):
    """The process and its address."""
    command = [*module_command("orthoedge.cli"), "clinic", "--no-browser", "--folder", str(folder)]
    process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE, text=True)
    try:
        yield process, re.match(r"http://\S+", process.stdout.readline())[0]
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def large(number):
    """A sample as a DICOM file of 3000×2500 pixels and 12 bits, with noise of its own."""
    pixels = samples("0-forearm", COLUMNS)
    pixels = np.resize(pixels, (ROWS, COLUMNS)).astype(int)
    noise = np.random.default_rng(number).integers(-24, 24, pixels.shape)
    noisy = np.clip(pixels + noise, 0, 4095).astype(np.uint16)
    names = {0x00080018: ("UI", f"1.2.826.0.7.{number}"), 0x00100020: ("LO", f"P{number}")}
    return image_file({**names, 0x00180015: ("CS", "FOREARM"), **pixel_elements(noisy)})
