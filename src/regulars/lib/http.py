"""The one place that speaks HTTP to providers, over pyreqwest.

It answers one question beside the answer itself: can the request have been written? Nothing is
retried, no redirect is followed, and proxies named in the environment are not used: a message must
reach the host its owner configured, once. Who needs a proxy or a region gives it as `base_url`.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import BuilderError, PoolTimeoutError, PyreqwestError
from pyreqwest.http import HeaderMap, Url
from pyreqwest.request import RequestBuilder

from regulars.lib import clock, write_by

CONNECT_TIMEOUT = timedelta(seconds=3)
# From the start of connecting to the end of the body.
TOTAL_TIMEOUT = timedelta(seconds=6)
# Waiting for a free connection comes on top: 7 s together, below the sender's graceful timeout.
POOL_TIMEOUT = timedelta(seconds=1)
# Servers close idle connections after 5 s or more. A request written on a connection that is being
# closed is one whose outcome nobody knows, so ours are given up first.
IDLE_TIMEOUT = timedelta(seconds=4)
# A provider's answer is a few kilobytes; a stream without end must not fill the memory.
MAX_BODY_BYTES = 1024 * 1024


_NOWHERE = Url("http://nowhere.invalid/")


def form_of(fields: Mapping[str, str]) -> bytes:
    """`fields` as application/x-www-form-urlencoded, in UTF-8.

    A query is written by the same rules (WHATWG's URL standard); by its own parser a sender of texts is an
    eighth faster than by `urlencode`.
    """
    return (_NOWHERE.with_query(fields).query_string or "").encode()


class _InTime:
    """A body that is not written any more once its time is over (`lib.write_by`)."""

    __slots__ = ("_content", "_ends", "too_late")

    def __init__(self, content: bytes) -> None:
        self._content: bytes | None = content
        self._ends = write_by.deadline.get()
        self.too_late = False

    def __iter__(self) -> "_InTime":
        return self

    def __next__(self) -> bytes:
        content, self._content = self._content, None
        if content is None:
            raise StopIteration
        if clock.boot_seconds() >= self._ends:
            self.too_late = True
            raise write_by.TooLateError
        return content


class NotWrittenError(Exception):
    """Certainly nothing was sent: the name, connection, TLS or the request itself failed first."""


class NoAnswerError(Exception):
    """The request may have been written, no whole answer came: nobody knows what became of it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: status, headers (lower-case names), body (at most 1 MiB)."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json_object(self) -> dict[str, Any]:
        """The body as a JSON object; empty when it is anything else."""
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            # Brackets without end are no object either.
            return {}
        return value if isinstance(value, dict) else {}


class HttpClient:
    """A pool of connections for one account. Raises only NotWrittenError and NoAnswerError."""

    def __init__(
        self,
        *,
        concurrency: int,
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        total_timeout: timedelta = TOTAL_TIMEOUT,
        pool_timeout: timedelta = POOL_TIMEOUT,
        resolved: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`resolved`: addresses of hosts that were looked up (and looked at) before."""
        builder = ClientBuilder()
        for host, address in resolved.items():
            builder = builder.resolve(host, address, 0)
        self._client: Client = (
            builder.no_proxy()
            .follow_redirects(enable=False)
            .referer(enable=False)
            .user_agent("regulars")
            .max_connections(concurrency)
            .pool_max_idle_per_host(concurrency)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_timeout(pool_timeout)
            .connect_timeout(connect_timeout)
            .timeout(total_timeout)
            .build()
        )
        # An account has one or two of each: parsed and encoded once, not for each message.
        self._urls: dict[str, Url] = {}
        self._heads: dict[tuple[tuple[str, str] | None, str], HeaderMap] = {}

    async def post_form(
        self,
        url: str,
        fields: dict[str, str],
        *,
        basic_auth: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """POST `fields` as application/x-www-form-urlencoded (UTF-8)."""
        request = self._request(url, basic_auth, headers, "application/x-www-form-urlencoded")
        return await self._write(request, form_of(fields))

    async def post_json(
        self,
        url: str,
        document: Any,
        *,
        basic_auth: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """POST `document` as application/json."""
        body = json.dumps(document, ensure_ascii=False).encode()
        return await self.post_content(url, body, "application/json", basic_auth=basic_auth, headers=headers)

    async def post_content(
        self,
        url: str,
        content: bytes,
        kind: str,
        *,
        basic_auth: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """POST exactly these bytes, as this kind (a content type)."""
        return await self._write(self._request(url, basic_auth, headers, kind), content)

    async def get(
        self,
        url: str,
        query: dict[str, str],
        *,
        basic_auth: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """GET `url` with `query` appended."""
        request = self._request(url, basic_auth, headers)
        return await self._send(request.query(query))

    async def close(self) -> None:
        """Close every connection; requests under way end as NoAnswerError."""
        await self._client.close()

    def _request(
        self,
        url: str,
        basic_auth: tuple[str, str] | None,
        headers: dict[str, str] | None,
        content_type: str = "",
    ) -> RequestBuilder:
        """A POST of this content, or a GET where there is none."""
        try:
            method = "POST" if content_type else "GET"
            request = self._client.request(method, self._url(url)).headers(
                self._head(basic_auth, content_type)
            )
            return request.headers(headers) if headers else request
        except ValueError as error:
            raise NotWrittenError(f"the address or a header is malformed: {error}") from None

    def _url(self, url: str) -> Url:
        if (found := self._urls.get(url)) is None:
            found = self._urls[url] = Url(url)
        return found

    def _head(self, basic_auth: tuple[str, str] | None, content_type: str) -> HeaderMap:
        key = basic_auth, content_type
        if (found := self._heads.get(key)) is None:
            found = self._heads[key] = HeaderMap({"content-type": content_type} if content_type else {})
            if basic_auth:
                login = b64encode(":".join(basic_auth).encode()).decode()
                found.insert("authorization", f"Basic {login}", is_sensitive=True)
        return found

    async def _write(self, request: RequestBuilder, content: bytes) -> Answer:
        """Streamed, because a stream is asked for at the moment of writing; its length is known."""
        body = _InTime(content)
        try:
            streamed = request.header("content-length", str(len(content))).body_stream(body)
            return await self._send(streamed)
        except Exception:
            if not body.too_late:
                raise
        raise NotWrittenError(str(write_by.TooLateError()))

    async def _send(self, request: RequestBuilder) -> Answer:
        # The causes quote the whole address with its credentials: `from None` cuts the chain.
        try:
            async with request.build_streamed() as response:
                # Ends with the body, or with the first byte too many.
                body = await response.body_reader.read(MAX_BODY_BYTES + 1) or b""
                if len(body) > MAX_BODY_BYTES:
                    raise NoAnswerError("the answer is longer than 1 MiB")
                return Answer(response.status, response.headers, bytes(body))
        except PyreqwestError as error:
            raise _judged(error) from None


def _judged(error: PyreqwestError) -> NotWrittenError | NoAnswerError:
    """Whether the request can have been written.

    The class of the exception cannot tell (0.15): a connection lost *after* the request was
    written is a ConnectError, a timeout while waiting for the answer a ConnectTimeoutError. Only
    hyper's own word for its connecting phase (name, TCP, TLS) is proof; else it counts as written.
    """
    details: dict[str, Any] = getattr(error, "details", None) or {}
    causes = [str(cause["message"]) for cause in details.get("causes") or []]
    words = causes[-1] if causes else error.message
    before = isinstance(error, PoolTimeoutError | BuilderError) or "client error (Connect)" in causes
    return NotWrittenError(words) if before else NoAnswerError(words)
