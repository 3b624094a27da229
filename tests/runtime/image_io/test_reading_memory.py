"""Reading a file takes less memory than the bound of `memory.py`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image

HEIGHT, WIDTH = 2000, 1600

# Each file is read twice: the first time brings in the libraries, and what they keep. What is
# counted is the resident memory of the process at its peak, which is the only one that sees what
# decoders allocate in C; writing 5 to clear_refs starts the count again (Linux, proc(5)). The
# threshold makes malloc give large blocks back, which it would else keep for the second time.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "131072"}
MEASURE = """
import json, runpy, sys
from pathlib import Path
runpy.run_path(sys.argv[1])
from orthoedge.runtime.dicom import reader as dicom
from orthoedge.runtime.image_io import reader as intake

estimates = []
for module in (dicom, intake):
    module.check_memory = lambda needed, limit: estimates.append(needed)

def status(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024

growth = {}
for path in map(Path, sys.argv[2:]):
    intake.read_image(path)
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    intake.read_image(path, memory_mb=1e6)
    growth[path.name] = [status("VmHWM") - before, estimates[-1]]
print(json.dumps(growth))
"""


def scan(dtype):
    """Radiograph-like, so that it compresses like one."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 2, (HEIGHT, WIDTH)).astype(np.float32)
    values = 60 + 40 * np.sin(y / 170) + noise + 110 * np.exp(-(((x - WIDTH / 2) / 250) ** 2))
    return np.clip(values * (1 if dtype == np.uint8 else 64), 0, 16383).astype(dtype)


def write_dicom(path, pixels, syntax, **elements):
    pydicom = pytest.importorskip("pydicom")
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.3"
    dataset.Modality, dataset.PhotometricInterpretation = "DX", "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 14, 13
    dataset.PixelData = pixels.tobytes()
    dataset.update(elements)
    if syntax != dataset.file_meta.TransferSyntaxUID:
        dataset.compress(syntax, generate_instance_uid=False)
    dataset.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    shallow, deep = scan(np.uint8), scan(np.uint16)
    colour = cv2.cvtColor(shallow, cv2.COLOR_GRAY2BGR)
    one_strip = [cv2.IMWRITE_TIFF_ROWSPERSTRIP, HEIGHT]
    pictures = {
        "deep.png": (deep, []),
        "grey.jpg": (shallow, []),
        "progressive.jpg": (shallow, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        "colour.jpg": (colour, []),
        "colour.png": (colour, []),
        "grey.tif": (shallow, one_strip),
        "deep.tif": (deep, one_strip),
        "grey.bmp": (shallow, []),
    }
    for name, (pixels, options) in pictures.items():
        assert cv2.imwrite(str(folder / name), pixels, options)
    for name, syntax in {
        "native.dcm": "1.2.840.10008.1.2.1",
        "jpeg2000.dcm": "1.2.840.10008.1.2.4.90",
        "jpeg-ls.dcm": "1.2.840.10008.1.2.4.80",
        "rle.dcm": "1.2.840.10008.1.2.5",
    }.items():
        write_dicom(folder / name, deep, syntax)
    native = "1.2.840.10008.1.2.1"
    write_dicom(folder / "oblong.dcm", deep, native, ImagerPixelSpacing=[0.4, 0.2])
    circle = {"CenterOfCircularShutter": [1000, 800], "RadiusOfCircularShutter": 700}
    write_dicom(folder / "shutter.dcm", deep, native, ShutterShape="CIRCULAR", **circle)
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_the_estimate_is_above_what_is_taken_and_not_far_above(files):
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", MEASURE, str(root / "conftest.py"), *map(str, files)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=root, env=os.environ | GIVE_BACK
    )
    growth = json.loads(done.stdout)
    assert len(growth) == len(files) == 14
    for name, (taken, estimate) in growth.items():
        assert taken > HEIGHT * WIDTH, f"{name}: nothing was measured"
        assert taken <= estimate, name
        # 8 MiB are for tables and do not grow with the picture. The rest is an upper bound over
        # contents and decoders: at most three times this content with these decoders.
        assert estimate - 8 * 2**20 <= 3 * taken, name


def test_a_limit_is_kept_before_decoding_and_says_both_figures(files):
    for path in files:
        size = path.stat().st_size / 2**20
        limit = int(size) + 3.5  # the file, and too little to decode it
        with pytest.raises(InputError, match=r"reading it takes up to \d+ MiB, limit") as caught:
            read_image(path, memory_mb=limit)
        assert str(caught.value).endswith(f"limit {limit:g}")
        with pytest.raises(InputError, match="file too large"):
            read_image(path, memory_mb=size / 2)
        rows = 2 * HEIGHT if path.name == "oblong.dcm" else HEIGHT
        assert read_image(path, memory_mb=200).pixels.shape == (rows, WIDTH)
