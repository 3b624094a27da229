"""The tools of the radiograph, and the map on it, which means what it means in the pictures."""

import json

import numpy as np
import pytest
from playwright.sync_api import expect

from orthoedge.runtime.overlay import colormap
from orthoedge.runtime.preprocess import LetterboxTransform
from orthoedge.targets import open_pipeline
from tests.helpers.clinic.page.canvas import pixels
from tests.helpers.clinic.page.findings import add_like
from tests.helpers.clinic.page.radiographs import SAMPLES, SPACING

pytestmark = pytest.mark.slow  # a browser takes seconds for each

_ROUNDING = 1  # of 255: both round the same colour, from float32 and from float64


@pytest.fixture
def opened(filled_clinic, visit):
    visitor = visit(filled_clinic)
    visitor.go("radiograph/1")
    visitor.page.locator(".tool").first.wait_for()
    return visitor.page


@pytest.fixture(scope="module")
def findings():
    pipeline = open_pipeline()
    return [json.loads(pipeline.predict(file).to_json()) for file in sorted(SAMPLES.glob("*.jpg"))]


def is_coloured(picture):
    return (np.ptp(picture, axis=-1) > 8).mean()


def middle(page):
    box = page.locator("canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(*end, steps=4)
    page.mouse.up()


def test_a_drag_up_makes_the_picture_brighter_and_one_sideways_changes_contrast(opened):
    before = pixels(opened)
    x, y = middle(opened)
    drag(opened, (x, y), (x, y - 80))
    brighter = pixels(opened)
    assert brighter.mean() > before.mean() + 5
    drag(opened, (x, y), (x + 100, y))
    assert pixels(opened).std() > brighter.std() + 1


def test_the_map_fades_with_its_slider_and_the_line_goes_with_its_button(opened):
    slider = opened.get_by_role("slider", name="Strength of the map")
    opened.get_by_role("button", name="Line").click()
    full = is_coloured(pixels(opened))
    slider.fill("50")
    half = pixels(opened)
    slider.fill("0")
    assert full > 0.02
    assert 0 < is_coloured(half) < full
    assert is_coloured(pixels(opened)) == 0
    opened.get_by_role("button", name="Line").click()
    assert is_coloured(pixels(opened)) > 0


def test_outlines_of_lesions_are_white_dashes_with_a_button_and_words(filled_clinic, visit):
    """A bundle that outlines lesions is not in the package, so a finding is given some."""
    contour = [[60.0, 60.0], [240.0, 60.0], [240.0, 240.0], [60.0, 240.0]]
    region = {
        "contour": contour, "probability": 0.9, "diameter_px": 254.6, "area_px": 32400.0,
        "diameter_ends": [contour[0], contour[2]], "diameter_mm": 63.6, "area_mm2": 2025.0,
        "plane": "detector",
    }  # fmt: skip
    number = add_like(filled_clinic.folder, 1, lesions=[region])
    visitor = visit(filled_clinic)
    visitor.go(f"radiograph/{number}")
    page = visitor.page
    expect(page.locator(".map-meaning")).to_contain_text("White dashes")
    page.get_by_role("button", name="Line", exact=True).click()
    page.get_by_role("button", name="Map", exact=True).click()
    with_dashes = pixels(page)
    page.get_by_role("button", name="Outline").click()
    without = pixels(page)
    changed = np.abs(with_dashes - without).max(axis=-1) > 0
    assert (with_dashes[changed].min(axis=-1) > 250).any()  # white
    assert (with_dashes[changed].max(axis=-1) < 5).any()  # with a dark rim
    rows = np.flatnonzero(changed.any(axis=1))
    top = changed[rows[0] : rows[0] + 4].any(axis=0)
    left, right = np.flatnonzero(top)[[0, -1]]
    assert 0.4 < top[left:right].mean() < 0.9  # dashes with gaps
    expect(page.locator(".words")).to_contain_text("64 mm across at the detector")


def test_invert_turns_the_grey_around(opened):
    opened.get_by_role("button", name="Map").click()
    opened.get_by_role("button", name="Line").click()
    before = pixels(opened)
    opened.get_by_role("button", name="Invert").click()
    after = pixels(opened)
    inside = before.shape[1] // 2 + np.arange(-20, 20)
    centre = before.shape[0] // 2
    both = before[centre, inside] + after[centre, inside]
    assert np.abs(both - 255).max() <= 1


def test_the_wheel_zooms_and_a_drag_with_move_pans(opened):
    state = opened.locator(".stage-state")
    before = state.inner_text()
    opened.mouse.move(*middle(opened))
    opened.mouse.wheel(0, -600)
    expect(state).not_to_have_text(before)
    opened.get_by_role("button", name="Move").click()
    picture = pixels(opened)
    x, y = middle(opened)
    drag(opened, (x, y), (x + 40, y))
    moved = pixels(opened)
    assert np.abs(moved[:, 140:400] - picture[:, 100:360]).mean() < 1
    assert np.abs(moved[:, 140:400] - picture[:, 140:400]).mean() > 1


def test_two_fingers_zoom(filled_clinic, visit):
    visitor = visit(filled_clinic, has_touch=True)
    visitor.go("radiograph/1")
    page = visitor.page
    page.locator(".tool").first.wait_for()
    before = page.locator(".stage-state").inner_text()
    x, y = middle(page)
    session = page.context.new_cdp_session(page)

    def touch(kind, distance):
        points = (
            [] if distance is None else [{"x": x - distance, "y": y}, {"x": x + distance, "y": y}]
        )
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 30)
    for distance in (50, 80, 110):
        touch("touchMove", distance)
    touch("touchEnd", None)
    expect(page.locator(".stage-state")).not_to_have_text(before)
    assert zoom_of(page) > 150


def swipe(page, start, end):
    """Draw one finger over the screen."""
    session = page.context.new_cdp_session(page)

    def touch(kind, *places):
        points = [{"x": x, "y": y} for x, y in places]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", start)
    for share in (0.25, 0.5, 0.75, 1):
        touch("touchMove", [a + share * (b - a) for a, b in zip(start, end, strict=True)])
    touch("touchEnd")


def test_a_finger_changes_the_brightness_moves_and_measures(filled_clinic, visit):
    visitor = visit(filled_clinic, has_touch=True)
    visitor.go("radiograph/1")
    page = visitor.page
    before = pixels(page)
    x, y = middle(page)
    swipe(page, (x, y), (x, y - 80))
    brighter = pixels(page)
    assert brighter.mean() > before.mean() + 5
    page.get_by_role("button", name="Move").tap()
    swipe(page, (x, y), (x + 40, y))
    moved = pixels(page)
    assert np.abs(moved[:, 140:400] - brighter[:, 100:360]).mean() < 1
    page.get_by_role("button", name="Ruler").tap()
    swipe(page, (x - 60, y - 80), (x + 60, y + 80))
    expected = 200 / (zoom_of(page) / 100) * SPACING
    words = page.locator(".length strong").inner_text()
    assert float(words.split()[0]) == pytest.approx(expected, rel=0.02)


def test_a_rotation_turns_the_picture_by_a_quarter_and_four_turn_it_back(opened):
    opened.get_by_role("button", name="Invert").focus()
    before = pixels(opened)
    for turns in range(1, 5):
        opened.get_by_role("button", name="Rotate").click()
        turned = pixels(opened)
        if turns == 2:
            assert np.abs(turned - before[::-1, ::-1]).mean() < 4  # map and edges are sampled anew
        if turns == 1:
            height, width = turned.shape[:2]
            side = min(height, width) // 2 - 2
            lit = [(picture > 20).any(axis=-1) for picture in (before, turned)]
            spans = [(np.ptp(np.flatnonzero(one.any(0))), np.ptp(np.flatnonzero(one.any(1))))
                     for one in lit]  # fmt: skip
            assert side > 100
            assert (spans[0][0] > spans[0][1]) != (spans[1][0] > spans[1][1])  # lies, or stands
    assert np.array_equal(pixels(opened), before)


def zoom_of(page):
    return int(page.locator(".stage-state").inner_text().split("zoom ")[1].rstrip("%"))


def test_the_ruler_measures_in_the_spacing_of_the_file(opened):
    opened.get_by_role("button", name="Ruler").click()
    x, y = middle(opened)
    drag(opened, (x - 60, y - 80), (x + 60, y + 80))
    scale = zoom_of(opened) / 100
    expected = 200 / scale * SPACING
    words = opened.locator(".length strong").inner_text()
    assert float(words.split()[0]) == pytest.approx(expected, rel=0.02)
    expect(opened.locator(".length")).to_contain_text("Measured at the detector")


def test_the_ruler_works_by_keyboard(opened):
    opened.get_by_role("button", name="Ruler").click()
    canvas = opened.locator("canvas")
    canvas.focus()
    canvas.press("Enter")
    for _ in range(10):
        canvas.press("ArrowRight")
    canvas.press("Enter")
    expected = 80 / (zoom_of(opened) / 100) * SPACING
    words = opened.locator(".length strong").inner_text()
    assert float(words.split()[0]) == pytest.approx(expected, rel=0.02)


def test_without_a_spacing_the_ruler_says_so(filled_clinic, visit):
    from tests.helpers.clinic.page.radiographs import picture

    visitor = visit(filled_clinic)
    visitor.drop({"photo.jpg": picture("1-leg")})
    visitor.page.get_by_role("button", name="Ruler").click(force=True)  # it is marked as disabled
    expect(visitor.page.locator(".hint")).to_contain_text("nothing can be measured")


def test_colours_are_those_of_the_overlay(opened):
    table = opened.evaluate("import('/viewer/heat.js').then(heat => [...heat.colours()])")
    shown = np.array(table, np.uint32).view(np.uint8).reshape(256, 256, 4)[..., :3].astype(int)
    grey = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    heat = np.tile((np.arange(256) / 255).astype(np.float32)[:, None], (1, 256))
    assert np.abs(shown - colormap.colorize(grey, heat)[..., ::-1]).max() <= _ROUNDING


def test_the_map_has_the_values_of_the_overlay_and_its_line_the_same_course(opened, findings):
    for finding in findings:
        transform = LetterboxTransform(**{k: tuple(v) for k, v in finding["placement"].items()})
        saliency = np.array(finding["saliency_map"], np.float32)
        expected = colormap.map_over_field(saliency, transform, finding["input_size"])
        shown = opened.evaluate(
            """finding => import("/viewer/heat.js").then(({ Heat, trace }) => {
                const heat = new Heat(finding);
                const lines = trace(heat.values, heat.columns, heat.rows, 0.5);
                return { values: [...heat.values], lines };
            })""",
            finding,
        )
        values = np.array(shown["values"]).reshape(expected.shape)
        np.testing.assert_allclose(values, expected, atol=1e-5)  # float32 sums of 16 products
        lines = colormap.trace_contour(expected, *expected.shape)
        assert len(shown["lines"]) == len(lines)
        inside = (expected >= 0.5).sum()
        area = sum(enclosed(np.array(line)) for line in shown["lines"])
        assert abs(area) == pytest.approx(
            inside, rel=0.02
        )  # a pixel is inside or not; a line is finer


def enclosed(line):
    """Area within a closed line, (P, 2); holes count negative."""
    x, y = line[:, 0], line[:, 1]
    return 0.5 * float(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1)))
