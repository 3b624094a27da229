"""The counts of `make robustness`: each promise prints how many cases it held."""

import pytest

ROWS = []


@pytest.fixture(scope="session")
def tally():
    """Call it once per promise, at its end: `tally(promise, done, of, note)`.

    `done` cases of `of` held. Fewer than all fail the test.
    """

    def add(promise, done, of, note=""):
        ROWS.append((promise, done, of, note))
        assert done == of, f"{promise}: {done:,} of {of:,} {note}"

    return add


def pytest_terminal_summary(terminalreporter):
    if not ROWS:
        return
    terminalreporter.section("robustness")
    wide = max(len(promise) for promise, *_ in ROWS)
    for promise, done, of, note in ROWS:
        line = f"{promise:<{wide}}  {done:>7,} of {of:>7,}  {note}"
        terminalreporter.write_line(line.rstrip(), red=done != of, green=done == of)
