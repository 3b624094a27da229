"""Cleaning: each planted fault is detected and named, and nothing else is lost."""

import csv
import re
import shutil

import cv2
import numpy as np
import pytest

from orthoedge.runtime.errors import DataError
from orthoedge.runtime.preprocess import STANDARD
from orthoedge.training.data.dataset import RadiographDataset
from orthoedge.training.data.index import ImageRecord, read_index, write_index
from orthoedge.training.data.splits import Splits
from orthoedge.training.data_quality.acceptance import AcceptanceLimits, check_radiograph
from orthoedge.training.data_quality.cleaning import clean
from orthoedge.training.data_quality.contact_sheet import KEPT, REMOVED, Tile, write_sheet
from orthoedge.training.data_quality.leakage import check_leaks
from orthoedge.training.phantoms.render import write_phantoms

N = 12


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "phantoms"
    write_phantoms(folder, N, seed=5, size=192)
    return folder


@pytest.fixture
def dirty(originals, tmp_path):
    """Planted set: 12 phantoms and one of each fault; folder with index.csv."""
    folder = tmp_path / "dirty"
    shutil.copytree(originals, folder)
    records = read_index(folder)
    images = [cv2.imread(str(s.path), cv2.IMREAD_GRAYSCALE) for s in records]

    def add(name, image, label, patient="new"):
        path = folder / "images" / name
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            assert cv2.imwrite(str(path), image)
        records.append(ImageRecord(path, label, patient + name, source="phantom"))

    png = [s.path.read_bytes() for s in records]
    labels = [s.label for s in records]
    other = next(label for label in labels if label != labels[3])
    colour = np.zeros((192, 192, 3), np.uint8)
    colour[:] = cv2.resize(images[0], (192, 192))[..., None] * np.array([1, 0.6, 0.3])
    add("cut.png", png[0][: len(png[0]) // 2], labels[0])
    add("text.png", b"not an image at all" * 100, labels[0])
    add("bytes.png", png[0][:300], labels[0])
    add("small.png", cv2.resize(images[0], (48, 48)), labels[0])
    add("wide.png", np.tile(images[0][:64], (1, 3)), labels[0])
    add("colour.png", colour, labels[0])
    add("dark.png", images[0] // 60, labels[0])
    add("flat.png", (images[0] // 40) + 100, labels[0])
    add("white.png", 255 - images[0] // 12, labels[0])
    add("zz_same.png", png[1], labels[1])
    add("zz_contradicts.png", png[3], other)
    add("mirrored.png", images[4][:, ::-1], labels[4])
    add("turned_otherwise.png", np.rot90(images[5]), next(x for x in labels if x != labels[5]))
    add("00006-rotated1.png", cv2.resize(images[6][10:-10, 20:], (150, 150)), labels[6])
    add("lone-rotated1.png", cv2.GaussianBlur(images[7][40:, 30:], (0, 0), 3), labels[7])
    add("lone-rotated1-rotated2.png", images[8][30:, 50:150], labels[7])
    write_index(folder / "index.csv", records)
    return folder


EXPECTED = {
    "cut.png": "unreadable",
    "text.png": "unreadable",
    "bytes.png": "bytes",
    "small.png": "resolution",
    "wide.png": "aspect ratio",
    "colour.png": "saturation",
    "dark.png": "brightness",
    "flat.png": "brightness",
    "white.png": "brightness",
    "zz_same.png": "identical file",
    "zz_contradicts.png": "labels contradict",
    "00003.png": "labels contradict",
    "turned_otherwise.png": "labels contradict",
    "00005.png": "labels contradict",
    "00006-rotated1.png": "augmented copy",
}


def test_each_planted_fault_is_removed_for_its_reason_and_nothing_is_lost(dirty, tmp_path):
    report = clean(dirty, tmp_path / "out", 2, False)
    assert {r.record.path.name: r.reason for r in report.removed} == EXPECTED
    everything = [s.path for s in (*report.kept, *(r.record for r in report.removed))]
    assert sorted(everything) == sorted(s.path for s in read_index(dirty))


def test_the_written_index_holds_what_the_report_keeps(dirty, tmp_path):
    report = clean(dirty, tmp_path / "out", 2, False)
    assert read_index(tmp_path / "out") == list(report.kept)
    before = {s.path: (s.label, s.boxes, s.mask) for s in read_index(dirty)}
    assert all(before[s.path] == (s.label, s.boxes, s.mask) for s in report.kept)


def test_what_shows_one_picture_shares_one_group(dirty, tmp_path):
    report = clean(dirty, tmp_path / "out", 2, False)
    group = {s.path.name: s.patient_id for s in report.kept}
    assert group["mirrored.png"] == group["00004.png"]
    assert group["lone-rotated1.png"] == group["lone-rotated1-rotated2.png"]  # by name alone
    assert len(set(group.values())) == len(group) - 2
    assert [{s.path.name for s in pair} for pair in report.shared] == [
        {"mirrored.png", "00004.png"}
    ]


def test_a_third_copy_of_a_contradiction_goes_with_it(originals, tmp_path):
    records = read_index(originals)
    first, other = records[0], next(s for s in records if s.label != records[0].label)
    image = cv2.imread(str(first.path), cv2.IMREAD_GRAYSCALE)
    for name in ("same.png", "smaller.png", f"{first.path.stem}-rotated1.png"):
        cv2.imwrite(str(tmp_path / name), cv2.resize(image, None, fx=0.9, fy=0.9))
    shutil.copy(first.path, tmp_path / "same.png")
    cv2.imwrite(str(tmp_path / f"{first.path.stem}-rotated1.png"), image[20:, 40:])
    added = [
        ImageRecord(tmp_path / "same.png", other.label, "x"),
        ImageRecord(tmp_path / "smaller.png", first.label, "y"),
        ImageRecord(
            tmp_path / f"{first.path.stem}-rotated1.png", first.label, "z", source=first.source
        ),
    ]
    write_index(tmp_path / "set.csv", [*records, *added])
    report = clean(tmp_path / "set.csv", tmp_path / "out", 1, False)
    assert {r.record.path for r in report.removed} == {first.path, *(s.path for s in added)}


def test_what_is_left_is_not_refused_by_training(originals, tmp_path):
    """Training compares the field alone: a frame must not hide a copy from cleaning either."""
    records = read_index(originals)
    framed = []
    for record in records[:4]:
        image = cv2.imread(str(record.path), cv2.IMREAD_GRAYSCALE)
        path = tmp_path / f"framed{record.path.name}"
        cv2.imwrite(str(path), cv2.copyMakeBorder(image, 40, 40, 40, 40, cv2.BORDER_CONSTANT))
        framed.append(ImageRecord(path, record.label, path.name))
    write_index(tmp_path / "set.csv", [*records, *framed])
    kept = clean(tmp_path / "set.csv", tmp_path / "out", 1, False).kept
    read = [RadiographDataset([s], [s.label], STANDARD) for s in kept]
    for i, one in enumerate(kept):
        for j in range(i):
            if one.patient_id != kept[j].patient_id:
                check_leaks(Splits((kept[j],), (one,), ()), (read[j], read[i]))


def test_a_removed_copy_ties_the_groups_of_its_patient(originals, tmp_path):
    records = read_index(originals)
    copy = tmp_path / "again.png"
    shutil.copy(records[0].path, copy)
    again = ImageRecord(
        copy, records[0].label, records[1].patient_id
    )  # the patient of another image
    write_index(tmp_path / "set.csv", [*records, again])
    kept = {s.path: s for s in clean(tmp_path / "set.csv", tmp_path / "out", 1, False).kept}
    assert kept[records[0].path].patient_id == kept[records[1].path].patient_id


def test_cleaning_what_is_clean_removes_nothing(dirty, tmp_path):
    first = clean(dirty, tmp_path / "out", 2, False)
    again = clean(tmp_path / "out", tmp_path / "again", 2, False)
    assert (again.removed, again.kept) == ((), first.kept)


def test_the_result_does_not_depend_on_jobs_or_on_the_order_of_the_index(dirty, tmp_path):
    clean(dirty, tmp_path / "a", 1, False)
    write_index(dirty / "index.csv", read_index(dirty)[::-1])
    clean(dirty, tmp_path / "b", 3, False)
    for name in ("index.csv", "removed.csv", "cleaning.md", "removed.png", "shared.png"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_the_list_names_the_file_that_a_removed_one_repeats(dirty, tmp_path):
    clean(dirty, tmp_path / "out", 2, False)
    with (tmp_path / "out" / "removed.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    images = dirty / "images"
    assert rows[str(images / "zz_same.png")]["of"] == str(images / "00001.png")
    assert rows[str(images / "00006-rotated1.png")]["of"] == str(images / "00006.png")
    assert rows[str(images / "00003.png")]["of"] == str(images / "zz_contradicts.png")
    assert rows[str(images / "cut.png")]["of"] == ""
    assert "mean" in rows[str(images / "dark.png")]["detail"]


def test_the_table_adds_up(dirty, tmp_path):
    report = clean(dirty, tmp_path / "out", 2, False)
    head, *rows = report.table()
    assert rows[-1][0] == "kept"
    assert sum(int(row[-1]) for row in rows) == len(read_index(dirty))
    assert all(sum(map(int, row[1:-1])) == int(row[-1]) for row in rows)
    text = (tmp_path / "out" / "cleaning.md").read_text()
    assert all(f"| {' | '.join(row)} |" in text for row in (head, *rows))
    assert any("labels" in line or "label" in line for line in report.lines())


def frames(path, colour):
    """Number of frames of one colour on a sheet."""
    sheet = cv2.imread(str(path))[..., ::-1]
    mask = np.all(sheet == colour, axis=-1).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return sum(1 for x in stats[1:] if x[cv2.CC_STAT_WIDTH] > 150)  # letters are smaller


def test_the_sheet_shows_each_removed_image_beside_the_one_it_repeats(dirty, tmp_path):
    clean(dirty, tmp_path / "out", 2, False)
    # Four of them are 2 pairs that contradict each other; 2 more repeat one that stays.
    assert frames(tmp_path / "out" / "removed.png", REMOVED) == len(EXPECTED)
    assert frames(tmp_path / "out" / "removed.png", KEPT) == 2
    assert frames(tmp_path / "out" / "shared.png", KEPT) == 2


def test_a_sheet_of_many_has_sixty_tiles_and_every_reason(originals, tmp_path):
    records = read_index(originals)
    for k in range(70):
        path = tmp_path / f"broken{k}.png"
        path.write_bytes(b"x" * (2000 + k))
        records.append(ImageRecord(path, records[0].label, str(path)))
    copy = tmp_path / "copy.png"
    shutil.copy(records[0].path, copy)
    write_index(tmp_path / "set.csv", [*records, ImageRecord(copy, records[0].label, "c")])
    clean(tmp_path / "set.csv", tmp_path / "out", 2, False)
    assert frames(tmp_path / "out" / "removed.png", KEPT) == 1
    assert frames(tmp_path / "out" / "removed.png", REMOVED) == 59


def test_a_set_without_faults_loses_nothing_and_says_so(originals, tmp_path):
    report = clean(originals, tmp_path / "out", 2, False)
    assert report.removed == report.shared == ()
    assert len(report.kept) == N
    assert frames(tmp_path / "out" / "removed.png", REMOVED) == 0
    assert re.match(r"kept\b.*\b12$", report.lines()[-1])


def test_a_kill_before_the_end_leaves_no_index_and_no_half_file(dirty, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("orthoedge.training.data_quality.cleaning.write_index", killed)
    with pytest.raises(KeyboardInterrupt):
        clean(dirty, tmp_path / "out", 2, False)
    assert not (tmp_path / "out" / "index.csv").exists()
    assert not list((tmp_path / "out").glob("*.tmp"))
    monkeypatch.undo()
    clean(dirty, tmp_path / "out", 2, False)
    assert (tmp_path / "out" / "index.csv").exists()


def test_a_folder_that_has_an_index_is_refused(dirty):
    before = (dirty / "index.csv").read_bytes()
    with pytest.raises(DataError, match=r"already holds an index; remove it or give another --out"):
        clean(dirty, dirty, 1, False)
    assert (dirty / "index.csv").read_bytes() == before


def test_a_set_of_which_nothing_stays_is_one_line_and_still_lists_why(tmp_path):
    (tmp_path / "set" / "bone").mkdir(parents=True)
    (tmp_path / "set" / "bone" / "a.png").write_bytes(b"x" * 5000)
    with pytest.raises(DataError, match=r"no image is left after cleaning.*says why") as error:
        clean(tmp_path / "set", tmp_path / "out", 1, False)
    assert "\n" not in str(error.value)
    assert "a.png" in (tmp_path / "out" / "removed.csv").read_text()


def test_the_names_of_two_labels_do_not_meet(originals, tmp_path):
    # Collections number every class from one: fractured/1-rotated1 is no copy of normal/1.
    source = tmp_path / "set"
    images = [s.path for s in read_index(originals)]
    for folder, name, image in (
        ("fractured", "1-rotated1.png", images[0]),
        ("normal", "1.png", images[1]),
        ("normal", "2.png", images[2]),
    ):
        (source / folder).mkdir(parents=True, exist_ok=True)
        shutil.copy(image, source / folder / name)
    assert clean(source, tmp_path / "out", 1, False).removed == ()


def test_a_class_that_is_lost_is_said(originals, tmp_path):
    source = tmp_path / "set"
    for folder in ("bad", "good"):
        (source / folder).mkdir(parents=True)
    (source / "bad" / "a.png").write_bytes(b"x" * 5000)
    shutil.copy(read_index(originals)[0].path, source / "good" / "b.png")
    report = clean(source, tmp_path / "out", 1, False)
    assert "no image of the label bad is left" in report.lines()


def test_the_intake_and_the_limits_agree_on_a_grey_file(originals):
    path = read_index(originals)[0].path
    pixels, rejection = check_radiograph(path.read_bytes(), AcceptanceLimits())
    assert rejection is None
    assert np.array_equal(pixels, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


def test_a_sheet_of_names_in_any_script_is_drawn(tmp_path):
    tiles = [Tile(tmp_path / "кость骨\n.png", "nothing " * 20, "骨", True)]
    write_sheet(tmp_path / "sheet.png", "One", "", tiles)
    assert frames(tmp_path / "sheet.png", REMOVED) == 1
