"""Labelled radiographs reach every engine as the pipeline would have prepared them."""

from dataclasses import replace

import numpy as np
import pytest

from orthoedge.benchmarks.metrics.labelled_data import LabelledSet, draw_sample, prepare
from orthoedge.runtime.bundles.bundle import PHANTOM, PHANTOM_SAMPLES, read_bundle
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.image_io.reader import read_image


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(PHANTOM)


def samples(labels):
    """The eight phantoms of the package; their names say what they show."""
    paths = tuple(sorted(PHANTOM_SAMPLES.glob("*.png")))
    said = tuple(next(label for label in labels if label in path.name) for path in paths)
    return LabelledSet(
        description="8 samples",
        images=paths,
        labels=said,
        boxes=tuple(((0.25, 0.25, 0.5, 0.5),) for _ in paths),
        groups=tuple(path.stem for path in paths),
    )


def test_files_and_arrays_are_prepared_alike_and_as_the_bundle_says(bundle):
    labels, preprocess = bundle.manifest.labels, bundle.manifest.preprocess
    files = samples(labels)
    pixels = tuple(read_image(path).pixels for path in files.images)
    by_file, by_array = prepare(bundle, files), prepare(bundle, replace(files, images=pixels))
    expected = np.stack([preprocess(image) for image in pixels])
    np.testing.assert_array_equal(by_file.model_inputs, expected)
    np.testing.assert_array_equal(by_array.model_inputs, expected)
    np.testing.assert_array_equal(by_file.statistics, by_array.statistics)
    assert [labels[c] for c in by_file.truth] == list(files.labels)


def test_boxes_move_with_the_field_and_faults_are_found(bundle):
    files = samples(bundle.manifest.labels)
    first = read_image(files.images[0]).pixels
    # White to the left, as wide as the rest: the field is the right half, so a box in the middle of
    # the right half is one in the middle of the square.
    collimated = np.concatenate([np.full_like(first, 255), first], axis=1)
    wide = replace(
        files,
        images=(collimated, np.full((300, 300), 3, np.uint8), *files.images[2:]),
        boxes=(((0.7, 0.4, 0.8, 0.6),), *files.boxes[1:]),
    )
    ready = prepare(bundle, wide)
    # The margin's edge is found on a coarse copy, to a few pixels of the radiograph.
    assert ready.boxes[0][0] == pytest.approx((0.4, 0.4, 0.6, 0.6), abs=0.03)
    assert ready.quality_issues[0] == ()
    assert any(fault.decision == "reject" for fault in ready.quality_issues[1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda all_: {"labels": ("osteoma", *all_.labels[1:])}, "label osteoma is not one of"),
        (lambda all_: {"labels": ("fracture",) * 8}, "none has the bundle's label non-affected"),
        (lambda all_: {"images": (), "labels": (), "boxes": ()}, "no radiograph"),
    ],
)
def test_labels_that_do_not_fit_the_bundle_are_refused(bundle, change, words):
    files = samples(bundle.manifest.labels)
    with pytest.raises(DataError, match=words):
        prepare(bundle, replace(files, **change(files)))


def test_a_file_that_is_no_radiograph_is_named(bundle, tmp_path):
    files = samples(bundle.manifest.labels)
    (tmp_path / "broken.png").write_bytes(files.images[0].read_bytes()[:500])
    broken = replace(files, images=(tmp_path / "broken.png", *files.images[1:]))
    with pytest.raises(InputError, match=r"broken\.png: "):
        prepare(bundle, broken)


def test_a_draw_keeps_the_proportions_and_loses_no_label():
    labels = ["a"] * 700 + ["b"] * 295 + ["c"] * 5
    drawn = draw_sample(labels, 100, seed=1)
    counts = {label: sum(labels[i] == label for i in drawn) for label in "abc"}
    assert sum(counts.values()) == 100
    assert counts["a"] == pytest.approx(70, abs=1)
    assert counts["c"] == 1
    assert {labels[i] for i in draw_sample(labels, 3, seed=1)} == set("abc")
    assert drawn == draw_sample(labels, 100, seed=1) == sorted(set(drawn))
    assert drawn != draw_sample(labels, 100, seed=2)
    assert (
        draw_sample(labels, 1000, seed=1) == draw_sample(labels, 5000, seed=1) == list(range(1000))
    )
