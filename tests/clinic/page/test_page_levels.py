"""A screen gets as many pixels as it can show, and all that is measured stays in its place."""

import json
import re
import urllib.request

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.clinic.page.test_page_viewer import drag, middle, zoom_of
from tests.helpers.clinic.page.canvas import pixels
from tests.helpers.clinic.page.radiographs import SPACING, dicom

pytestmark = pytest.mark.slow  # a browser takes seconds for each

COLUMNS = 1301  # an odd number: its last column has no neighbour
COARSE = re.compile(r"/pixels\?side=600$")  # of the longer side, on a screen 600 pixels high
WHOLE = re.compile(r"/pixels$")


@pytest.fixture(scope="module")
def number(clinic):
    """Of a radiograph that is larger than the screen."""
    content = dicom("0-forearm", columns=COLUMNS)
    address = f"{clinic.address}api/v1/findings?name=large.dcm"
    request = urllib.request.Request(address, data=content, method="POST")
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)["number"]


@pytest.fixture
def visitor(clinic, visit, number):
    visitor = visit(clinic)
    visitor.page.goto(f"{clinic.address}#/radiograph/{number}")
    visitor.page.locator(".tool").first.wait_for()
    return visitor


def asked(visitor, pattern):
    return [url for url in visitor.requests if pattern.search(url)]


def length_of(page):
    return float(page.locator(".length strong").inner_text().split()[0])


def zoom_in(page):
    """Zoom until there is more than a pixel of the screen for each of the radiograph."""
    while zoom_of(page) < 120:
        before = zoom_of(page)
        page.get_by_role("button", name="Zoom in").click()
        expect(page.locator(".stage-state")).not_to_contain_text(f"zoom {before}%")


def test_all_pixels_are_fetched_with_the_first_zoom_that_needs_them_and_once(visitor):
    assert len(asked(visitor, COARSE)) == 1
    assert asked(visitor, WHOLE) == []
    with visitor.page.expect_response(WHOLE):
        zoom_in(visitor.page)
    visitor.page.locator("canvas").press("0")
    zoom_in(visitor.page)
    assert len(asked(visitor, WHOLE)) == 1


def test_the_whole_radiograph_looks_the_same_from_both_levels(visitor):
    page = visitor.page
    coarse = pixels(page)
    with page.expect_response(WHOLE):
        zoom_in(page)
    page.locator("canvas").press("0")
    assert np.array_equal(pixels(page), coarse)


def test_picture_map_and_ruler_stay_in_place_when_finer_pixels_come(visitor):
    page = visitor.page
    held = []
    page.route(WHOLE, lambda route: held.append(route))
    page.get_by_role("button", name="Ruler").click()
    x, y = middle(page)
    drag(page, (x - 60, y - 80), (x + 60, y + 80))
    measured, window = length_of(page), page.locator(".stage-state").inner_text().split("zoom")[0]
    assert measured == pytest.approx(200 / (zoom_of(page) / 100) * SPACING, rel=0.02)
    zoom_in(page)
    before = pixels(page)
    assert length_of(page) == measured
    with page.expect_response(WHOLE):
        held[0].continue_()
    for _ in range(100):
        after = pixels(page)
        if not np.array_equal(after, before):
            break
        page.wait_for_timeout(100)
    differences = np.abs(after - before).mean()
    moved = [np.abs(np.roll(after, by, axis) - before).mean() for by in (-2, 2) for axis in (0, 1)]
    assert 0 < differences < 0.5 * min(moved)  # finer, in the same place
    assert length_of(page) == measured
    assert page.locator(".stage-state").inner_text().startswith(window)


def test_a_print_from_the_page_has_all_pixels(visitor):
    page = visitor.page
    page.evaluate("() => { window.print = () => (window.printed = true); }")
    page.get_by_role("button", name="Print").click()
    with page.expect_response(WHOLE):
        page.get_by_role("button", name="Print this page").click()
    expect(page.locator("dialog")).to_have_count(0)
    assert page.evaluate("window.printed")


def test_finer_pixels_that_do_not_come_are_said_and_asked_for_again(visitor):
    page = visitor.page
    page.route(
        WHOLE, lambda route: route.fulfill(status=500, json={"error": "", "id": "error.failed"})
    )
    zoom_in(page)
    expect(page.locator(".toast-bad").first).to_contain_text("cannot be shown")
    page.unroute(WHOLE)
    with page.expect_response(WHOLE) as reply:
        page.get_by_role("button", name="Zoom in").click()
    assert reply.value.ok
