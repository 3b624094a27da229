"""Every text of the page is in the catalogue, and the catalogue has none that the page forgot."""

import re
from pathlib import Path

from orthoedge.clinic.words import catalogue

PAGE = Path(__file__).parents[3] / "clinic/page"
_MADE_UP = re.compile(r"\\\$\\\{.*?\\\}")


def used():
    """Ids as they stand in the scripts, and patterns of those that are put together."""
    scripts = "".join(file.read_text("utf-8") for file in sorted(PAGE.rglob("*.js")))
    whole = set(re.findall(r'"(page\.[a-z0-9_.]+)"', scripts))
    made = set(re.findall(r"`(page\.[^`]+)`", scripts))
    return whole, [re.compile(_MADE_UP.sub(r"\\w+", re.escape(name))) for name in made]


def test_every_id_of_the_scripts_is_in_the_catalogue():
    whole, _ = used()
    assert len(whole) > 100
    assert whole <= set(catalogue("en").page_texts())


def test_every_text_of_the_page_is_used():
    whole, made = used()
    of_page = {name for name in catalogue("en").page_texts() if name.startswith("page.")}
    unused = {name for name in of_page - whole if not any(p.fullmatch(name) for p in made)}
    assert unused == set()


def test_no_style_or_script_stands_inside_the_page():
    text = (PAGE / "index.html").read_text("utf-8")
    assert "style=" not in text
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert not re.search(r"\bon\w+=", text)
    assert "://" not in text
