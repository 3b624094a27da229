"""The cache of preprocessed images: the same bytes, made once, never trusted blindly."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from orthoedge.runtime import atomic_files
from orthoedge.runtime import preprocess as preprocess_module
from orthoedge.runtime.errors import DataError, InputError
from orthoedge.runtime.preprocess import STANDARD, Preprocess
from orthoedge.training.data import cache
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord

PLAIN = Preprocess(
    size=64, collimated_field="crop", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
)
BOX = (0.25, 0.25, 0.5, 0.75)


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    rng = np.random.default_rng(0)
    records = []
    for i in range(6):
        path = tmp_path / "set" / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        noise = rng.uniform(20, 170, (100 - 5 * i, 60 + 20 * i)).astype(np.float32)
        cv2.imwrite(str(path), cv2.GaussianBlur(noise, (0, 0), 3).astype(np.uint8))
        records.append(ImageRecord(path, "ab"[i % 2], str(i), (BOX,) if i % 2 else ()))
    return records


def read(
    records: list[ImageRecord], folder: Path | None, preprocess: Preprocess = PLAIN
) -> RadiographDataset:
    return RadiographDataset(records, ("a", "b"), preprocess, progress=False, cache=folder)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file())


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch):
    def forbid():
        def decode(source: object) -> None:
            raise AssertionError(f"{source} was decoded again")

        monkeypatch.setattr(cache, "read_image", decode)

    return forbid


def test_what_is_mapped_is_what_was_decoded(records, tmp_path, no_decoding):
    fresh = read(records, None)
    first = read(records, tmp_path / "cache")
    no_decoding()
    again = read(records, tmp_path / "cache")
    for data in (first, again):
        assert data.images.tobytes() == fresh.images.tobytes()
        assert data.boxes == fresh.boxes
        assert isinstance(data.images.base, np.memmap), "mapped, not loaded"
    assert len(files(tmp_path / "cache")) == 1


def test_another_file_time_size_setting_or_order_is_another_cache(records, tmp_path):
    folder = tmp_path / "cache"
    read(records, folder)
    os.utime(records[0].path, ns=(1, 1))
    read(records, folder)
    read(records[::-1], folder)
    read(records[:5], folder)
    larger = Preprocess(
        size=96, collimated_field="crop", clahe_stage="after", clahe_clip=2.0, clahe_tiles=8
    )
    assert read(records, folder, larger).images.shape == (6, 96, 96)
    assert len(files(folder)) == 5


def test_boxes_and_labels_are_no_part_of_the_cache(records, tmp_path, no_decoding):
    read(records, tmp_path / "cache")
    no_decoding()
    other = [ImageRecord(s.path, "b", s.patient_id) for s in records]
    data = read(other, tmp_path / "cache")
    assert set(data.boxes) == {()}
    assert data.labels.tolist() == [1] * 6


@pytest.mark.parametrize("damage", ["truncated", "flipped", "foreign", "empty", "longer"])
def test_a_damaged_cache_is_made_anew_and_said(records, tmp_path, damage, capsys):
    folder = tmp_path / "cache"
    whole = read(records, folder).images.tobytes()
    (file,) = files(folder)
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    changed = {"truncated": content[:-5000], "foreign": b"PK\x03\x04" * 99, "empty": b""}
    file.write_bytes(content + b"1" if damage == "longer" else changed.get(damage, content))
    capsys.readouterr()
    assert read(records, folder).images.tobytes() == whole
    assert f"{file}: damaged; rebuilding it" in capsys.readouterr().err
    read(records, folder)
    assert capsys.readouterr().err == ""


def test_a_disk_that_fills_while_caching_is_reported_and_nothing_half_written_remains(
    records, tmp_path, small_files
):
    folder = tmp_path / "cache"
    full = r"the disk is full: 6 preprocessed images need 0\.0 MB, \d+\.\d MB are free; --cache DIR"
    with small_files(20_000), pytest.raises(DataError, match=full):
        read(records, folder)
    assert list(folder.iterdir()) == []


def test_a_disk_that_is_too_full_is_reported_before_decoding(
    records, tmp_path, monkeypatch, no_decoding
):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    no_decoding()
    with pytest.raises(DataError, match=r"the disk is full.*0\.0 MB are free"):
        read(records, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_reported(records, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        DataError, match="the cache cannot be written: Not a directory; --cache DIR"
    ):
        read(records, tmp_path / "file" / "cache")


def test_an_image_that_cannot_be_read_leaves_no_cache(records, tmp_path):
    records[3].path.write_text("text")
    with pytest.raises(InputError, match=r"3\.png: not an image"):
        read(records, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_half_of_a_cache_that_was_killed_is_no_reason_to_call_the_disk_full(
    records, tmp_path, monkeypatch
):
    folder = tmp_path / "cache"
    folder.mkdir()
    left = folder / ".orthoedge-0123456789abcdef.tmp"
    left.write_bytes(b"half")
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda folder: usage._replace(free=0 if left.exists() else 1 << 30)
    )
    atomic_files._swept.clear()
    read(records, folder)
    assert not left.exists()


def test_the_folder_is_where_the_desktop_standard_says(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache.cache_folder() == Path("/somewhere/orthoedge")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/x")
    assert cache.cache_folder() == Path("/home/x/.cache/orthoedge")


def halves_another_way(pixels):
    return REAL["halve"](pixels[::-1])


def fits_large_images_another_way(levels, size):
    parts = [level[1:] for level in levels] if len(levels[0]) > size else levels
    return REAL["_letterbox"](parts, size)


REAL = {name: getattr(preprocess_module, name) for name in ("halve", "_letterbox")}


@pytest.mark.parametrize(
    ("step", "changed"),
    [("halve", halves_another_way), ("_letterbox", fits_large_images_another_way)],
)
def test_a_preprocessing_whose_code_changed_is_another_cache(step, changed, monkeypatch):
    """Its settings are the same; what it does to large images alone must be noticed, too."""
    before = cache.fingerprint(STANDARD)
    assert cache.fingerprint(STANDARD) == before
    monkeypatch.setattr(preprocess_module, step, changed)
    assert cache.fingerprint(STANDARD) != before
