"""The contract for vendors that speak HTTP: a fault server that a subclass teaches to answer."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from .servers import answering, http_answer, read_request, reset, serve
from .suite import Contract

BEHIND_IT_ALL = http_answer(502, b"<html>Bad Gateway</html>")


@dataclass(frozen=True)
class Asked:
    """One request, taken apart by the test's own code."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @classmethod
    def of(cls, request: bytes) -> "Asked":
        head, _, body = request.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, path, _ = first.split(" ")
        named = (line.partition(":") for line in lines)
        return cls(method, path, {name.lower(): value.strip() for name, _, value in named}, body)

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Letter:
    """A message as the vendor understood it."""

    address: str
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    subject: str = ""
    html: str = ""


def reply(status: int, document: Any, **headers: str) -> bytes:
    return http_answer(status, json.dumps(document).encode(), content_type="application/json", **headers)


class HttpContract(Contract):
    """Subclasses say how the vendor reads, accepts and refuses; `module` is where HttpClient is named."""

    module: Any

    def read(self, asked: Asked) -> list[Letter]:
        """The messages of a request."""
        raise NotImplementedError

    def accepts(self, letters: list[Letter]) -> bytes:
        """The answer that takes all of them."""
        raise NotImplementedError

    def refuses(self, letters: list[Letter], bad: list[Letter]) -> bytes:
        """The answer where some of them have a bad address."""
        raise NotImplementedError

    def bad_key(self) -> bytes:
        """The answer to a wrong secret."""
        raise NotImplementedError

    def too_many(self) -> bytes:
        """The answer to too many requests."""
        raise NotImplementedError

    def account(self) -> bytes:
        """The answer to a look at the account."""
        return reply(200, {})

    def faults(self, asked: Asked) -> list[str]:
        """What the vendor's published description says against a request."""
        return []

    def faults_of_look(self, asked: Asked) -> list[str]:
        """The same for a look at the account."""
        return []

    # The vendor.

    def respond(self, behaviour: str, request: bytes) -> bytes:
        asked = Asked.of(request)
        if behaviour == "bad key":
            return self.bad_key()
        if asked.method == "GET":
            self.violations += self.faults_of_look(asked)
            return self.account()
        self.violations += self.faults(asked)
        letters = self.read(asked)
        self.taken.append(letters)
        if behaviour in ("broken", "too many"):
            return BEHIND_IT_ALL if behaviour == "broken" else self.too_many()
        bad = [letter for letter in letters if self.is_second(letter.address)]
        return self.refuses(letters, bad) if behaviour == "refuse second" and bad else self.accepts(letters)

    def is_second(self, address: str) -> bool:
        return address.startswith("guest2@") or address.endswith("0002")

    @contextlib.asynccontextmanager
    async def vendor(self, behaviour):
        self.taken: list[list[Letter]] = []
        self.violations: list[str] = []

        async def misbehave(reader, writer, served):
            self.taken.append(self.read(Asked.of(await read_request(reader))))
            if behaviour == "lost after":
                reset(writer)
            await asyncio.sleep(5)

        ending = behaviour.endswith("after")
        handler = misbehave if ending else answering(lambda request: self.respond(behaviour, request))
        async with serve(handler) as self.served:
            yield self.served.port
        assert not self.violations

    def bodies(self):
        return [letter.body for letters in self.taken for letter in letters]

    def headers(self):
        return [letter.headers for letters in self.taken for letter in letters]

    def received(self):
        return len(self.bodies())

    def hurry(self, monkeypatch):
        real = self.module.HttpClient

        def quick(concurrency):
            return real(concurrency=concurrency, total_timeout=timedelta(seconds=0.3))

        monkeypatch.setattr(self.module, "HttpClient", quick)
