"""Hands messages to Brevo: letters in batches, SMS and WhatsApp one a call.

Brevo documents an idempotency key for e-mail, but neither its spelling nor its life nor the answer
to a repeat is settled: none is sent, and a call without a clear answer is unknown and stays so.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from regulars.lib.http import Answer, HttpClient
from regulars.providers.base import (
    Checked,
    Connection,
    ListedTemplate,
    OutboxWriter,
    Outcome,
    Outgoing,
    Provider,
    Rate,
    TemplatesUnavailableError,
    Verdict,
)
from regulars.providers.batches import MESSAGES_A_CALL, in_groups, send_batch, without_refused
from regulars.providers.brevo import requests
from regulars.providers.brevo.answers import outcome_of, outcomes_of, refusal_of, why_unlisted
from regulars.providers.brevo.listing import MOST_PAGES, is_last, query_of, rows_in, templates_in
from regulars.providers.brevo.options import BrevoOptions
from regulars.providers.calling import answer_of, known_by, look
from regulars.providers.mail import refusal_of as letter_refusal_of

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


class Brevo(Provider):
    kind = "brevo"
    label = "Brevo"
    channels = ("email", "sms", "whatsapp")
    options = BrevoOptions
    max_batch = MESSAGES_A_CALL
    concurrency = 64
    calls_back = True
    lists_templates = True
    tells_places = False
    template_channels = ("whatsapp",)
    rates = {"email": Rate(1_000, SECOND), "sms": Rate(150, SECOND), "whatsapp": Rate(100, HOUR)}

    def channels_of(self, options: Any) -> tuple[str, ...]:
        return tuple(channel for channel in self.channels if channel in options.senders())

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        return BrevoConnection(options, HttpClient(concurrency=self.concurrency))


class BrevoConnection(Connection):
    def __init__(self, options: BrevoOptions, client: HttpClient) -> None:
        self._options = options
        self._client = client
        self._base = str(options.base_url).rstrip("/")
        self._secret = options.api_key.get_secret_value()
        self._headers = {"api-key": self._secret, "accept": "application/json"}

    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        return await in_groups(batch, lambda message: message.channel, self._by_channel)

    async def check(self) -> Checked:
        """Who the key belongs to; nothing is sent."""
        call = self._client.get(f"{self._base}/account", {}, headers=self._headers)
        return await look(
            "Brevo", call, lambda answer: refusal_of(answer, "email", self._secret), known_by("Brevo")
        )

    async def templates(self) -> list[ListedTemplate]:
        if "whatsapp" not in self._options.senders():
            raise TemplatesUnavailableError("Give the account its whatsapp_sender: without one it has none")
        found: list[ListedTemplate] = []
        seen = 0
        for _ in range(MOST_PAGES):
            document, rows = await self._page(seen)
            found += templates_in(rows)
            seen += len(rows)
            if is_last(document, rows, seen):
                break
        return found

    async def close(self) -> None:
        await self._client.close()

    async def _page(self, offset: int) -> tuple[dict[str, Any], list[object]]:
        url = f"{self._base}/whatsappCampaigns/template-list"
        answer = await answer_of("Brevo", self._client.get(url, query_of(offset), headers=self._headers))
        if not isinstance(answer, Answer) or answer.status != 200:
            raise TemplatesUnavailableError(why_unlisted(answer, self._secret))
        document = answer.json_object()
        if (rows := rows_in(document)) is None:
            raise TemplatesUnavailableError("Brevo's answer is no list of templates: check base_url")
        return document, rows

    async def _by_channel(self, channel: str, batch: list[Outgoing]) -> list[Outcome]:
        if channel not in self._options.senders():
            return [_no_sender(channel)] * len(batch)
        if channel == "email":
            return await without_refused(batch, letter_refusal_of, self._send_letters)
        return list(await asyncio.gather(*(self._send_one(channel, message) for message in batch)))

    async def _send_letters(self, batch: list[Outgoing]) -> list[Outcome]:
        return await send_batch(batch, self._call_for_letters)

    async def _call_for_letters(self, batch: Sequence[Outgoing]) -> list[Outcome] | Outcome:
        if len(batch) == 1:
            answer = await self._post("smtp/email", requests.letter(batch[0], self._options))
            return self._judged(answer, "email")
        answer = await self._post("smtp/email", requests.letters(batch, self._options))
        return answer if isinstance(answer, Outcome) else outcomes_of(answer, len(batch), self._secret)

    async def _send_one(self, channel: str, message: Outgoing) -> Outcome:
        if message.template is not None and not message.template.reference.isdecimal():
            words = "Brevo's templates are named by their number: choose the template again"
            return Outcome(Verdict.STOP_TEMPLATE, code="template_id", error=words)
        if channel == "sms":
            answer = await self._post("transactionalSMS/send", requests.sms(message, self._options))
        else:
            answer = await self._post("whatsapp/sendMessage", requests.whatsapp(message, self._options))
        return self._judged(answer, channel)

    def _judged(self, answer: Answer | Outcome, channel: str) -> Outcome:
        return answer if isinstance(answer, Outcome) else outcome_of(answer, channel, self._secret)

    async def _post(self, path: str, document: dict[str, Any]) -> Answer | Outcome:
        call = self._client.post_json(f"{self._base}/{path}", document, headers=self._headers)
        return await answer_of("Brevo", call)


def _no_sender(channel: str) -> Outcome:
    option = {"email": "from_address", "sms": "sms_sender", "whatsapp": "whatsapp_sender"}[channel]
    words = f"The Brevo account has no sender for this channel: give {option}"
    return Outcome(Verdict.STOP_ACCOUNT, code="no_sender", error=words)
