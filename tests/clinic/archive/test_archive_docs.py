"""The simulation of docs/use/archives.md prints what stands below it."""

import contextlib
import io
import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "use" / "archives.md"


def test_the_simulation_prints_the_table_of_the_page():
    text = PAGE.read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    printed = io.StringIO()
    smaller = code.replace("1000, 3000, 10_000", "1000")  # the rest takes a second
    assert smaller != code
    with contextlib.redirect_stdout(printed):
        exec(compile(smaller, str(PAGE), "exec"), {})
    assert len(printed.getvalue().splitlines()) == 8
    assert printed.getvalue() in text
