"""Hands SMS and WhatsApp to Twilio: one message a call, form-encoded, `POST .../Messages.json`.

Twilio knows no idempotency key: a call without a clear answer is unknown and stays so.
"""

import asyncio
from base64 import b64encode
from collections.abc import Sequence
from typing import Any

from regulars.lib.http import Answer, HttpClient, NoAnswerError, NotWrittenError
from regulars.providers.base import (
    Checked,
    Connection,
    Found,
    ListedTemplate,
    OutboxWriter,
    Outcome,
    Outgoing,
    Provider,
    Question,
    TemplatesUnavailableError,
    Verdict,
)
from regulars.providers.calling import answer_of, look
from regulars.providers.twilio.answers import outcome_of, state_of
from regulars.providers.twilio.fields import fields_of
from regulars.providers.twilio.listing import MOST_PAGES, PAGE_SIZE, next_page, templates_in
from regulars.providers.twilio.looking_up import found_in, query_of
from regulars.providers.twilio.options import NUMBER, SERVICE, TwilioOptions

QUESTIONS_AT_ONCE = 4


class Twilio(Provider):
    kind = "twilio"
    label = "Twilio"
    channels = ("sms", "whatsapp")
    options = TwilioOptions
    concurrency = 64
    can_look_up = True
    lists_templates = True
    template_channels = ("whatsapp",)
    calls_back = True

    def takes_replies(self, options: Any, channel: str) -> bool:
        """Not where the sender of a text message is a name."""
        if channel == "whatsapp":
            return True
        return any(form.fullmatch(options.sender or "") for form in (SERVICE, NUMBER))

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        return TwilioConnection(options, HttpClient(concurrency=self.concurrency))

    def channels_of(self, options: Any) -> tuple[str, ...]:
        by_sms = ("sms",) if options.sender else ()
        return by_sms + (("whatsapp",) if options.whatsapp_from else ())


class TwilioConnection(Connection):
    def __init__(self, options: TwilioOptions, client: HttpClient) -> None:
        base = str(options.base_url).rstrip("/")
        self._options = options
        self._client = client
        self._url = f"{base}/2010-04-01/Accounts/{options.account_sid}/Messages.json"
        self._account = f"{base}/2010-04-01/Accounts/{options.account_sid}.json"
        self._secret = options.auth_token.get_secret_value()
        # As it travels; an answer may quote that, too.
        encoded = b64encode(f"{options.account_sid}:{self._secret}".encode()).decode()
        self._never_shown = (self._secret, encoded)

    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        return [await self._send(message) for message in batch]

    async def look_up(self, questions: Sequence[Question]) -> list[Found | None]:
        """A few questions at a time: a look-up is not in a hurry, and Twilio limits them."""
        turns = asyncio.Semaphore(QUESTIONS_AT_ONCE)
        return list(await asyncio.gather(*(self._find(question, turns) for question in questions)))

    async def _find(self, question: Question, turns: asyncio.Semaphore) -> Found | None:
        auth = (self._options.account_sid, self._secret)
        try:
            async with turns:
                answer = await self._client.get(self._url, query_of(question), basic_auth=auth)
        except (NotWrittenError, NoAnswerError):
            return None
        return found_in(answer, question)

    async def templates(self) -> list[ListedTemplate]:
        url = f"{str(self._options.content_url).rstrip('/')}/v1/ContentAndApprovals"
        query = {"PageSize": str(PAGE_SIZE)}
        found: list[ListedTemplate] = []
        for _ in range(MOST_PAGES):
            document = await self._read(url, query)
            found += templates_in(document)
            if not (query := next_page(document)):
                break
        return found

    async def _read(self, url: str, query: dict[str, str]) -> dict[str, Any]:
        auth = (self._options.account_sid, self._secret)
        answer = await answer_of("Twilio", self._client.get(url, query, basic_auth=auth))
        if isinstance(answer, Answer) and answer.status == 200:
            return answer.json_object()
        refused = outcome_of(answer, *self._never_shown) if isinstance(answer, Answer) else answer
        raise TemplatesUnavailableError(refused.error)

    async def check(self) -> Checked:
        """The account's own page; nothing is sent."""
        auth = (self._options.account_sid, self._secret)
        call = self._client.get(self._account, {}, basic_auth=auth)
        return await look("Twilio", call, lambda answer: outcome_of(answer, *self._never_shown), state_of)

    async def close(self) -> None:
        await self._client.close()

    async def _send(self, message: Outgoing) -> Outcome:
        try:
            answer = await self._client.post_form(
                self._url,
                fields_of(message, self._options),
                basic_auth=(self._options.account_sid, self._secret),
            )
        except NotWrittenError as error:
            return Outcome(
                Verdict.UNAVAILABLE, code="not_written", error=f"Twilio cannot be reached: {error}"
            )
        except NoAnswerError as error:
            return Outcome(
                Verdict.UNKNOWN,
                code="no_answer",
                error=f"Twilio did not answer, so the message may have been sent: {error}",
            )
        return outcome_of(answer, *self._never_shown)
