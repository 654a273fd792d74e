"""Hands SMS to Twilio: one message a call, form-encoded, `POST .../Messages.json`.

Twilio knows no idempotency key: a call without a clear answer is unknown and stays so.
"""

import asyncio
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, AnyHttpUrl, ConfigDict, Field, SecretStr

from regulars.lib.http import HttpClient, NoAnswerError, NotWrittenError
from regulars.providers.base import (
    Checked,
    Connection,
    Found,
    Options,
    OutboxWriter,
    Outcome,
    Outgoing,
    Provider,
    Question,
    Verdict,
)
from regulars.providers.calling import look
from regulars.providers.twilio.answers import outcome_of, state_of
from regulars.providers.twilio.looking_up import found_in, query_of

QUESTIONS_AT_ONCE = 4
SERVICE = re.compile(r"MG[0-9a-fA-F]{32}")
# E.164, or a short code.
NUMBER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}")
# An alphanumeric sender needs a letter.
NAME = re.compile(r"(?=.*[A-Za-z])[A-Za-z0-9 +_&-]{1,11}")


def _known_form(sender: str) -> str:
    if any(form.fullmatch(sender) for form in (SERVICE, NUMBER, NAME)):
        return sender
    raise ValueError(
        "Give a number such as +12015550100, a name of up to 11 letters and digits, "
        "or a Messaging Service (MG and 32 hexadecimal digits)."
    )


class TwilioOptions(Options):
    """Access to one Twilio account and the sender it uses.

    `from`: a number in E.164, a short code, a name of up to 11 characters, or `MG...`, a Messaging
    Service. `validity_seconds`: how long Twilio may try; short, so that a message held up in the
    evening does not arrive at three in the morning.
    """

    model_config = ConfigDict(populate_by_name=True, serialize_by_alias=True)

    account_sid: Annotated[str, Field(pattern=r"^AC[0-9a-fA-F]{32}$")]
    auth_token: Annotated[SecretStr, Field(min_length=1)]
    sender: Annotated[str, Field(alias="from"), AfterValidator(_known_form)]
    base_url: AnyHttpUrl = AnyHttpUrl("https://api.twilio.com")
    validity_seconds: Annotated[int, Field(ge=6, le=36_000)] = 14_400


class Twilio(Provider):
    kind = "twilio"
    label = "Twilio"
    channels = ("sms",)
    options = TwilioOptions
    concurrency = 64
    can_look_up = True
    calls_back = True

    def takes_replies(self, options: Any, channel: str) -> bool:
        """Not where the sender is a name."""
        return any(form.fullmatch(options.sender) for form in (SERVICE, NUMBER))

    async def connect(self, options: Any, outbox: OutboxWriter) -> Connection:
        return TwilioConnection(options, HttpClient(concurrency=self.concurrency))


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
                sms_fields(message, self._options),
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


def sms_fields(message: Outgoing, options: TwilioOptions) -> dict[str, str]:
    """The form fields of one SMS; Twilio reports to where the message says, if it says so."""
    reported = {"StatusCallback": message.callback} if message.callback else {}
    return reported | {
        "To": message.address,
        "MessagingServiceSid" if SERVICE.fullmatch(options.sender) else "From": options.sender,
        "Body": message.body,
        "ValidityPeriod": str(options.validity_seconds),
    }
