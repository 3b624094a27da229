"""Files that are dropped or chosen become lines of today's list."""

import datetime
import re
import socket

import pytest
from playwright.sync_api import expect

from orthoedge.clinic.history import History
from tests.clinic.page.conftest import serve
from tests.helpers.clinic.page.canvas import pixels
from tests.helpers.clinic.page.radiographs import dicom, picture
from tests.helpers.history.findings import PIXELS, new_finding

GOOD, BAD = 15, 5


def twenty_files():
    starts = ("0-forearm", "1-leg", "2-leg", "3-shoulder")
    good = {f"good-{n}.jpg": picture(starts[n % 4]) for n in range(GOOD)}
    bad = {f"bad-{n}.dcm": bytes([n]) * 200 for n in range(BAD - 1)}
    return good | bad | {"empty.png": b""}


def test_twenty_dropped_files_of_which_five_are_bad_all_become_lines(clinic, visit):
    visitor = visit(clinic)
    visitor.drop(twenty_files())
    page = visitor.page
    done = page.locator(".upload-words")
    expect(done).to_contain_text("15 files were added.", timeout=60_000)
    expect(done).to_contain_text("5 files could not be read")
    expect(page.locator(".row:not(.row-unread)")).to_have_count(GOOD)
    expect(page.locator(".row-unread")).to_have_count(BAD)
    reasons = page.locator(".row-reason").all_inner_texts()
    assert len(reasons) == BAD
    assert all(reasons)
    visitor.go("today")
    expect(page.locator(".row")).to_have_count(GOOD + BAD)


@pytest.mark.slow
def test_a_single_file_is_opened_at_once(clinic, visit):
    visitor = visit(clinic)
    visitor.drop({"one.dcm": dicom("0-forearm")})
    visitor.page.wait_for_url(re.compile(r"#/radiograph/\d+"))
    expect(visitor.page.get_by_role("heading", level=1)).to_contain_text("Diallo")
    assert (pixels(visitor.page) > 20).mean() > 0.1


@pytest.mark.slow
def test_what_the_node_adds_is_said_with_its_decision_and_the_patients_id(clinic, visit):
    page = visit(clinic).page
    history = History(clinic.folder)
    label_set = ["fracture", "tumor-malignant"]
    new = new_finding("", "P77", origin="node", decision="refer", label_set=label_set)
    history.add(new, PIXELS)
    history.close()
    toast = page.locator(".toast")
    expect(toast).to_contain_text("P77. A malignant tumor cannot be ruled out – To be read by")
    expect(toast.locator("use")).to_have_attribute("href", re.compile("malignant_possible"))
    expect(page.locator(".row", has_text="P77")).not_to_contain_text("No name")


@pytest.mark.slow
def test_a_single_bad_file_stays_a_line_with_its_reason(clinic, visit):
    visitor = visit(clinic)
    visitor.drop({"letter.txt": b"Dear colleague"})
    line = visitor.page.locator(".row-unread", has_text="letter.txt")
    expect(line).to_contain_text("not an image")
    expect(line).to_contain_text("This is no picture that can be read")
    assert visitor.page.url.endswith("#/today")


@pytest.mark.slow
def test_the_reason_of_a_bad_file_is_in_the_language_of_the_page(clinic, visit):
    visitor = visit(clinic, language="fr")
    visitor.drop({"vide.png": b""})
    line = visitor.page.locator(".row-unread", has_text="vide.png")
    expect(line).to_contain_text("Le fichier est vide.")
    expect(line.locator(".technical[lang='en']")).to_have_text("empty file")
    number = line.get_attribute("data-number")
    visitor.go(f"radiograph/{number}")
    expect(visitor.page.locator(".problem")).to_contain_text("Le fichier est vide.")
    expect(visitor.page.locator(".problem .technical")).to_have_text("empty file")


@pytest.mark.slow
def test_all_files_of_a_chosen_folder_are_added(clinic, visit, tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.jpg").write_bytes(picture("1-leg"))
    (tmp_path / "inner" / "b.jpg").write_bytes(picture("2-leg"))
    (tmp_path / ".DS_Store").write_bytes(b"of the system")
    visitor = visit(clinic)
    visitor.page.set_input_files("#choose-folder", tmp_path)
    words = visitor.page.locator(".upload-words")
    expect(words).to_contain_text("2 files were added.", timeout=30_000)
    expect(visitor.page.locator(".row", has_text="b.jpg")).to_have_count(1)


@pytest.mark.slow
def test_a_folder_of_500_shows_how_far_it_is_and_can_be_stopped(clinic, visit, tmp_path):
    for number in range(500):
        (tmp_path / f"{number:03}.jpg").write_bytes(picture("1-leg"))
    visitor = visit(clinic)
    page = visitor.page
    page.set_input_files("#choose-folder", tmp_path)
    expect(page.locator(".upload-words")).to_contain_text("of 500 files are done")
    expect(page.locator(".row").nth(20)).to_be_attached(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".upload-words")).to_contain_text("files were left out")


@pytest.mark.slow
def test_a_folder_of_500_with_ten_bad_files_is_added_to_its_end(clinic, visit, tmp_path):
    for number in range(500):
        content = b"no picture" if number % 50 == 7 else picture("1-leg")
        (tmp_path / f"end-{number:03}.jpg").write_bytes(content)
    visitor = visit(clinic)
    page = visitor.page
    page.set_input_files("#choose-folder", tmp_path)
    words = page.locator(".upload-words")
    expect(words).to_contain_text("490 files were added.", timeout=1_800_000)
    expect(words).to_contain_text("10 files could not be read")
    expect(page.locator(".row", has_text="end-")).to_have_count(500)
    expect(page.locator(".row-unread", has_text="end-")).to_have_count(10)
    visitor.go("history?text=end-")
    for shown in range(50, 500, 50):
        expect(page.locator(".row")).to_have_count(shown)
        page.get_by_role("button", name="Show more").click()
    expect(page.locator(".row")).to_have_count(500)


@pytest.mark.slow
def test_the_head_counts_the_whole_day_and_not_the_loaded_lines_alone(clinic, visit):
    visitor = visit(clinic)
    page = visitor.page
    counts = page.locator("main .counts")

    def numbers():
        text = counts.inner_text()
        return [int(re.search(rf"(\d+) {word}", text)[1]) for word in ("radiograph", "to be read")]

    add_many(clinic, 1)
    expect(page.locator(".row", has_text="P50")).to_have_count(1)
    page.wait_for_timeout(500)
    all_before, urgent_before = numbers()
    add_many(clinic, 130)
    page.reload()  # on a page that is open the news would add a line for each
    expect(page.locator(".row")).to_have_count(100)
    assert numbers() == [all_before + 130, urgent_before + 130]
    add_many(clinic, 2)
    expect(counts).to_contain_text(f"{all_before + 132} radiographs")


def add_many(clinic, count):
    history = History(clinic.folder)
    for _ in range(count):
        history.add(new_finding("", "P50", decision="refer", picture=None))
    history.close()


@pytest.mark.slow
def test_a_new_day_begins_a_new_list(clinic, visit):
    visitor = visit(clinic)
    page = visitor.page
    now = datetime.datetime.now()
    page.clock.install(time=now)
    add_many(clinic, 1)
    visitor.go("today")
    expect(page.locator(".row").first).to_be_attached()
    page.clock.set_fixed_time(now + datetime.timedelta(days=1))
    page.clock.run_for(61_000)
    expect(page.locator(".row")).to_have_count(0)
    expect(page.locator("main .counts")).to_have_text("No radiograph today yet.")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.mark.slow
def test_what_came_while_the_server_was_away_is_shown_and_announced(visit, tmp_path):
    port = free_port()
    with serve(tmp_path, port) as clinic:
        page = visit(clinic).page
        expect(page.locator(".row")).to_have_count(0)
    add_many(clinic, 1)
    with serve(tmp_path, port):
        expect(page.locator(".row", has_text="P50")).to_have_count(1)
        add_many(clinic, 1)
        expect(page.locator(".row", has_text="P50")).to_have_count(2)


@pytest.mark.slow
def test_a_refusal_to_tell_is_not_the_end_of_the_news(clinic, visit):
    visitor = visit(clinic)
    page = visitor.page
    refused = []

    def refuse(route):
        refused.append(route.request.url)
        route.fulfill(status=503, json={"error": "", "id": "error.failed"})

    page.route("**/api/v1/events", refuse)
    visitor.go("today")
    before = page.locator(".row").count()
    while not refused:
        page.wait_for_timeout(50)
    page.unroute("**/api/v1/events")
    add_many(clinic, 1)
    expect(page.locator(".row")).to_have_count(before + 1)


def test_what_another_program_sends_appears_by_itself(clinic, visit):
    import urllib.request

    visitor = visit(clinic)
    request = urllib.request.Request(
        f"{clinic.address}api/v1/findings?name=sent.jpg", data=picture("0-forearm"), method="POST"
    )
    with urllib.request.urlopen(request) as reply:
        assert reply.status == 201
    line = visitor.page.locator(".row", has_text="sent.jpg")
    expect(line).to_have_count(1, timeout=10_000)
    expect(line).to_contain_text("Sent by another program")
