"""Installations of their own for the journeys."""

import pytest
from tests import live


@pytest.fixture
def installation(tmp_path):
    """The environment of an empty installation on a database of its own."""
    with live.temporary_database("journey") as url:
        yield live.environment(url, tmp_path / "home")
