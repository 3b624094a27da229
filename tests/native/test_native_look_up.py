"""orthoedge-native looks 16-bit samples up as numpy and OpenCV do."""

import numpy as np
import pytest

from orthoedge.benchmarks.baselines.sample_files import write_dicom
from orthoedge.runtime.image_io import windowing
from orthoedge.runtime.image_io.reader import read_image


@pytest.fixture
def with_library(library, monkeypatch):
    """The runtime with the library, and what was given to its look-up."""
    calls = []

    class Counted:
        def look_up(self, samples, table, pixels):
            calls.append(samples.shape)
            library.look_up(samples, table, pixels)

    monkeypatch.setattr(windowing, "find_native_library", Counted)
    return calls


def table(rng):
    return rng.integers(0, 256, 2**16, dtype=np.uint8)


@pytest.mark.parametrize(
    "view",
    [
        lambda a: a,
        lambda a: a[:1, :1],
        lambda a: a[:, ::3],
        lambda a: a[::-2],
        lambda a: a.T,
        lambda a: a[:, :251],
        lambda a: a[:0],
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint16, a.size, 1).reshape(a.shape),
    ],
)
def test_samples_give_the_same_pixels(with_library, view):
    rng = np.random.default_rng(4)
    samples = view(np.arange(2**16, dtype=np.uint16).reshape(256, 256))
    levels = table(rng)
    np.testing.assert_array_equal(windowing.apply_table(samples, levels), levels[samples])
    assert with_library == [samples.shape]


def test_only_the_pixels_are_written(with_library):
    rng = np.random.default_rng(5)
    for _ in range(100):
        rows, cols = rng.integers(1, 60, 2)
        samples = rng.integers(0, 2**16, (rows, cols), dtype=np.uint16)
        around = np.full((rows + 2, cols), 77, np.uint8)
        levels = table(rng)
        windowing.apply_table(samples, levels, around[1:-1])
        np.testing.assert_array_equal(around[1:-1], levels[samples])
        assert (around[[0, -1]] == 77).all()
    assert len(with_library) == 100


def test_samples_of_8_bits_stay_with_opencv(with_library):
    levels = np.arange(255, -1, -1, dtype=np.uint8)
    samples = np.arange(256, dtype=np.uint8)[None]
    np.testing.assert_array_equal(windowing.apply_table(samples, levels), levels[samples])
    assert with_library == []


def test_a_dicom_file_gives_the_same_pixels(library, tmp_path, monkeypatch, request):
    pixels = np.random.default_rng(6).integers(0, 256, (700, 611), dtype=np.uint8)
    write_dicom(tmp_path / "one.dcm", pixels)
    monkeypatch.setattr(windowing, "find_native_library", lambda: None)
    expected = read_image(tmp_path / "one.dcm")
    calls = request.getfixturevalue("with_library")
    native = read_image(tmp_path / "one.dcm")
    assert sum(rows for rows, _ in calls) == 700
    assert native.pixels.tobytes() == expected.pixels.tobytes()
    assert native.notes == expected.notes


@pytest.mark.parametrize(
    ("changed", "kind", "reason"),
    [
        ({"table": np.zeros(2**16 - 1, np.uint8)}, ValueError, "65536"),
        ({"table": np.zeros(2**17, np.uint8)[::2]}, TypeError, "incompatible"),
        ({"pixels": np.zeros((4, 9), np.uint8)}, ValueError, "shape"),
        ({"pixels": np.zeros((4, 16), np.uint8)[:, ::2]}, TypeError, "incompatible"),
        ({"pixels": np.zeros((4, 8), np.int8)}, TypeError, "incompatible"),
        ({"samples": np.zeros((4, 8), np.int16)}, TypeError, "incompatible"),
        ({"samples": np.zeros((8, 4), np.uint16).T}, TypeError, "incompatible"),
        ({"samples": np.zeros(32, np.uint16)}, TypeError, "incompatible"),
    ],
)
def test_the_module_refuses_arrays_that_do_not_fit(library, changed, kind, reason):
    usual = {
        "samples": np.zeros((4, 8), np.uint16),
        "table": np.zeros(2**16, np.uint8),
        "pixels": np.zeros((4, 8), np.uint8),
    }
    with pytest.raises(kind, match=reason):
        library.look_up(**(usual | changed))
