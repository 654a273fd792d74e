"""What Postmark, Mailgun and Resend have in common: how letters are handed over."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from anymail.exceptions import AnymailError

from regulars.lib.http import Answer, HttpClient
from regulars.providers.anymail import answers, requests
from regulars.providers.base import (
    Checked,
    Connection,
    Found,
    OutboxWriter,
    Outcome,
    Outgoing,
    Provider,
    Question,
    Verdict,
)
from regulars.providers.batches import MESSAGES_A_CALL, send_batch, without_refused
from regulars.providers.calling import answer_of, known_by, look
from regulars.providers.mail import refusal_of

QUESTIONS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Page:
    """A question that sends nothing: the rest of its address, and how it is asked."""

    path: str
    headers: dict[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    query: dict[str, str] = field(default_factory=dict)


class MailService(Provider):
    """What the three have in common: their requests, their answers, and a page of the account."""

    channels = ("email",)
    max_batch = MESSAGES_A_CALL
    concurrency = 64
    calls_back = True

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        return MailConnection(self, options, HttpClient(concurrency=self.concurrency))

    @abstractmethod
    def written(self, batch: Sequence[Outgoing], options: Any) -> requests.Request:
        """The request that hands these letters over."""

    @abstractmethod
    def judged(self, answer: Answer, number: int, secret: str) -> answers.Outcomes:
        """What its answer means for so many letters."""

    @abstractmethod
    def account_page(self, options: Any) -> Page:
        """Where to look whether the account can be used."""

    def letter_page(self, question: Question, options: Any) -> Page | None:
        """Where to look what became of a letter; None: nowhere."""
        return None

    def found_in(self, answer: Answer, question: Question) -> Found | None:
        """What that page says for certain."""
        return None

    def secret_of(self, options: Any) -> str:
        """What is never shown."""
        return str(options.api_key.get_secret_value())


class MailConnection(Connection):
    def __init__(self, service: MailService, options: Any, client: HttpClient) -> None:
        self._service = service
        self._options = options
        self._client = client
        self._base = str(options.base_url).rstrip("/")
        self._secret = service.secret_of(options)

    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        return await without_refused(batch, refusal_of, self._send)

    async def check(self) -> Checked:
        """Asks for the account's own page; nothing is sent."""
        call = self._get(self._service.account_page(self._options))
        label = self._service.label
        found = await look(label, call, self._refusal, known_by(label))
        # Resend answers so where the key may only send: which is all that is needed.
        sends_only = "restricted to only send emails" in found.words
        return known_by(label)({}) if sends_only else found

    async def look_up(self, questions: Sequence[Question]) -> list[Found | None]:
        """A few questions at a time: a look-up is not in a hurry, and the services limit them."""
        turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        return list(await asyncio.gather(*(self._find(question, turns) for question in questions)))

    async def _find(self, question: Question, turns: asyncio.Semaphore) -> Found | None:
        page = self._service.letter_page(question, self._options)
        if page is None:
            return None
        async with turns:
            answer = await answer_of(self._service.label, self._get(page))
        return self._service.found_in(answer, question) if isinstance(answer, Answer) else None

    async def _get(self, page: Page) -> Answer:
        url = f"{self._base}/{page.path}"
        return await self._client.get(url, page.query, headers=page.headers, basic_auth=page.login)

    async def close(self) -> None:
        await self._client.close()

    def _refusal(self, answer: Answer) -> Outcome:
        judged = self._service.judged(answer, 1, self._secret)
        return judged[0] if isinstance(judged, list) else judged

    async def _send(self, batch: list[Outgoing]) -> list[Outcome]:
        return await send_batch(batch, self._call)

    async def _call(self, batch: Sequence[Outgoing]) -> list[Outcome] | Outcome:
        try:
            asked = self._service.written(batch, self._options)
        except AnymailError as error:
            words = f"{self._service.label} cannot be given this letter: {type(error).__name__}"
            return Outcome(Verdict.REJECTED, code="unwritable", error=words)
        call = self._client.post_content(
            asked.url, asked.body, asked.kind, headers=asked.headers, basic_auth=asked.basic_auth
        )
        answer = await answer_of(self._service.label, call)
        if isinstance(answer, Outcome):
            return answer
        return self._service.judged(answer, len(batch), self._secret)
