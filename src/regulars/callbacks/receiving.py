"""`/api/callbacks/{kind}/{account}`: a request is checked, kept as it is, and answered; nothing more.

An ASGI application of its own beside Django: no session, no cookie, no middleware. What a stranger
sends is refused by the secret in the address before a byte of its body is read. 200 means that the request
is durable; applying it is a job's work (`callbacks.applying`).
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings

from regulars.automations.callback_access import PATH, TOKEN_LENGTH
from regulars.callbacks.certificates import Certificates, UnreachableError
from regulars.callbacks.doors import Door, Doors
from regulars.callbacks.writing import NotTakenError, Row, Writer
from regulars.lib import clock
from regulars.providers import callbacks
from regulars.providers.callbacks import MalformedError, RefusedError, Request

log = structlog.get_logger("regulars.callbacks")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# A body that trickles in holds memory for nobody's good.
BODY_SECONDS = 10.0
# Requests that are being read or written at one moment.
MOST_AT_ONCE = 1_000
_ADDRESS = re.compile(rf"{PATH}([a-z0-9_]{{1,32}})/([1-9]\d{{0,17}})-([a-z2-7]{{{TOKEN_LENGTH}}})")
_CODES = {400: "bad_request", 404: "not_found", 405: "method_not_allowed", 408: "timeout", 413: "too_large"}
_CODES |= {401: "not_signed", 403: "forbidden", 429: "too_many_requests", 503: "unavailable"}


class AnswerError(Exception):
    """A request that is not taken: the status, and words for whoever set the vendor up."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    kind: str
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Receiver:
    """The application; one for a process (and event loop)."""

    def __init__(
        self,
        writer: Writer | None = None,
        doors: Doors | None = None,
        certificates: Certificates | None = None,
    ) -> None:
        self._writer = writer or Writer()
        self._doors = doors or Doors()
        self._certificates = certificates or Certificates()
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._inside += 1
        try:
            answer = await self._answer(scope, receive)
        except AnswerError as refused:
            answer = _refusal(refused.status, str(refused))
        finally:
            self._inside -= 1
        await _send(answer, send)

    async def close(self) -> None:
        """Finish what waits."""
        await self._writer.close()

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        if scope["method"] not in ("GET", "POST"):
            raise AnswerError(405, "Only POST is taken here.")
        found = _ADDRESS.fullmatch(scope["path"])
        if found is None or (handler := callbacks.handler(found[1])) is None:
            raise AnswerError(404, "There is no such address for callbacks.")
        try:
            return await self._take(await self._door(*found.groups()), scope, receive)
        except AnswerError:
            raise
        except Exception as problem:
            # Whatever it was, the vendor must come again.
            tell = log.warning if isinstance(problem, NotTakenError | UnreachableError) else log.exception
            tell("a callback was not taken", kind=found[1], account=int(found[2]), error=str(problem))
            raise AnswerError(handler.busy_status, "This cannot be taken now: come again.") from problem

    async def _door(self, kind: str, account_id: str, token: str) -> Door:
        door = await self._doors.find(kind, int(account_id))
        if door is None or not callbacks.same(token, door.token):
            raise AnswerError(403, "The secret in the address is another one.")
        return door

    async def _take(self, door: Door, scope: Scope, receive: Receive) -> Answer:
        handler = door.handler
        if self._inside > MOST_AT_ONCE or self._writer.is_full:
            raise AnswerError(handler.busy_status, "Too much at once: come again.")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        body = await _read(headers, receive, handler.most_bytes)
        request = Request(scope["method"], url_of(scope, headers), headers, body)
        try:
            if request.method == "GET":
                return Answer(200, "text/plain", handler.greet(request, door.secrets).encode())
            certificate = await self._certificates.get(handler.certificate_url(request))
            handler.check(request, door.secrets, clock.now(), certificate)
        except RefusedError as refused:
            log.info("a callback was refused", account=door.account_id, reason=str(refused))
            raise AnswerError(refused.status, str(refused)) from None
        except MalformedError as problem:
            raise AnswerError(400, str(problem)) from None
        kept = {name: headers[name] for name in handler.kept_headers if name in headers}
        query = scope["query_string"].decode("latin-1")
        await self._writer.write(Row(door.account_id, query, kept, body))
        return Answer(200, *handler.answer)


def url_of(scope: Scope, headers: Mapping[str, str]) -> str:
    """The address as the vendor called it: what is in between may know another host and scheme."""
    path = scope.get("raw_path") or scope["path"].encode()
    query = scope["query_string"].decode("latin-1")
    here = f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
    base = settings.PUBLIC_URL.rstrip("/") or here
    return f"{base}{path.decode('latin-1').partition('?')[0]}" + (f"?{query}" if query else "")


async def _read(headers: Mapping[str, str], receive: Receive, most: int) -> bytes:
    """The body, at most so many bytes of it, within some seconds."""
    declared = headers.get("content-length", "")
    if declared.isascii() and declared.isdigit() and int(declared[:12]) > most:
        raise AnswerError(413, f"At most {most} bytes are taken.")
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise AnswerError(400, "The request ended before its body.")
                part: bytes = message.get("body", b"")
                parts.append(part)
                size += len(part)
                if size > most:
                    raise AnswerError(413, f"At most {most} bytes are taken.")
                if not message.get("more_body"):
                    return b"".join(parts)
    except TimeoutError:
        raise AnswerError(408, "The body took too long.") from None


def _refusal(status: int, words: str) -> Answer:
    body = {"error": words, "code": _CODES.get(status, "error"), "details": None}
    more: tuple[tuple[bytes, bytes], ...] = ()
    if status in (429, 503):
        more = ((b"retry-after", b"30"),)
    if status == 401:
        more = ((b"www-authenticate", b'Basic realm="callbacks"'),)
    if status == 405:
        more = ((b"allow", b"POST"),)
    return Answer(status, "application/json", json.dumps(body).encode(), more)


async def _send(answer: Answer, send: Send) -> None:
    headers = [
        (b"content-type", answer.kind.encode()),
        (b"content-length", str(len(answer.body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-content-type-options", b"nosniff"),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
