"""`lib/http.py` against servers that misbehave: can the request have been written?"""

import asyncio
from datetime import timedelta

import pytest

from regulars.lib import clock, write_by
from regulars.lib.http import Answer, HttpClient, NoAnswerError, NotWrittenError

from .servers import answering, deaf_port, free_port, http_answer, read_request, reset, serve

SECRET = "very-secret-token"


def client(**timeouts: float) -> HttpClient:
    given = {name: timedelta(seconds=value) for name, value in timeouts.items()}
    return HttpClient(concurrency=timeouts.pop("concurrency", 4), **given)


async def post(url: str, body: str = "hola", **timeouts: float) -> Answer:
    http = client(**({"connect_timeout": 0.3, "total_timeout": 0.8} | timeouts))
    try:
        return await http.post_form(url, {"Body": body}, basic_auth=("user", SECRET))
    finally:
        await http.close()


def fails(url: str, error: type[Exception], **options) -> str:
    with pytest.raises(error) as caught:
        asyncio.run(post(url, **options))
    assert type(caught.value) is error
    assert SECRET not in str(caught.value) + repr(caught.value)
    assert caught.value.__cause__ is None
    return str(caught.value)


def fails_against(handler, error: type[Exception], scheme: str = "http", **options) -> None:
    async def scenario():
        async with serve(handler) as served:
            url = served.url.replace("http", scheme)
            with pytest.raises(error) as caught:
                await post(url, **options)
            assert type(caught.value) is error

    asyncio.run(scenario())


def test_nothing_is_written_after_its_time():
    async def scenario():
        async with serve(answering(lambda _: http_answer(201, b"{}"))) as served:
            write_by.deadline.set(clock.boot_seconds() - 1)
            with pytest.raises(NotWrittenError, match="slept"):
                await post(served.url)
            write_by.deadline.set(clock.boot_seconds() + 60)
            assert (await post(served.url)).status == 201
            return served.received

    assert len(asyncio.run(scenario())) == 1


# Certainly nothing was sent.


def test_a_refused_connection_is_not_written():
    assert "refused" in fails(f"http://127.0.0.1:{free_port()}/", NotWrittenError)


def test_a_name_that_does_not_resolve_is_not_written():
    # A label over 63 characters fails in the resolver, without asking any server.
    fails(f"http://{'a' * 64}.invalid/", NotWrittenError)


def test_a_connection_that_does_not_come_about_in_time_is_not_written():
    with deaf_port() as port:
        fails(f"http://127.0.0.1:{port}/", NotWrittenError)


@pytest.mark.parametrize("url", ["no url", "/path", "http://", "gopher://127.0.0.1/"])
def test_a_malformed_address_is_not_written(url):
    fails(url, NotWrittenError)


def test_a_header_with_a_line_break_is_not_written():
    async def scenario():
        http = client()
        try:
            with pytest.raises(NotWrittenError):
                await http.post_json("http://127.0.0.1:1/", {}, headers={"a": "b\r\nc: d"})
        finally:
            await http.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("ending", ["close", "reset", "hang", "garbage"])
def test_a_failed_tls_handshake_is_not_written(ending):
    async def handler(reader, writer, served):
        await reader.read(1)
        if ending == "hang":
            await asyncio.sleep(5)
        elif ending == "reset":
            reset(writer)
        elif ending == "garbage":
            writer.write(b"HTTP/1.1 400 Plain text\r\n\r\n")
            await writer.drain()

    fails_against(handler, NotWrittenError, scheme="https")


def test_waiting_in_vain_for_a_connection_of_the_pool_is_not_written():
    async def handler(reader, writer, served):
        served.received.append(await read_request(reader))
        await asyncio.sleep(5)

    async def scenario():
        async with serve(handler) as served:
            http = HttpClient(
                concurrency=1,
                pool_timeout=timedelta(seconds=0.2),
                total_timeout=timedelta(seconds=0.6),
            )
            calls = (http.post_form(served.url, {"n": str(n)}) for n in range(2))
            ends = await asyncio.gather(*calls, return_exceptions=True)
            await http.close()
            assert {type(end) for end in ends} == {NoAnswerError, NotWrittenError}
            assert len(served.received) == 1

    asyncio.run(scenario())


# It may have been written.


async def _close_at_once(reader, writer, served):
    return


async def _reset_unread(reader, writer, served):
    # Sooner, and the reset may already fail the connecting: rightly "not written" then.
    await asyncio.sleep(0.1)
    reset(writer)


async def _reset_in_the_middle(reader, writer, served):
    await reader.read(10)
    reset(writer)


async def _reset_after(reader, writer, served):
    await read_request(reader)
    reset(writer)


async def _close_after(reader, writer, served):
    await read_request(reader)


async def _hang(reader, writer, served):
    await read_request(reader)
    await asyncio.sleep(5)


def _after_the_request(raw: bytes, then_hang: bool = False):
    async def handler(reader, writer, served):
        await read_request(reader)
        writer.write(raw)
        await writer.drain()
        if then_hang:
            await asyncio.sleep(5)

    return handler


HEAD = b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n"
UNCLEAR = {
    "closed before anything was read": _close_at_once,
    "reset before anything was read": _reset_unread,
    "reset in the middle of the request": _reset_in_the_middle,
    "reset after the request": _reset_after,
    "closed after the request": _close_after,
    "silent after the request": _hang,
    "half a head": _after_the_request(b"HTTP/1.1 201 Cre"),
    "head without end": _after_the_request(HEAD, then_hang=True),
    "truncated body": _after_the_request(HEAD + b'\r\n{"sid"'),
    "body without end": _after_the_request(HEAD + b'\r\n{"sid"', then_hang=True),
    "no HTTP": _after_the_request(b"\x00\x01 whatever\r\n\r\n"),
    "broken compression": _after_the_request(
        b"HTTP/1.1 201 Created\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nabcd"
    ),
    "broken chunks": _after_the_request(
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabcd"
    ),
    "more than a mebibyte": _after_the_request(http_answer(201, b"x" * (1024 * 1024 + 1))),
}


@pytest.mark.parametrize("handler", UNCLEAR.values(), ids=UNCLEAR.keys())
def test_no_whole_answer_means_that_nobody_knows(handler):
    fails_against(handler, NoAnswerError)


def test_a_kept_connection_that_breaks_is_not_tried_again():
    """The danger is a client that repeats the request by itself: the server counts."""

    async def handler(reader, writer, served):
        served.received.append(await read_request(reader))
        writer.write(http_answer(200, b"{}"))
        await writer.drain()
        served.received.append(await read_request(reader))

    async def scenario():
        async with serve(handler) as served:
            http = client()
            assert (await http.post_form(served.url, {"n": "1"})).status == 200
            with pytest.raises(NoAnswerError):
                await http.post_form(served.url, {"n": "2"})
            await http.close()
            assert [request[-3:] for request in served.received] == [b"n=1", b"n=2"]
            assert served.connections == 1

    asyncio.run(scenario())


# A whole answer.


def ask(respond, call) -> tuple[Answer, list[bytes]]:
    async def scenario():
        async with serve(answering(respond)) as served:
            http = client()
            try:
                return await call(http, served.url), served.received
            finally:
                await http.close()

    return asyncio.run(scenario())


def test_an_answer_is_a_value_whatever_its_status():
    raw = http_answer(503, b'{"code": 20503}', Retry_After="7")
    answer, _ = ask(lambda _: raw, lambda http, url: http.post_form(url, {}))
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert answer.json_object() == {"code": 20503}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff", b"null"])
def test_a_body_that_is_no_object_reads_as_empty(body):
    assert Answer(200, {}, body).json_object() == {}


def test_redirects_are_not_followed():
    raw = http_answer(307, Location="/elsewhere")
    answer, received = ask(lambda _: raw, lambda http, url: http.post_form(url, {}))
    assert answer.status == 307
    assert len(received) == 1


def test_a_form_carries_every_script_and_the_credentials():
    fields = {"Body": "¡Olé! 🎂 مرحبا &=+%", "To": "+12015550123"}
    _, (request,) = ask(
        lambda _: http_answer(201),
        lambda http, url: http.post_form(url, fields, basic_auth=("u", "p")),
    )
    head, _, body = request.partition(b"\r\n\r\n")
    from urllib.parse import parse_qs

    assert parse_qs(body.decode()) == {name: [value] for name, value in fields.items()}
    assert b"authorization: basic dtpw" in head.lower()
    assert b"application/x-www-form-urlencoded" in head


def test_json_is_sent_as_utf8():
    _, (request,) = ask(lambda _: http_answer(201), lambda http, url: http.post_json(url, {"text": "é🎂"}))
    assert request.endswith('{"text": "é🎂"}'.encode())
    assert b"application/json" in request


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    answer, _ = ask(lambda _: http_answer(200), lambda http, url: http.post_form(url, {}))
    assert answer.status == 200
