"""In front of Django: callbacks go their own way, and Django's share stays bounded."""

import asyncio

import pytest

from callbacks import calling
from regulars import asgi


@pytest.fixture
def application():
    return asgi.Application()


def test_callbacks_never_reach_django(application, monkeypatch):
    async def never(*_):
        raise AssertionError

    monkeypatch.setattr(asgi, "_django", never)
    assert calling.called(application, "POST", "/api/callbacks/nobody/1-x")[0] == 404


def test_django_works_on_so_many_at_once_and_callbacks_come_in_all_the_same(application, monkeypatch):
    over = []

    async def slow(scope, receive, send):
        over.append(scope["path"])
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    monkeypatch.setattr(asgi, "_django", slow)
    monkeypatch.setattr(asgi, "MOST_AT_ONCE", 2)

    async def storm():
        pages = [calling.ask(application, "GET", f"/{n}") for n in range(3)]
        callback = calling.ask(application, "POST", "/api/callbacks/nobody/1-x")
        answers = await asyncio.gather(*pages, callback)
        return [status for status, _, _ in answers], (await calling.ask(application, "GET", "/4"))[0]

    assert asyncio.run(storm()) == ([200, 200, 503, 404], 200)
    assert over == ["/0", "/1", "/4"]
