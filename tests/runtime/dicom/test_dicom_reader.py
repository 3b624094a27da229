from __future__ import annotations

import io
import itertools
import os
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

pydicom = pytest.importorskip("pydicom")

from pydicom.data import get_testdata_file  # noqa: E402
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.pixels import apply_modality_lut, apply_voi_lut  # noqa: E402
from pydicom.uid import (  # noqa: E402
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from orthoedge.runtime.dicom import pixel_data, reader  # noqa: E402
from orthoedge.runtime.errors import InputError, MissingDependency  # noqa: E402
from orthoedge.runtime.image_io.reader import read_image  # noqa: E402
from orthoedge.runtime.preprocess import STANDARD  # noqa: E402

STORED = np.random.default_rng(0).integers(0, 4096, (48, 40)).astype(np.uint16)
SECRET = "Geheim^Patientin"


def dataset(stored: np.ndarray = STORED, bits: int = 12, **elements: object) -> Dataset:
    """A CR image with a patient's name in every place that could leak one."""
    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.PatientName = SECRET
    item.PatientID = SECRET
    item.InstitutionName = SECRET
    item.Modality = "CR"
    item.Rows, item.Columns = stored.shape
    item.SamplesPerPixel = 1
    item.PhotometricInterpretation = "MONOCHROME2"
    item.BitsAllocated = stored.dtype.itemsize * 8
    item.BitsStored, item.HighBit = bits, bits - 1
    item.PixelRepresentation = int(stored.dtype.kind == "i")
    item.PixelData = stored.tobytes()
    for name, value in elements.items():
        setattr(item, name, value)
    return item


def to_bytes(item: Dataset) -> bytes:
    file = io.BytesIO()
    item.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    item.SOPInstanceUID = "1.2.3"
    pydicom.dcmwrite(file, item, enforce_file_format=True)
    return file.getvalue()


def read(item: Dataset, **options: bool):
    """From memory, and as it is fetched from a file, which must not make a difference."""
    content = to_bytes(item)
    result = read_image(content, **options)
    assert "Geheim" not in str(result.notes)
    fetched = reader.read_dicom(io.BytesIO(content), **options)
    assert np.array_equal(fetched.pixels, result.pixels)
    assert fetched.notes == result.notes
    return result


def linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """PS3.3 C.11.2.1.2.1 written down once more, to 0 to 255, before rounding."""
    inside = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    return np.where(
        values <= center - 0.5 - (width - 1) / 2,
        0,
        np.where(values > center - 0.5 + (width - 1) / 2, 255, inside),
    )


@pytest.mark.parametrize(
    ("photometric", "shape", "slope", "prefer"),
    list(
        itertools.product(
            ("MONOCHROME1", "MONOCHROME2"),
            (None, "IDENTITY", "INVERSE"),
            (1.0, -2.0),
            (False, True),
        )
    ),
)
def test_polarity_is_one_inversion_or_none(photometric, shape, slope, prefer):
    elements = {"RescaleSlope": slope, "RescaleIntercept": 100.0}
    center, width = (2100.0, 3000.0) if slope > 0 else (-4000.0, 6000.0)
    elements |= {"WindowCenter": center, "WindowWidth": width}
    elements |= {"PresentationLUTShape": shape} if shape else {}
    result = read(
        dataset(PhotometricInterpretation=photometric, **elements), prefer_photometric=prefer
    )
    inverted = photometric == "MONOCHROME1" if prefer or not shape else shape == "INVERSE"
    expected = linear(STORED * slope + 100.0, center, width)
    expected = 255 - expected if inverted else expected
    # Half a grey level of rounding, and the same again in floating point at a tie.
    assert np.abs(result.pixels - expected).max() <= 0.5 + 1e-9
    consistent = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}[photometric]
    contradiction = bool(shape) and not prefer and shape != consistent
    assert any("contradicts" in note for note in result.notes) == contradiction


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("slope", [None, 2.0])
def test_windows_agree_with_pydicom_where_the_slope_is_not_negative(function, slope):
    item = dataset(WindowCenter=[2000, 7], WindowWidth=[1500, 7], VOILUTFunction=function)
    if slope:
        item.RescaleSlope, item.RescaleIntercept = slope, -1000
        item.WindowCenter, item.WindowWidth = 3000, 3000
    values = apply_voi_lut(apply_modality_lut(STORED, item), item)
    # pydicom maps to the range that the stored bits can reach; ours maps to 0 to 255.
    low, high = (0, 4095) if not slope else (-1000, 4095 * slope - 1000)
    expected = (values - low) / (high - low) * 255
    assert np.abs(read(item).pixels - expected).max() <= 0.5 + 1e-6


@pytest.mark.parametrize("vr", ["US", "OW"])
@pytest.mark.parametrize("depth", [8, 12, 16])
def test_lookup_tables_of_the_file_are_applied(vr, depth):
    table = (np.linspace(0, 1, 3000) ** 0.5 * (2**depth - 1)).astype(np.uint16)
    for sequence in ("VOILUTSequence", "ModalityLUTSequence"):
        lut = Dataset()
        lut.LUTDescriptor = [3000, 200, depth]
        lut.add_new("LUTData", vr, table.tobytes() if vr == "OW" else table.tolist())
        item = dataset(**{sequence: [lut]})
        if sequence == "ModalityLUTSequence":
            lut.ModalityLUTType = "US"
            item.VOILUTFunction = "LINEAR_EXACT"
            item.WindowCenter, item.WindowWidth = (2**depth - 1) / 2, 2**depth - 1
        shown = table[np.clip(STORED.astype(int) - 200, 0, 2999)].astype(float)
        assert np.array_equal(read(item).pixels, np.rint(shown * 255 / (2**depth - 1)))


def test_without_a_window_robust_percentiles_are_used_and_noted():
    stored = STORED.copy()
    stored[0, 0] = 4095
    stored[5:15] = 0  # what the detector never saw must not count
    result = read(dataset(stored, PixelPaddingValue=0))
    low, high = np.percentile(stored[stored > 0], (0.5, 99.5), method="inverted_cdf").astype(float)
    expected = np.clip((stored - low) * 255 / (high - low), 0, 255)
    assert np.abs(result.pixels - expected).max() <= 0.5 + 1e-9
    assert result.notes[0].startswith("no window in file: windowed from")


@pytest.mark.parametrize(("center", "width"), [(60000, 10), (2000, 0)])
def test_a_window_that_shows_nothing_is_replaced_and_noted(center, width):
    result = read(dataset(WindowCenter=center, WindowWidth=width))
    assert result.pixels.std() > 50
    assert "windowed from" in result.notes[0]


def test_signed_and_eight_bit_samples_are_read():
    signed = STORED.astype(np.int16) - 2048
    window = {"VOILUTFunction": "LINEAR_EXACT"}
    pixels = read(dataset(signed, WindowCenter=0, WindowWidth=4096, **window)).pixels
    assert np.array_equal(pixels, np.rint((signed + 2048.0) * 255 / 4096))
    small = (STORED >> 4).astype(np.uint8)
    result = read(dataset(small, 8, WindowCenter=127.5, WindowWidth=255, **window))
    assert np.array_equal(result.pixels, small)
    assert result.source_bits == 8


def test_old_overlay_bits_above_the_stored_ones_do_not_count():
    window = {"WindowCenter": 2000, "WindowWidth": 3000}
    drawn = STORED.copy()
    drawn[10:20] |= 0x4000  # PS3.5 8.1.1: a retired overlay plane in an unused bit
    assert np.array_equal(read(dataset(drawn, **window)).pixels, read(dataset(**window)).pixels)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_the_transfer_syntax_does_not_change_a_pixel(syntax):
    plain = read(dataset(WindowCenter=2000, WindowWidth=3000)).pixels
    item = dataset(WindowCenter=2000, WindowWidth=3000)
    if syntax.is_compressed:
        item.compress(syntax, generate_instance_uid=False)
    else:
        item.file_meta.TransferSyntaxUID = syntax
    assert np.array_equal(read(item).pixels, plain)


@pytest.mark.parametrize(
    ("elements", "note"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in annotation"),
        ({"Modality": ""}, "no modality in file"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "detector data for processing"),
    ],
)
def test_what_a_reader_should_know_is_noted(elements, note):
    window = {"WindowCenter": 2000, "WindowWidth": 3000}
    assert read(dataset(**window)).notes == ()
    (grey_note,) = read(dataset(**window, **elements)).notes
    assert grey_note.startswith(note)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"NumberOfFrames": 2}, "multi-frame DICOM with 2 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour DICOM"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour DICOM"),
        ({"Modality": "CT"}, "wrong modality CT"),
        ({"Modality": "SR"}, "wrong modality SR"),
        ({"Modality": "GEHEIM"}, "wrong modality unknown"),
        ({"PixelData": b""}, "DICOM without pixel data"),
        ({"PixelData": bytes(100)}, "truncated DICOM"),
        ({"Rows": 40_000, "Columns": 40_000}, "image too large: 40000×40000"),
        ({"Rows": 10}, "image too small"),
        ({"BitsAllocated": 32}, "DICOM samples of 12 bits up to bit 11 in 32"),
    ],
)
def test_what_is_not_one_grey_radiograph_is_refused_with_the_reason(elements, message):
    with pytest.raises(InputError, match=f"^{message}") as caught:
        read(dataset(**elements))
    assert "geheim" not in str(caught.value).lower()
    assert "\n" not in str(caught.value)


def test_a_constant_image_is_refused():
    with pytest.raises(InputError, match=r"^no contrast"):
        read(dataset(np.full((40, 40), 7, np.uint16)))


def test_a_size_over_the_limit_is_refused_without_allocating_it():
    data = to_bytes(dataset(Rows=40_000, Columns=40_000))
    with pytest.raises(InputError):
        read_image(data)  # imports pydicom, which allocates
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="too large"):
            read_image(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_deflated_file_is_refused_before_it_is_inflated():
    item = dataset(np.zeros((4000, 4000), np.uint16))
    item.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data = to_bytes(item)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="deflated"):
            read_image(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000  # 32 MB inside
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["RG3", "RG1"])
def test_the_lossless_twin_gives_the_same_pixels_and_the_lossy_one_nearly(name):
    files = [
        get_testdata_file(f"{name}_{kind}.dcm", download=False) for kind in ("UNCR", "J2KR", "J2KI")
    ]
    if None in files:
        pytest.skip("pydicom-data is not installed")
    plain, reversible, irreversible = (read_image(file) for file in files)
    assert plain.source_bits == {"RG3": 10, "RG1": 15}[name]
    assert np.array_equal(reversible.pixels, plain.pixels)
    difference = np.abs(irreversible.pixels.astype(int) - plain.pixels)
    assert 0 < difference.mean() < 2  # grey levels; the irreversible wavelet at its stored rate


def test_a_real_monochrome1_leg_comes_out_bright_on_dark_and_its_white_margins_are_cut():
    file = get_testdata_file("RG3_UNCR.dcm", download=False)
    if file is None:
        pytest.skip("pydicom-data is not installed")
    pixels = read_image(file).pixels
    shaft, air, margin = pixels[500, 860:900], pixels[1200, 500:600], pixels[800, 100:300]
    assert air.mean() < 40 < 150 < shaft.mean()
    assert margin.mean() > 250
    model_input, placement = STANDARD.prepare(pixels)
    x0, y0, x1, y1 = placement.field
    # The collimator's edges, read off the picture: 440 to 470 on the left, 1230 to 1260 right.
    assert (y0, y1) == (0, 1760)
    assert 430 <= x0 <= 480
    assert 1200 <= x1 <= 1260
    assert model_input[:, : placement.content[0]].max() < 10  # CLAHE lifts the padding by a little


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("name", ["RG3_UNCR.dcm", "RG3_J2KR.dcm"])
def test_a_dicom_file_cut_short_is_refused(name, share):
    file = get_testdata_file(name, download=False)
    if file is None:
        pytest.skip("pydicom-data is not installed")
    data = Path(file).read_bytes()
    with pytest.raises(InputError):
        read_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("rows", [1, 7, 48])
@pytest.mark.parametrize("elements", [{}, {"WindowCenter": 2000, "WindowWidth": 3000}])
def test_a_file_is_fetched_a_few_rows_at_a_time(monkeypatch, rows, elements):
    class Watched(io.BytesIO):
        most = 0

        def readinto(self, buffer):
            Watched.most = max(Watched.most, memoryview(buffer).nbytes)
            return super().readinto(buffer)

    content = to_bytes(dataset(**elements))
    line = STORED[0].nbytes
    monkeypatch.setattr(pixel_data, "_BLOCK", rows * STORED.shape[1])
    monkeypatch.setattr(reader, "_COUNTED", rows * STORED.shape[1])
    fetched = reader.read_dicom(Watched(content))
    assert np.array_equal(fetched.pixels, read_image(content).pixels)
    assert Watched.most == rows * line


@pytest.mark.parametrize(
    ("fails", "message"),
    [
        (
            lambda: OSError(5, "Input/output error", "Geheim"),
            "^cannot read the file: Input/output error$",
        ),
        (lambda: None, r"^truncated DICOM: \d+ bytes of pixels, expected 3840$"),
    ],
)
def test_a_file_that_ends_or_fails_while_it_is_fetched_is_refused(monkeypatch, fails, message):
    class Failing(io.BytesIO):
        left = 3

        def readinto(self, buffer):
            self.left -= 1
            if self.left > 0:
                return super().readinto(buffer)
            if error := fails():
                raise error
            return super().readinto(memoryview(buffer).cast("B")[:-1])

    monkeypatch.setattr(pixel_data, "_BLOCK", 10 * STORED.shape[1])
    with pytest.raises(InputError, match=message):
        reader.read_dicom(Failing(to_bytes(dataset(WindowCenter=2000, WindowWidth=3000))))


@pytest.fixture
def large():
    """2,400 rows that no block and no thread of the look-up reads alone, at most 12 bits."""
    stored = np.random.default_rng(5).integers(0, 4096, (2400, 700), dtype=np.uint16)
    return to_bytes(dataset(stored, WindowCenter=2000, WindowWidth=3000))


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_pixels_do_not_depend_on_the_threads_that_look_them_up(threads, large, tmp_path):
    path, before = tmp_path / "large.dcm", cv2.getNumThreads()
    path.write_bytes(large)
    expected = read_image(large).pixels
    cv2.setNumThreads(threads)
    try:
        for _ in range(3):
            assert np.array_equal(read_image(path).pixels, expected)
    finally:
        cv2.setNumThreads(before)
    assert threading.active_count() == 1 or not any(
        thread.name == "orthoedge-dicom" for thread in threading.enumerate()
    )


def test_where_no_thread_may_be_started_one_looks_all_samples_up(large, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    expected = read_image(large).pixels
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert np.array_equal(reader.read_dicom(io.BytesIO(large)).pixels, expected)


def test_a_file_that_is_cut_while_it_is_read_is_refused_and_the_process_goes_on(large, tmp_path):
    """At 20 places between its header and its last row, by another process's `truncate`."""
    path = tmp_path / "large.dcm"
    for number in range(20):
        path.write_bytes(large)

        class Cut(io.FileIO):
            reads = 0

            def readinto(self, buffer, least=number % 6):
                Cut.reads += 1
                if Cut.reads == 2 + least:
                    os.truncate(path, 5000 + 3000 * least)
                return super().readinto(buffer)

        match = pytest.raises(InputError, match=r"^truncated DICOM")
        with io.BufferedReader(Cut(path)) as file, match:
            reader.read_dicom(file)


def test_a_codestream_of_another_size_than_the_header_is_refused():
    item = dataset()
    item.compress(JPEGLSLossless, generate_instance_uid=False)
    item.Rows, item.Columns = item.Columns, item.Rows
    with pytest.raises(InputError, match="differs in size from its header"):
        read(item)


def test_every_file_pydicom_breaks_on_purpose_is_read_or_refused_in_one_line():
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    files = sorted(folder.glob("*.dcm"))
    assert len(files) > 50
    for file in files:
        message = "read"
        try:
            read_image(file)
        except InputError as error:
            message = str(error)
        assert len(message.splitlines()) == 1


def test_bytes_changed_at_random_give_an_image_or_an_input_error():
    rng = np.random.default_rng(0)
    compressed = dataset(WindowCenter=2000, WindowWidth=3000)
    compressed.compress(JPEGLSLossless, generate_instance_uid=False)
    for clean in (to_bytes(dataset(WindowCenter=2000, WindowWidth=3000)), to_bytes(compressed)):
        for _ in range(150):
            data = bytearray(clean)
            for at in rng.integers(132, 900, 2):
                data[at] = rng.integers(0, 256)
            try:
                assert read_image(bytes(data), max_pixels=10**6).pixels.ndim == 2
            except InputError:
                continue


def test_a_decoder_that_is_missing_is_named_with_the_pip_line(monkeypatch):
    from pydicom.pixels.decoders.base import Decoder

    item = dataset()
    item.compress(JPEGLSLossless, generate_instance_uid=False)
    monkeypatch.setattr(Decoder, "available_plugins", property(lambda self: ()))
    with pytest.raises(MissingDependency, match=r"^pyjpegls is not installed .*orthoedge\[dicom\]"):
        read(item)
    file = get_testdata_file("RG3_J2KR.dcm", download=False)
    if file is not None:
        assert str(JPEG2000Lossless) in str(pydicom.dcmread(file).file_meta.TransferSyntaxUID)
        with pytest.raises(MissingDependency, match=r"^pylibjpeg with pylibjpeg-openjpeg is not"):
            read_image(file)


def test_without_pydicom_the_pip_line_is_given(monkeypatch):
    data = to_bytes(dataset())
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(MissingDependency, match=r"pip install 'orthoedge\[dicom\]'"):
        read_image(data)


def test_a_plain_file_is_read_without_importing_pydicom(tmp_path):
    """In a process of its own. It takes 180 ms and 70 MB to import."""
    path = tmp_path / "plain.dcm"
    path.write_bytes(to_bytes(dataset(WindowCenter=2000, WindowWidth=3000)))
    code = (
        "import sys\n"
        "from orthoedge.runtime import read_image\n"
        "print(read_image(sys.argv[1]).pixels.shape, 'pydicom' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.split("\n")[0] == f"{STORED.shape} False", done.stderr
