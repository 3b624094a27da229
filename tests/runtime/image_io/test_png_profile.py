import cv2
import numpy as np

from orthoedge.runtime.image_io.headers import without_profile
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.hostile.planted import picture, with_chunk


def test_a_profile_is_dropped_and_no_pixel_changes(capfd):
    plain = cv2.imencode(".png", picture())[1].tobytes()
    profiled = with_chunk(picture(), "iCCP", "somebody")
    twice = profiled[:33] + profiled[33 : 33 + len(profiled) - len(plain)] + profiled[33:]
    for data in (profiled, twice):
        assert b"somebody" in data
        assert without_profile(data) == plain
        assert np.array_equal(read_image(data).pixels, picture())
    assert capfd.readouterr().err == ""


def test_a_file_without_a_profile_is_not_copied():
    plain = cv2.imencode(".png", picture())[1].tobytes()
    assert without_profile(plain) is plain
    described = with_chunk(picture(), "tEXt", "somebody")
    assert without_profile(described) is described
