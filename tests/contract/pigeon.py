"""A provider as another package would bring it: the example of docs/adding-a-provider.md, in full.

The vendor takes `POST /send` with `{"to", "text"}` and answers `{"ring"}`, or `{"code"}` where it refuses.
"""

import asyncio
from typing import Annotated

from pydantic import AnyHttpUrl, Field, SecretStr

from regulars.lib.http import Answer, HttpClient
from regulars.providers.base import Connection, Options, Outcome, Provider
from regulars.providers.calling import Statuses, accepted, answer_of, known_by, look
from regulars.providers.classes import ErrorClass, Refusal, plain

STATUSES = Statuses("The loft", "api_key")
CODES = {
    "no_such_roof": Refusal(ErrorClass.PERMANENT, "No such roof", bad_address=True),
    "tired": Refusal(ErrorClass.TEMPORARY, "The pigeons are tired"),
    "who_are_you": Refusal(ErrorClass.STOP_ACCOUNT, "The loft does not know the key: check api_key"),
}


class PigeonOptions(Options):
    """A key of the loft."""

    api_key: Annotated[SecretStr, Field(min_length=1)]
    base_url: AnyHttpUrl = AnyHttpUrl("https://loft.example.com")


class Pigeon(Provider):
    kind = "pigeon"
    label = "Pigeons"
    channels = ("sms",)
    options = PigeonOptions

    async def connect(self, options, outbox):
        return Loft(options, HttpClient(concurrency=self.concurrency))


class Loft(Connection):
    def __init__(self, options, client):
        self._client = client
        self._base = str(options.base_url).rstrip("/")
        self._secret = options.api_key.get_secret_value()
        self._headers = {"x-key": self._secret}

    async def send(self, batch):
        return list(await asyncio.gather(*map(self._send, batch)))

    async def check(self):
        call = self._client.get(f"{self._base}/loft", {}, headers=self._headers)
        return await look("The loft", call, self._judged, known_by("The loft"))

    async def close(self):
        await self._client.close()

    async def _send(self, message):
        document = {"to": message.address, "text": message.body}
        call = self._client.post_json(f"{self._base}/send", document, headers=self._headers)
        answer = await answer_of("The loft", call)
        return answer if isinstance(answer, Outcome) else self._judged(answer)

    def _judged(self, answer: Answer) -> Outcome:
        document = answer.json_object()
        if 200 <= answer.status < 300:
            return accepted(document.get("ring"), STATUSES, answer.status)
        code = str(document.get("code") or "")
        refusal = CODES.get(code) or STATUSES.refusal(answer.status, coded=bool(code))
        return refusal.outcome(
            code or f"http_{answer.status}", plain(document.get("words", ""), self._secret)
        )
