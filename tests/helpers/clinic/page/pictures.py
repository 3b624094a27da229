"""Pictures of every view of the page, as docs/use/clinic-page.md shows them.

`python -m tests.helpers.clinic.page.pictures OUT` writes them as WebP, all of one run, from the
samples of FracAtlas with invented names. No sample is answered without a physician, or called
malignant: two of the findings are changed, so that each shape is seen.
"""

import contextlib
import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
from playwright.sync_api import sync_playwright

from orthoedge.clinic.history import PatientFacts
from orthoedge.runtime.subprocesses import module_command
from tests.helpers.clinic.images import image_file
from tests.helpers.clinic.page.findings import add_like
from tests.helpers.clinic.page.radiographs import SPACING, picture, samples
from tests.helpers.clinic.page.served import served
from tests.helpers.clinic.page.views import open_audit, open_opinion
from tests.helpers.hostile.dicom_bytes import pixel_elements

_SIZES = ((1024, 600), (390, 844))
_QUALITY = 80
_PATIENTS = {
    "yusuf": ("Yusuf^Amina", "P-1007", "F", "19790412"),
    "mwangi": ("Mwangi^Joseph", "P-0944", "M", "19640930"),
    "diallo": ("Diallo^Mariam", "P-0871", "F", "19921105"),
    "haddad": ("Haddad^Karim", "P-1020", "M", "20010217"),
    "li": ("Li^Na", "P-1012", "F", "19880703"),
}
# Patient, sample, day, body part, degrees by which it is turned.
_FILES = (
    ("yusuf", "0-forearm", "20261027", "FOREARM", 4),
    ("mwangi", "1-leg", "20261027", "TIBIA", 3),
    ("diallo", "2-leg", "20261201", "LOWERLEG", 0),
    ("li", "3-shoulder", "20261201", "SHOULDER", 0),
    ("mwangi", "1-leg", "20261201", "TIBIA", 0),
    ("yusuf", "0-forearm", "20261201", "FOREARM", 0),
)
_REPORT = {
    "decision": "report", "label": "non-affected", "label_set": ["non-affected"], "reasons": [],
    "reason_ids": [], "out_of_distribution": 0.2,
    "probabilities": {
        "fracture": 0.011, "non-affected": 0.972, "tumor-benign": 0.012, "tumor-malignant": 0.005,
    },
}  # fmt: skip
_MALIGNANT = {
    "decision": "refer", "label": "tumor-malignant",
    "label_set": ["tumor-malignant", "tumor-benign"], "reasons": ["cannot rule out tumor-benign"],
    "reason_ids": [{"id": "label_set", "values": {}}],
    "probabilities": {
        "fracture": 0.028, "non-affected": 0.019, "tumor-benign": 0.142, "tumor-malignant": 0.811,
    },
}  # fmt: skip


def main(folder):
    """Write all pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        playwright = stack.enter_context(sync_playwright())
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        stack.callback(browser.close)
        history = base / "history"
        _, address = stack.enter_context(served(history, "--port", "8498"))
        views = _fill(address, history)
        first = _page(browser, _SIZES[0], "en", "light")
        _open(first, f"{address}#/today")
        time.sleep(4)  # the first page to listen is told of all that is new
        first.context.close()
        closed = base / "closed"
        account = ("clinic", "account", "add", "ada", "--role", "administrator")
        command = [*module_command("orthoedge.cli"), *account, "--folder", str(closed)]
        subprocess.run(command, input="ten letters\n", text=True, check=True)
        _, login = stack.enter_context(served(closed, "--port", "8497"))
        places = [(name, f"{address}#/{view}") for name, view in views.items()]
        for size in _SIZES:
            for language in ("en", "ar"):
                for theme in ("light", "dark"):
                    name = f"{size[0]}-{theme}-{language}"
                    page = _page(browser, size, language, theme)
                    for view, url in (*places, ("login", login)):
                        _open(page, url)
                        _shoot(page, folder / f"{view}-{name}.webp")
                    page.context.close()
        _opened(browser, address, views, folder)


def _fill(address, history):
    """Send the radiographs, and return the views by name."""
    numbers = [
        _send(address, f"findings?name={name}.dcm", _dicom(index, *row))["number"]
        for index, (name, row) in enumerate((row[0], row) for row in _FILES)
    ]
    karim = PatientFacts("P-1020", "Haddad, Karim", "2001-02-17", "M")
    add_like(history, numbers[2], patient=karim, origin="node", **_REPORT)
    with contextlib.suppress(urllib.error.HTTPError):
        _send(address, "findings?name=letter.pdf", b"%PDF-1.4 a letter")
    _send(address, "findings?name=blank.dcm", _dicom(9, *_FILES[3], grey=0.02))
    malignant = add_like(
        history, numbers[1], patient=PatientFacts("P-0990", "Okoro, Ada", "2011-05-30", "F"),
        origin="node", **_MALIGNANT,
    )  # fmt: skip
    opinions = [{"agrees": True}] * 4 + [{"agrees": False, "label": "fracture"}, {"agrees": True}]
    for number, opinion in zip(numbers, opinions, strict=True):
        if number != numbers[-1]:
            _send(address, f"findings/{number}/opinion", json.dumps(opinion).encode())
    return {
        "today": "today",
        "radiograph": f"radiograph/{numbers[-1]}",
        "malignant": f"radiograph/{malignant}",
        "history": "history",
        "compare": f"compare/{numbers[0]}/{numbers[-1]}",
        "agreement": "agreement",
        "settings": "settings",
    }


def _opened(browser, address, views, folder):
    """What opens on a view, in English on the panel."""
    for language in ("en", "ar"):
        page = _page(browser, _SIZES[0], language, "light")
        end = f"light-{language}.webp"
        _open(page, f"{address}#/{views['radiograph']}")
        with tempfile.TemporaryDirectory() as base:
            pdf = Path(base) / "sheet.pdf"
            page.pdf(path=pdf, prefer_css_page_size=True)
            subprocess.run(["pdftoppm", "-r", "90", "-png", pdf, pdf.with_suffix("")], check=True)
            (sheet,) = Path(base).glob("*.png")
            _write(cv2.imread(str(sheet)), folder / f"print-{end}")
        open_opinion(page)
        page.locator(".opinion").evaluate("element => element.scrollIntoView()")
        _shoot(page, folder / f"opinion-1024-{end}")
        _open(page, f"{address}#/settings")
        open_audit(page)
        page.locator(".card").last.evaluate("element => element.scrollIntoView()")
        _shoot(page, folder / f"audit-1024-{end}")
        _open(page, f"{address}#/today")
        _drop(page)
        _shoot(page, folder / f"upload-1024-{end}")
        page.context.close()


def _drop(page):
    """A folder of which three files are done."""
    done = []

    def hold(route):
        done.append(route)
        if len(done) <= 3:
            route.continue_()

    page.route("**/findings?name=*", hold)
    page.evaluate(
        """async bytes => {
            const { uploads } = await import("./core/uploads.js");
            const name = number => `ward-3/IM${String(number + 1).padStart(4, "0")}.jpg`;
            const file = new File([new Uint8Array(bytes)], "IM.jpg");
            uploads.add([...Array(24).keys()].map(number => ({ name: name(number), file })));
        }""",
        list(picture("2-leg")),
    )
    while page.evaluate("document.querySelector('progress').value") < 3:
        page.wait_for_timeout(100)


def _dicom(index, patient, sample, day, part, turn, grey=1.0):
    name, number, sex, birth = _PATIENTS[patient]
    pixels = samples(sample)
    if turn:
        height, width = pixels.shape
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.06)
        pixels = cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
    header = {
        0x00080018: ("UI", f"1.2.826.0.1.9.{index}"), 0x00080020: ("DA", day),
        0x00100010: ("PN", name), 0x00100020: ("LO", number), 0x00100030: ("DA", birth),
        0x00100040: ("CS", sex), 0x00180015: ("CS", part), 0x00200062: ("CS", "R"),
        0x00181164: ("DS", f"{SPACING}\\{SPACING}"),
    }  # fmt: skip
    return image_file(header | pixel_elements((pixels * grey).astype(np.uint16)))


def _send(address, path, content):
    request = urllib.request.Request(f"{address}api/v1/{path}", data=content, method="POST")
    with urllib.request.urlopen(request) as reply:
        return json.load(reply)


def _page(browser, size, language, theme):
    viewport = {"width": size[0], "height": size[1]}
    context = browser.new_context(viewport=viewport, locale="en-GB")
    context.add_init_script(
        f"localStorage.setItem('orthoedge.language', '{language}');"
        f"localStorage.setItem('orthoedge.theme', '{theme}');"
    )
    page = context.new_page()
    page.set_default_timeout(300_000)
    return page


def _open(page, url):
    page.goto(url)
    page.reload()
    page.locator("main:not([aria-busy]) h1").first.wait_for()
    if "radiograph" in url or "compare" in url:
        page.locator(".map-bar").last.wait_for()


def _shoot(page, file):
    page.wait_for_timeout(400)
    content = np.frombuffer(page.screenshot(), np.uint8)
    _write(cv2.imdecode(content, cv2.IMREAD_COLOR), file)


def _write(pixels, file):
    assert cv2.imwrite(str(file), pixels, [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    print(file.name, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
