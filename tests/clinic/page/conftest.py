"""A clinic's server with its page, and Chromium on it."""

import contextlib
import json
import re
import subprocess
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

from orthoedge.runtime.subprocesses import module_command
from tests.helpers.clinic.page.radiographs import dicom
from tests.helpers.clinic.programs import require

PATIENCE_MS = 30_000  # other work may keep the processors busy
_QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)


@dataclass
class Clinic:
    """A server that answers."""

    address: str
    folder: Path

    def send(self, path, content):
        """Post content to the interface, as another program would; the JSON of the answer."""
        url = f"{self.address}api/v1/{path}"
        request = urllib.request.Request(url, data=content, method="POST")
        with urllib.request.urlopen(request) as reply:
            return json.load(reply)


@contextlib.contextmanager
def serve(folder, port=0):
    """A server on the history of a folder."""
    settings = folder / "clinic.toml"
    settings.write_text(f'folder = "{folder}"\nport = {port}\nbackup = "{folder}.backup"\n')
    command = [*module_command("orthoedge.cli"), "clinic", "--no-browser", "--settings", settings]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        address = re.match(r"http://\S+", line)
        assert address, f"the server said {line!r}"
        yield Clinic(address[0], folder)
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium, driven by Playwright.

    Playwright's event loop runs as long as it is open, and other tests need one of their own.
    """
    path = require("chromium")
    driver = pytest.importorskip("playwright.sync_api")
    driver.expect.set_options(timeout=PATIENCE_MS)
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_QUIET))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """A server without accounts on a history of its own."""
    with serve(tmp_path_factory.mktemp("clinic")) as clinic:
        yield clinic


@pytest.fixture(scope="module")
def closed_clinic(tmp_path_factory):
    """A server with two accounts, `operator` and `physician`; a password is the name twice."""
    folder = tmp_path_factory.mktemp("clinic")
    for name in ("operator", "physician"):
        account = [*module_command("orthoedge.cli"), "clinic", "account", "add", name]
        options = ["--role", name, "--folder", str(folder)]
        subprocess.run([*account, *options], input=f"{name * 2}\n", text=True, check=True)
    with serve(folder) as clinic:
        yield clinic


@dataclass
class Visitor:
    """A page of the browser, and what it asked for."""

    page: object
    clinic: Clinic
    requests: list
    errors: list

    def go(self, view):
        """Open a view, and wait until it is there."""
        self.page.goto(f"{self.clinic.address}#/{view}")
        self.page.reload()
        self.ready()

    def ready(self):
        self.page.locator("main:not([aria-busy]) h1").first.wait_for()

    def drop(self, files):
        """Drop files, name to content, on the page."""
        parts = [{"name": name, "bytes": list(content)} for name, content in files.items()]
        transfer = self.page.evaluate_handle(
            """parts => {
                const transfer = new DataTransfer();
                for (const { name, bytes } of parts) {
                    transfer.items.add(new File([new Uint8Array(bytes)], name));
                }
                return transfer;
            }""",
            parts,
        )
        for event in ("dragenter", "dragover", "drop"):
            self.page.dispatch_event("body", event, {"dataTransfer": transfer})


@pytest.fixture
def visit(chromium):
    """Open a clinic's page; no request may leave the machine, and no script may fail."""
    with contextlib.ExitStack() as stack:
        visitors = []

        def open_page(clinic, width=1024, height=600, language="en", theme="light", **options):
            context = chromium.new_context(
                viewport={"width": width, "height": height}, locale="en-GB", **options
            )
            stack.callback(context.close)
            context.add_init_script(
                "if (!localStorage.getItem('orthoedge.language')) {"
                f"localStorage.setItem('orthoedge.language', '{language}');"
                f"localStorage.setItem('orthoedge.theme', '{theme}'); }}"
            )
            page = context.new_page()
            page.set_default_timeout(PATIENCE_MS)
            visitor = Visitor(page, clinic, [], [])
            page.on("request", lambda request: visitor.requests.append(request.url))
            page.on("pageerror", lambda error: visitor.errors.append(str(error)))
            visitors.append(visitor)
            visitor.go("today")
            return visitor

        yield open_page
        for visitor in visitors:
            away = [
                url
                for url in visitor.requests
                if not url.startswith(("blob:", visitor.clinic.address))
            ]
            assert not away
            assert not visitor.errors


@pytest.fixture(scope="module")
def filled_clinic(clinic):
    """The server with three radiographs of one patient, one of another, and a bad file.

    A physician agrees with the third, and not with the fourth.
    """
    files = {
        "before.dcm": dicom("0-forearm", date="20260901"),
        "after.dcm": dicom("0-forearm", date="20261020", instance="1.2.826.0.1.1.1.1.2"),
        "leg.dcm": dicom("1-leg", date="20261021", instance="1.2.826.0.1.1.1.1.3", part="LEG"),
        "other.dcm": dicom(
            "3-shoulder", patient=("P2", "Okoro^Ada"), instance="1.2.826.0.1.1.1.1.4"
        ),
        "bad.dcm": b"no radiograph",
    }
    for name, content in files.items():
        with contextlib.suppress(urllib.error.HTTPError):
            clinic.send(f"findings?name={name}", content)
    clinic.send("findings/3/opinion", json.dumps({"agrees": True}).encode())
    opinion = {"agrees": False, "label": "fracture", "note": "seen on the lateral view"}
    clinic.send("findings/4/opinion", json.dumps(opinion).encode())
    return clinic


@pytest.fixture(scope="session")
def axe():
    """Text of axe-core."""
    package = pytest.importorskip("axe_playwright_python")
    return (Path(package.__file__).parent / "axe.min.js").read_text("utf-8")


@pytest.fixture(scope="session")
def languages():
    """Codes of all languages of the page."""
    from orthoedge.clinic.words import LANGUAGES

    return LANGUAGES
