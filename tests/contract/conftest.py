"""Prism as a fixture: present, or a clear word why not."""

import os

import pytest

from . import prism
from .servers import free_port


def missing(reason: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def specs():
    try:
        return prism.specs()
    except prism.MissingError as error:
        missing(str(error))


@pytest.fixture(scope="session")
def start_prism(specs, tmp_path_factory):
    """`start_prism("twilio/x.json")` gives the address of a Prism for that description."""
    import contextlib

    logs = tmp_path_factory.mktemp("prism")
    started = {}
    with contextlib.ExitStack() as stack:

        def start(name: str) -> str:
            if name not in started:
                log = logs / f"{len(started)}.log"
                way = prism.running(specs / name, free_port(), log)
                try:
                    started[name] = stack.enter_context(way)
                except prism.MissingError as error:
                    missing(str(error))
            return started[name]

        yield start
