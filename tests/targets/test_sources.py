"""Whatever is passed as a source, the error is in the tree, and the next ones go on."""

import io
import os
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
import pytest

from orthoedge.runtime import Finding, InputError, OrthoEdgeError, SandboxedReader, read_image
from orthoedge.targets import open_pipeline

PIXELS = np.random.default_rng(3).integers(0, 256, (48, 64), dtype=np.uint8)
PNG = cv2.imencode(".png", PIXELS)[1].tobytes()


class Named:
    """An os.PathLike that returns what it is given."""

    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return self.name


class Raising:
    def __fspath__(self):
        raise OSError(5, "no path")


class RaisingText(str):
    def __str__(self):
        raise RuntimeError("no text")


NO_SOURCES = {
    "None": None,
    "a descriptor": 0,
    "a number": 1.5,
    "a truth": True,
    "a list": ["a.png"],
    "a mapping": {"path": "a.png"},
    "an open file": io.BytesIO(PNG),
    "a mutable buffer": bytearray(PNG),
    "a view": memoryview(PNG),
    "a function": len,
    "one sample": np.uint8(7),
    "a path-like of bytes": Named(b"a.png"),
    "a path-like of a number": Named(3),
    "a path-like that raises": Raising(),
    "a text that raises": RaisingText("a.png"),
    "a file that cannot be measured": "/proc/self/maps",
    "a NUL": "a\0.png",
    "a NUL in a Path": Path("a\0.png"),
    "no text": "",
    "half a surrogate pair": "\ud800.png",
    "an escaped byte": "\udcff.png",
    "a long name": "b" * 300 + ".png",
    "a long path": "/".join(["b" * 100] * 60),
    "a folder": ".",
    "a device": "/dev/null",
    "an address": "file:///a.png",
    "no bytes": b"",
    "one byte": b"\0",
    "no pixels": np.zeros((0, 5), np.uint8),
    "floats": PIXELS.astype(np.float32),
    "objects": PIXELS.astype(object),
    "names in an array": np.array(["a.png"]),
    "three channels": np.dstack([PIXELS] * 3),
    # Views of 64 samples: OpenCV crashed on them, and an allocation is refused by the system.
    "more rows than OpenCV counts": np.broadcast_to(PIXELS[:1], (10**9, 64)),
    "longer rows than OpenCV counts": np.broadcast_to(PIXELS[:, :1], (48, 2**33)),
    "one endless column": np.broadcast_to(PIXELS[:1, :1], (2**31 - 1, 1)),
}


@pytest.fixture(scope="module")
def pipelines(small_bundle):
    with SandboxedReader() as reader:
        yield [
            open_pipeline(small_bundle, precision="fp32"),
            open_pipeline(small_bundle, precision="fp32", reader=reader),
        ]


@pytest.mark.parametrize("source", NO_SOURCES.values(), ids=NO_SOURCES)
def test_what_is_no_source_is_one_line_of_the_tree(source, pipelines):
    calls = [read_image, *pipelines] if not isinstance(source, np.ndarray) else pipelines
    for call in calls:
        with pytest.raises(InputError) as raised:
            call(source)
        assert len(str(raised.value).splitlines()) == 1


def test_map_goes_on_past_all_of_them(pipelines):
    sources = [part for source in NO_SOURCES.values() for part in (source, PNG)]
    for pipeline in pipelines:
        results = list(pipeline.map_results(sources, 2))
        assert len(results) == len(sources)
        assert all(isinstance(result, OrthoEdgeError) for result in results[::2])
        assert all(isinstance(result, Finding) for result in results[1::2])


def test_other_ways_to_name_a_file_are_taken(tmp_path, pipelines):
    class Text(str):
        pass

    class Bytes(bytes):
        pass

    file = tmp_path / "a.png"
    file.write_bytes(PNG)
    sources = [Text(file), PurePosixPath(file), Named(str(file)), Bytes(PNG)]
    for call in (read_image, *pipelines):
        assert [call(source) is not None for source in sources] == [True] * 4


def test_a_working_folder_that_was_removed_is_an_input_error(tmp_path, pipelines, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")  # noqa: PTH106
    for call in (read_image, *pipelines):
        with pytest.raises(InputError, match=r"no such file|No such file"):
            call("a.png")
