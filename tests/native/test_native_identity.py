"""orthoedge-native gives the bytes of numpy and OpenCV.

`make native-proof` compares hundreds of thousands of cases.
"""

import numpy as np
import pytest

from orthoedge.runtime.bundles.bundle import SAMPLES
from orthoedge.runtime.errors import InputError
from orthoedge.runtime.image_io.reader import read_image
from orthoedge.runtime.preparation.prepare import prepare_image
from orthoedge.runtime.preprocess import STANDARD, Preprocess
from tests.helpers.native.cases import SWEEP, Case, drawn_case, sweep_case
from tests.helpers.native.compare import from_module, from_python


def test_drawn_radiographs_give_the_same_bytes(library):
    for number in range(250):
        case = drawn_case(1, number)
        assert from_module(library, case) == from_python(case), f"drawn case {number}"


def test_sizes_from_32_to_4000_give_the_same_bytes(library):
    for number in range(0, SWEEP, 97):
        case = sweep_case(number)
        assert from_module(library, case) == from_python(case), f"case {number} of the sweep"


def test_the_samples_give_the_same_bytes(library):
    paths = sorted(SAMPLES.glob("*.jpg"))
    assert len(paths) == 4
    for path in paths:
        case = Case(STANDARD, read_image(path).pixels)
        assert from_module(library, case) == from_python(case), path.name


@pytest.mark.parametrize(
    "settings",
    [
        (224, "crop", "after", 2.0, 8),
        (193, "keep", "before", 3.7, 7),
        (1024, "crop", "after", 40.0, 32),
        (32, "keep", "none", 0.01, 1),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (4, 1), (2, 2), (1, 700), (3, 5000), (257, 256)])
def test_odd_shapes_give_the_same_bytes(library, settings, shape):
    preprocess = Preprocess(**dict(zip(Preprocess.__struct_fields__, settings, strict=True)))
    pixels = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    case = Case(preprocess, pixels)
    assert from_module(library, case) == from_python(case)


def test_the_runtime_gets_the_same_from_both_ways(library):
    found = set()
    for number in range(150):
        preprocess, pixels = drawn_case(3, number)
        python = prepare_image(pixels, preprocess, None)
        native = prepare_image(pixels, preprocess, library)
        assert native.placement == python.placement
        assert native.quality_issues == python.quality_issues
        assert native.model_input.tobytes() == python.model_input.tobytes()
        assert native.statistics.tobytes() == python.statistics.tobytes()
        found |= {issue.id.id for issue in python.quality_issues}
    # Every check of the quality was at both of its sides.
    assert found == {
        "too_few_pixels",
        "strip",
        "nearly_blank",
        "burnt_out",
        "too_dark",
        "too_bright",
        "low_contrast",
        "collimated",
        "perhaps_inverted",
        "inverted",
    }


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.broadcast_to(np.uint8(0), (1, 2**26 + 1)),
    ],
)
def test_what_is_no_radiograph_is_refused_alike(library, pixels):
    errors = []
    for way in (None, library):
        with pytest.raises(InputError) as caught:
            prepare_image(pixels, STANDARD, way)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def arguments(**changed):
    """Return what `prepare` of the module takes, with changes."""
    usual = {
        "radiograph": np.zeros((40, 40), np.uint8),
        "crop_field": True,
        "clahe_stage": "after",
        "clahe_clip": 2.0,
        "clahe_tiles": 8,
        "model_input": np.zeros((64, 64), np.uint8),
        "statistics": np.zeros(22, np.float32),
    }
    return (usual | changed).values()


@pytest.mark.parametrize(
    ("changed", "kind", "reason"),
    [
        ({"radiograph": np.zeros((0, 3), np.uint8)}, ValueError, "no pixels"),
        ({"radiograph": np.zeros((4, 8), np.uint8)[:, ::2]}, ValueError, "next to each other"),
        ({"radiograph": np.zeros((4, 8), np.int8)}, TypeError, "incompatible"),
        ({"clahe_stage": "later"}, ValueError, "clahe_stage"),
        ({"clahe_clip": 0.0}, ValueError, "clahe_clip"),
        ({"clahe_clip": float("nan")}, ValueError, "clahe_clip"),
        ({"clahe_tiles": 33}, ValueError, "clahe_tiles"),
        ({"model_input": np.zeros((64, 65), np.uint8)}, ValueError, "square"),
        ({"model_input": np.zeros((31, 31), np.uint8)}, ValueError, "size"),
        ({"model_input": np.zeros((1025, 1025), np.uint8)}, ValueError, "square"),
        ({"model_input": np.zeros((64, 128), np.uint8)[:, ::2]}, TypeError, "incompatible"),
        ({"statistics": np.zeros(21, np.float32)}, ValueError, "22"),
        ({"statistics": np.zeros(22)}, TypeError, "incompatible"),
    ],
)
def test_the_module_refuses_arrays_that_do_not_fit(library, changed, kind, reason):
    with pytest.raises(kind, match=reason):
        library.prepare(*arguments(**changed))


def test_a_result_that_cannot_be_written_is_refused(library):
    model_input = np.zeros((64, 64), np.uint8)
    model_input.setflags(write=False)
    with pytest.raises(TypeError):
        library.prepare(*arguments(model_input=model_input))
