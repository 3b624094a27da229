"""From the choosing of a file to the picture with its map, in Chromium.

`python -m tests.helpers.clinic.page.drop_times COUNT` prints the median of so many radiographs of
3000×2500 pixels, and how it divides. The figures in docs/use/clinic-page.md are printed by it.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.helpers.clinic.page.served import large, served

_WATCH = """
document.addEventListener("change", ({ target }) => {
    if (target.type !== "file") return;
    window.times = { start: performance.now(), end: 0 };
    performance.clearResourceTimings();
    const look = () => {
        const canvas = document.querySelector("canvas");
        if (canvas?.width > 300 && document.querySelector(".tool")) {
            requestAnimationFrame(() => (window.times.end = performance.now()));
        } else requestAnimationFrame(look);
    };
    look();
}, true);
"""
_READ = """() => {
    const { start, end } = window.times;
    const ended = (part) => {
        const all = performance.getEntriesByType("resource");
        return all.filter(({ name }) => name.includes(part)).at(-1).responseEnd - start;
    };
    const number = location.hash.split("/").pop();
    const answered = ended("/findings?name");
    const sent = Math.max(ended(`/findings/${number}?`), ended("/pixels"));
    return { all: end - start, answered, fetched: sent - answered, drawn: end - start - sent };
}"""


def main(count):
    """Print the figures."""
    with tempfile.TemporaryDirectory() as base, sync_playwright() as playwright:
        files = [Path(base) / f"{number}.dcm" for number in range(count + 1)]
        for number, file in enumerate(files):
            file.write_bytes(large(number))
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        with served(f"{base}/history", "--port", "8499") as (_, address):
            page = browser.new_page(viewport={"width": 1024, "height": 600})
            page.add_init_script(_WATCH)
            times = [_time(page, address, file) for file in files][1:]  # the first opens the engine
        browser.close()
    for name in times[0]:
        of_this = [one[name] for one in times]
        print(
            f"{name}: median {statistics.median(of_this):.0f} ms, "
            f"{min(of_this):.0f} to {max(of_this):.0f}"
        )


def _time(page, address, file):
    page.goto(f"{address}#/today")
    page.reload()
    page.locator("main:not([aria-busy]) h1").first.wait_for()
    page.wait_for_timeout(700)
    page.locator("input[type=file]").first.set_input_files(file)
    while not page.evaluate("window.times?.end"):
        page.wait_for_timeout(50)
    return page.evaluate(_READ)


if __name__ == "__main__":
    main(int(sys.argv[1]))
