"""Hands WhatsApp messages to Meta: one message a call, JSON, `POST /{phone-number-id}/messages`.

Meta knows no idempotency key and cannot be asked: a call without a clear answer is unknown and stays
so, until a callback brings our own message id back.
"""

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
)
from regulars.providers.calling import answer_of, look
from regulars.providers.meta.answers import outcome_of, state_of
from regulars.providers.meta.documents import document_of, endpoint_of
from regulars.providers.meta.listing import FIELDS, MOST_PAGES, PAGE_SIZE, next_page, templates_in
from regulars.providers.meta.options import MetaOptions

NUMBER_FIELDS = "display_phone_number,verified_name,status"


class Meta(Provider):
    kind = "meta"
    label = "WhatsApp (Meta Cloud API)"
    channels = ("whatsapp",)
    options = MetaOptions
    concurrency = 64
    # A number's throughput; more by automatic upgrade, 20 where it is shared with the Business app.
    rates = {"whatsapp": Rate(80, timedelta(seconds=1))}
    calls_back = True
    lists_templates = True
    template_channels = ("whatsapp",)

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        return MetaConnection(options, HttpClient(concurrency=self.concurrency))

    def portfolio_of(self, options: Any) -> str:
        portfolio: str = options.portfolio_id or options.business_account_id
        return portfolio


class MetaConnection(Connection):
    def __init__(self, options: MetaOptions, client: HttpClient) -> None:
        self._options = options
        self._client = client
        self._secret = options.access_token.get_secret_value()
        self._headers = {"authorization": f"Bearer {self._secret}"}
        self._root = f"{options.root}/{options.phone_number_id}"

    async def send(self, batch: Sequence[Outgoing]) -> list[Outcome]:
        return [await self._send(message) for message in batch]

    async def check(self) -> Checked:
        """The number's own page; nothing is sent."""
        call = self._client.get(self._root, {"fields": NUMBER_FIELDS}, headers=self._headers)
        return await look("Meta", call, lambda answer: outcome_of(answer, self._secret), state_of)

    async def templates(self) -> list[ListedTemplate]:
        if not self._options.business_account_id:
            raise TemplatesUnavailableError("Give the account its business_account_id: it has the templates")
        url = f"{self._options.root}/{self._options.business_account_id}/message_templates"
        query = {"fields": FIELDS, "limit": str(PAGE_SIZE)}
        found: list[ListedTemplate] = []
        for _ in range(MOST_PAGES):
            document = await self._read(url, query)
            found += templates_in(document)
            if not (after := next_page(document)):
                break
            query["after"] = after
        return found

    async def close(self) -> None:
        await self._client.close()

    async def _read(self, url: str, query: dict[str, str]) -> dict[str, Any]:
        answer = await answer_of("Meta", self._client.get(url, query, headers=self._headers))
        if isinstance(answer, Answer) and answer.status == 200:
            return answer.json_object()
        refused = outcome_of(answer, self._secret) if isinstance(answer, Answer) else answer
        raise TemplatesUnavailableError(refused.error)

    async def _send(self, message: Outgoing) -> Outcome:
        url = f"{self._root}/{endpoint_of(message, self._options)}"
        document = document_of(message, self._options)
        answer = await answer_of("Meta", self._client.post_json(url, document, headers=self._headers))
        return answer if isinstance(answer, Outcome) else outcome_of(answer, self._secret)
