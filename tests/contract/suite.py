"""What every provider adapter keeps, whoever the vendor: each adapter's test subclasses `Contract`.

A subclass says how to stand up its vendor (`vendor`), how the vendor accepts, refuses and falls
silent, and what must never leak. Everything runs over real sockets on loopback.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from regulars.lib.masking import mask_text
from regulars.providers.base import Outcome, Outgoing, Provider, Verdict
from regulars.providers.registry import get

TEXTS = {
    "plain": "Hola, te esperamos.",
    "accents": "¡Olé! Ça va, Jürgen? Łódź – señor Ñúñez",
    "emoji": "Feliz cumpleaños 🎂👨‍👩‍👧‍👦🇪🇸 €",
    "right to left": "مرحبا بكم في مطعمنا، שלום",
    "form and markup characters": "a=b&c=d+e%20f;<b>\"'\\ {x} .",
    "lines": "first\n.second\n..third\n\nlast",
    "longest": "ñ" * 1_600,
}


async def no_outbox(batch) -> None:
    raise AssertionError("only the sandbox writes to the outbox")


def message(number: int = 1, **fields: Any) -> Outgoing:
    values = {"channel": "sms", "address": f"+1201555{number:04d}", "body": "Hola"} | fields
    return Outgoing(message_id=number, idempotency_key=f"key-{number}", **values)


class Contract:
    """Subclasses set `kind`, `secret`, `channel` and implement the hooks."""

    kind: str
    secret: str
    channel: str = "sms"
    outbox = staticmethod(no_outbox)

    def options(self, port: int) -> dict[str, Any]:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def vendor(self, behaviour: str) -> AsyncIterator[int]:
        """A server on loopback: `accept`, `silent after`, `lost after`, `refuse second`."""
        raise NotImplementedError
        yield 0

    def bodies(self) -> list[str]:
        """The texts that the vendor received, decoded by somebody else's code."""
        raise NotImplementedError

    # Helpers.

    @property
    def provider(self) -> Provider:
        return get(self.kind)

    def message(self, number: int = 1, **fields: Any) -> Outgoing:
        if self.channel == "email":
            fields = {"address": f"guest{number}@example.com", "subject": "Hola"} | fields
        return message(number, channel=self.channel, **fields)

    async def hand_over(self, port: int, *messages: Outgoing, **options: Any) -> list[Outcome]:
        given = self.provider.options.model_validate(self.options(port) | options)
        connection = await self.provider.connect(given, self.outbox)
        try:
            calls = (connection.send([one]) for one in messages)
            return [outcome for (outcome,) in await asyncio.gather(*calls)]
        finally:
            await connection.close()

    def meet(self, behaviour: str, *messages: Outgoing, **options: Any) -> list[Outcome]:
        async def scenario():
            async with self.vendor(behaviour) as port:
                return await self.hand_over(port, *messages, **options)

        return asyncio.run(scenario())

    # The contract.

    def test_a_message_is_accepted_with_an_id(self):
        (outcome,) = self.meet("accept", self.message())
        assert outcome.verdict is Verdict.ACCEPTED
        assert outcome.provider_id
        assert not outcome.error

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
    def test_every_script_arrives_as_it_was_written(self, text):
        (outcome,) = self.meet("accept", self.message(body=text))
        assert outcome.verdict is Verdict.ACCEPTED
        assert self.bodies() == [text]

    @pytest.mark.parametrize("behaviour", ["silent after", "lost after"])
    def test_no_answer_after_the_message_was_written_is_unknown(self, behaviour, monkeypatch):
        self.hurry(monkeypatch)
        (outcome,) = self.meet(behaviour, self.message())
        assert outcome.verdict is Verdict.UNKNOWN
        assert outcome.retry_after is None

    def hurry(self, monkeypatch) -> None:
        """Shorten the adapter's timeouts."""

    def test_a_refused_connection_is_unavailable(self):
        from .servers import free_port

        (outcome,) = asyncio.run(self.hand_over(free_port(), self.message()))
        assert outcome.verdict is Verdict.UNAVAILABLE

    def test_one_bad_recipient_does_not_touch_the_others(self):
        messages = [self.message(number) for number in (1, 2, 3)]
        outcomes = self.meet("refuse second", *messages)
        assert [outcome.verdict for outcome in outcomes] == [
            Verdict.ACCEPTED,
            Verdict.REJECTED,
            Verdict.ACCEPTED,
        ]
        assert outcomes[1].bad_address

    def test_secrets_are_never_shown(self):
        options = self.provider.options.model_validate(self.options(1))
        shown = [repr(options), str(options), options.model_dump_json()]
        for behaviour in ("accept", "refuse second", "lost after"):
            outcomes = self.meet(behaviour, self.message(1), self.message(2))
            shown += [repr(outcome) for outcome in outcomes]
        assert not [text for text in shown if self.secret in text]

    def test_errors_can_be_masked_for_those_who_may_not_see_addresses(self):
        (outcome,) = self.meet("refuse second", self.message(2))
        assert outcome.error
        assert self.message(2).address not in mask_text(outcome.error)

    def test_every_kind_takes_a_base_url_and_refuses_unknown_options(self):
        options = self.provider.options
        assert "base_url" in options.model_fields
        with pytest.raises(ValueError, match="nonsense"):
            options.model_validate(self.options(1) | {"nonsense": 1})

    def test_a_secret_may_be_missing_from_no_dump_of_the_option_names(self):
        """Accounts are stored by dumping and validating again: that must be the identity."""
        given = self.provider.options.model_validate(self.options(1))
        raw = given.model_dump(mode="python")
        assert self.provider.options.model_validate(raw) == given
