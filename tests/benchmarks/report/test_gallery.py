import cv2
import numpy as np
import pytest

from orthoedge.benchmarks.metrics.labelled_data import Prepared
from orthoedge.benchmarks.report.gallery import draw_gallery
from orthoedge.runtime.bundles.bundle import PHANTOM, read_bundle
from orthoedge.runtime.engine import Outputs

SIZE = 64


@pytest.fixture(scope="module")
def bundle():
    return read_bundle(PHANTOM)


def grey(truth):
    count = len(truth)
    return Prepared(
        description="",
        model_inputs=np.full((count, SIZE, SIZE), 90, np.uint8),
        statistics=np.zeros((count, 22), np.float32),
        quality_issues=((),) * count,
        truth=truth,
        boxes=(((0.25, 0.25, 0.75, 0.75),),) * count,
        groups=tuple(map(str, range(count))),
    )


def pointing(said, cell):
    """Outputs whose map of the label they give has its peak in one cell."""
    maps = np.zeros((len(said), 4, 4, 4), np.float32)
    maps[(np.arange(len(said)), said, *cell)] = 1
    return Outputs(np.eye(4, dtype=np.float32)[said], maps, np.zeros((len(said), 2), np.float32))


def pixels(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR).astype(int)


def test_every_label_is_shown_right_and_wrong_before_any_twice(bundle):
    truth = np.arange(80) % 4
    said = np.where(np.arange(80) < 72, truth, (truth + 1) % 4)
    shown = draw_gallery(bundle, grey(truth), pointing(said, (0, 0)), None)
    labels = list(bundle.manifest.labels)
    assert [one.truth for one in shown] == labels * 2
    assert [one.student == one.truth for one in shown] == [True] * 4 + [False] * 4
    assert all(one.teacher == "" and one.teacher_map is None for one in shown)
    assert len(draw_gallery(bundle, grey(truth[:5]), pointing(truth[:5], (0, 0)), None)) == 5


def test_the_maps_are_those_of_student_and_teacher_with_the_lesion_marked(bundle):
    truth = np.array([2])
    shown = draw_gallery(
        bundle, grey(truth), pointing(truth, (0, 0)), pointing(np.array([1]), (3, 3))
    )[0]
    assert (shown.student, shown.teacher) == (bundle.manifest.labels[2], bundle.manifest.labels[1])
    plain, student, teacher = map(pixels, (shown.plain, shown.student_map, shown.teacher_map))
    assert plain.shape == student.shape == teacher.shape == (SIZE, SIZE, 3)
    for picture in (plain, student, teacher):
        assert (picture[16, 16:48] == 255).all(), "the upper edge of the box"
    corner, opposite = (2, 2), (SIZE - 3, SIZE - 3)
    assert (plain[corner] == 90).all()
    coloured = np.ptp(student, axis=2), np.ptp(teacher, axis=2)
    assert coloured[0][corner] > 20 > coloured[0][opposite]
    assert coloured[1][opposite] > 20 > coloured[1][corner]
