"""The page: its counts are those of the rows, and nothing in it comes from elsewhere."""

import dataclasses
import re
import shutil
from datetime import datetime, timezone

import pytest

from orthoedge.clinic.archive.report import write_report
from orthoedge.clinic.archive.report.html import share_with_interval
from orthoedge.clinic.archive.rows import ArchiveRow
from orthoedge.clinic.archive.store import Store
from orthoedge.runtime.atomic_files import sha256
from orthoedge.runtime.errors import DataError
from orthoedge.runtime.finding import Provenance
from orthoedge.runtime.image_io.reader import read_image
from tests.helpers.archives.bundles import bundle_like
from tests.helpers.archives.rows import Here, record_of, run_here


def row(name, **changes):
    provenance = Provenance("small", "0", "0" * 64, "engine", "1", "fp32", "avx2", 1, "")
    usual = ArchiveRow(
        input=name,
        source="site",
        truth=None,
        label="fracture",
        probabilities={"fracture": 0.75, "non-affected": 0.25},
        decision="report",
        pixels_sha256="0" * 64,
        provenance=provenance,
        host="machine",
        finished_at=datetime(2026, 12, 1, 4, 0, tzinfo=timezone.utc),
    )
    return dataclasses.replace(usual, **changes)


def failed(name, reason):
    cleared = {"label": None, "decision": None, "provenance": None, "probabilities": {}}
    return row(name, error=reason, **cleared)


@pytest.fixture
def page(small_bundle, tmp_path):
    """Call it for the text of the page about some rows, by the digit that a bundle's hash has."""

    def write(**bundles):
        for digit, rows in bundles.items():
            sha256 = digit[-1] * 64
            store = Store.of_bundle(tmp_path, sha256)
            record = record_of(small_bundle, bundle_sha256=sha256, bundle=f"bundle {digit}")
            with store.opened(record) as token:
                store.write_part(rows, token)
        write_report(tmp_path, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text("utf-8")

    return write


def cells(text, first):
    """The cells of the table's row that begins with that text."""
    (found,) = re.findall(rf"<tr><td>{re.escape(first)}</td>(.*?)</tr>", text)
    return re.findall("<td>(.*?)</td>", found)


def test_decisions_sources_and_failures_are_counted(page):
    text = page(
        a1=[
            row("1"),
            row("2", decision="refer"),
            row("3", label="non-affected", source="other"),
            row("4", decision="reject"),
            failed("5", "no such file"),
            failed("6", "no such file"),
        ]
    )
    assert cells(text, "fracture") == ["1", "1", ""]
    assert cells(text, "non-affected") == ["1", "0", ""]
    assert cells(text, "all") == ["2", "1", "1"]
    assert cells(text, "site") == ["1", "1", "1", "2"]
    assert cells(text, "other") == ["1", "0", "0", "0"]
    assert cells(text, "no such file")[:3] == ["2", "2026-12-01 04:00", "2026-12-01 04:00"]
    assert cells(text, "machine") == ["engine 1 fp32 avx2", "4"]


def test_accuracy_leaves_rejected_images_and_failures_out(page):
    text = page(
        a1=[
            *(row(f"right {i}", truth="fracture") for i in range(8)),
            *(row(f"wrong {i}", truth="non-affected", decision="refer") for i in range(2)),
            row("rejected", truth="fracture", decision="reject"),
            failed("failed", "why"),
            row("unknown"),
        ]
    )
    assert cells(text, "label fracture") == ["8", share_with_interval(8, 8)]
    assert cells(text, "label non-affected") == ["2", share_with_interval(0, 2)]
    assert cells(text, "decision refer") == ["2", share_with_interval(0, 2)]
    assert "<td>10</td><td>80.0% (49.0% to 94.3%)</td>" in text


def test_the_interval_is_that_of_wilson():
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3: 81 of 263, 15 of 148, 0 of 20.
    assert share_with_interval(81, 263) == "30.8% (25.5% to 36.6%)"
    assert share_with_interval(15, 148) == "10.1% (6.2% to 16.0%)"
    assert share_with_interval(0, 20) == "0.0% (0.0% to 16.1%)"


def test_two_bundles_are_compared_on_the_inputs_of_both(page):
    text = page(
        a1=[row("1"), row("2"), row("3"), row("4", decision="reject"), row("only here")],
        b2=[
            row("1"),
            row("2", decision="refer"),
            row("3", label="non-affected"),
            row("4", decision="reject", label="non-affected"),  # a rejected image has no label
        ],
    )
    assert "both have 4 of the radiographs" in text
    assert f"the same for {share_with_interval(2, 4)}" in text
    assert "differs for 1." in text
    assert cells(text, "report") == ["2", "1", "0", "0"]
    assert cells(text, "reject") == ["0", "0", "1", "0"]
    assert text.count("<figure>") == 2
    first, second = re.findall(r"<figcaption>(\d)<br>", text)
    assert (first, second) == ("3", "2")  # another label comes first
    assert text.count("no picture: no such file") == 2


def test_at_most_twenty_pictures_are_shown_of_any_folder_and_with_their_label(page):
    names = [f"{i:02}" for i in range(30)]
    hashes = dict(zip(names, (sha256(name.encode()) for name in names), strict=True))
    text = page(
        a1=[row(name, truth="fracture") for name in names],
        b2=[row(name, decision="refer", pixels_sha256=hashes[name]) for name in names],
    )
    shown = re.findall(r"<figcaption>(\d+)<br>.*?<br>labelled fracture</figcaption>", text)
    assert shown == sorted(names, key=hashes.get)[:20]
    assert "20 of 30 that changed" in text


def test_names_and_reasons_are_text_and_nothing_is_loaded(page):
    bad = "<script src=//evil>"
    text = page(
        a1=[row(f"/{bad}1", source=bad), row("/2"), failed("/3", bad)],
        b2=[row(f"/{bad}1", decision="refer")],
    )
    assert "<script" not in text
    assert "&lt;script src=//evil&gt;" in text
    assert not re.search(r"""(src|href)=["'](?!data:)""", text)
    assert "default-src 'none'" in text


def test_a_picture_is_shown_only_of_the_pixels_that_were_answered(
    pictures, small_bundle, tmp_path, monkeypatch
):
    folder = tmp_path / "in"
    shutil.copytree(pictures, folder)
    other = bundle_like(small_bundle, tmp_path / "other")
    store = tmp_path / "store"
    for bundle in (small_bundle, other):
        run_here(folder, bundle, store, start=Here)
    files = {sha256(read_image(file).pixels.tobytes()): file for file in folder.rglob("*.png")}
    first, second = (files[key] for key in sorted(files)[:2])  # of the twenty that are shown
    shutil.copy(second, first)
    monkeypatch.setattr("orthoedge.clinic.archive.report.changes._SAME", "0")  # all changed
    write_report(store, tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count("data:image/jpeg;base64,") == 19
    assert text.count("the file is another one by now") == 1


def test_a_folder_that_is_no_store_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no store of orthoedge archive run"):
        write_report(tmp_path, tmp_path / "page.html")
