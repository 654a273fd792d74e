"""Hands letters to Amazon SES: one by `SendEmail`, several by `SendBulkEmail`.

SES knows no idempotency key: a call without a clear answer is unknown and stays so.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from regulars.lib.http import Answer, HttpClient
from regulars.providers.base import Checked, Connection, OutboxWriter, Outcome, Outgoing, Provider, Rate
from regulars.providers.batches import MESSAGES_A_CALL, in_groups, send_batch, without_refused
from regulars.providers.calling import answer_of, look
from regulars.providers.mail import refusal_of as letter_refusal_of
from regulars.providers.ses import requests
from regulars.providers.ses.answers import granted, outcome_of, outcomes_of, refusal_of
from regulars.providers.ses.options import SesOptions
from regulars.providers.ses.signing import Signer

SINGLE, BULK, ACCOUNT = "outbound-emails", "outbound-bulk-emails", "account"


class Ses(Provider):
    kind = "ses"
    label = "Amazon SES"
    channels = ("email",)
    options = SesOptions
    # SES takes 50 a call.
    max_batch = MESSAGES_A_CALL
    concurrency = 64
    calls_back = True
    # Until the account is let out of the sandbox; after that `check` tells what it is granted.
    rates = {"email": Rate(200, timedelta(days=1))}

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        return SesConnection(options, HttpClient(concurrency=self.concurrency))


class SesConnection(Connection):
    def __init__(self, options: SesOptions, client: HttpClient) -> None:
        self._options = options
        self._client = client
        self._base = f"{options.base()}/v2/email"
        self._signer = Signer(options)
        self._secret = options.secret_access_key.get_secret_value()

    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        return await without_refused(batch, letter_refusal_of, self._by_shape)

    async def check(self) -> Checked:
        """What the account is granted; nothing is sent."""
        url = f"{self._base}/{ACCOUNT}"
        call = self._client.get(url, {}, headers=self._signer.headers("GET", url))
        return await look("Amazon SES", call, lambda answer: refusal_of(answer, self._secret), granted)

    async def close(self) -> None:
        await self._client.close()

    async def _by_shape(self, batch: list[Outgoing]) -> list[Outcome]:
        async def send(_: Any, group: list[Outgoing]) -> list[Outcome]:
            return await send_batch(group, self._call)

        return await in_groups(batch, requests.shape_of, send)

    async def _call(self, batch: Sequence[Outgoing]) -> list[Outcome] | Outcome:
        if len(batch) == 1:
            answer = await self._post(SINGLE, requests.letter(batch[0], self._options))
            return answer if isinstance(answer, Outcome) else outcome_of(answer, self._secret)
        answer = await self._post(BULK, requests.letters(batch, self._options))
        return answer if isinstance(answer, Outcome) else outcomes_of(answer, len(batch), self._secret)

    async def _post(self, path: str, document: dict[str, Any]) -> Answer | Outcome:
        url = f"{self._base}/{path}"
        body = json.dumps(document, ensure_ascii=False).encode()
        headers = self._signer.headers("POST", url, body)
        call = self._client.post_content(url, body, "application/json", headers=headers)
        return await answer_of("Amazon SES", call)
