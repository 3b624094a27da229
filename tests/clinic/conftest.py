"""A process that makes results, shared by the tests of a session."""

import pytest

from orthoedge.clinic.making.client import ResultMaker


@pytest.fixture(scope="session")
def maker():
    """It takes a second to start, and keeps nothing from one image to the next."""
    shared = ResultMaker(512)
    yield shared
    shared.close()
