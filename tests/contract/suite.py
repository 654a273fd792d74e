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
    # Whether the vendor's answer says that the address is at fault, and not another part.
    blames_address: bool = True
    outbox = staticmethod(no_outbox)

    def options(self, port: int) -> dict[str, Any]:
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def vendor(self, behaviour: str) -> AsyncIterator[int]:
        """A server on loopback: `accept`, `silent after`, `lost after`, `refuse second`; `too many` and
        `broken` (an error that says nothing); `bad key` where the account can be looked at.
        """
        raise NotImplementedError
        yield 0

    def bodies(self) -> list[str]:
        """The texts that the vendor received, decoded by somebody else's code."""
        raise NotImplementedError

    def headers(self) -> list[dict[str, str]]:
        """The extra headers of the letters that the vendor received, by their names as they came."""
        raise NotImplementedError

    def received(self) -> int:
        """How many messages were written to the vendor, answered or not; None: it does not count."""
        return None

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

    async def hand_over_together(self, port: int, *messages: Outgoing, **options: Any) -> list[Outcome]:
        """In as few calls as the adapter declares that it takes."""
        given = self.provider.options.model_validate(self.options(port) | options)
        connection = await self.provider.connect(given, self.outbox)
        most, outcomes = self.provider.max_batch, []
        try:
            for first in range(0, len(messages), most):
                outcomes += await connection.send(messages[first : first + most])
            return outcomes
        finally:
            await connection.close()

    def meet_together(self, behaviour: str, *messages: Outgoing, **options: Any) -> list[Outcome]:
        async def scenario():
            async with self.vendor(behaviour) as port:
                return await self.hand_over_together(port, *messages, **options)

        return asyncio.run(scenario())

    def look_at(self, behaviour: str):
        """What `check` finds."""

        async def scenario():
            async with self.vendor(behaviour) as port:
                return await self.check(port)

        return asyncio.run(scenario())

    async def check(self, port: int):
        given = self.provider.options.model_validate(self.options(port))
        connection = await self.provider.connect(given, self.outbox)
        try:
            return await connection.check()
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
        assert outcomes[1].bad_address is self.blames_address

    def test_a_batch_has_one_outcome_each_in_order(self):
        messages = [self.message(number, body=f"text {number}") for number in range(1, 41)]
        outcomes = self.meet_together("accept", *messages)
        assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
        assert len({outcome.provider_id for outcome in outcomes}) == 40
        assert sorted(self.bodies()) == sorted(one.body for one in messages)

    def test_one_bad_recipient_of_a_batch_does_not_touch_the_others(self):
        outcomes = self.meet_together("refuse second", *map(self.message, range(1, 8)))
        assert [outcome.verdict for outcome in outcomes] == [
            Verdict.REJECTED if number == 2 else Verdict.ACCEPTED for number in range(1, 8)
        ]

    @pytest.mark.parametrize("behaviour", ["silent after", "lost after"])
    def test_what_was_written_is_not_written_again(self, behaviour, monkeypatch):
        """The adapter never repeats a call: each message of a lost batch is in doubt, and left so."""
        self.hurry(monkeypatch)
        number = min(5, self.provider.max_batch)
        outcomes = self.meet_together(behaviour, *map(self.message, range(1, number + 1)))
        assert [outcome.verdict for outcome in outcomes] == [Verdict.UNKNOWN] * number
        assert self.received() in (number, None)

    def test_too_many_requests_slow_the_account_down(self):
        outcomes = self.meet_together("too many", self.message(1), self.message(2))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.THROTTLED}
        assert not outcomes[0].this_address_only
        assert self.received() in (2, None)

    def test_an_error_that_says_nothing_leaves_the_message_in_doubt(self):
        outcomes = self.meet_together("broken", self.message(1), self.message(2))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.UNKNOWN}
        assert self.received() in (2, None)

    def test_the_account_can_be_looked_at_without_sending(self):
        found = self.look_at("accept")
        assert found.works, found.words
        assert not self.received()

    def test_a_look_at_an_account_says_what_is_wrong_with_it(self):
        found = self.look_at("bad key")
        assert not found.works
        assert "check" in found.words
        assert self.secret not in found.words

    def test_a_look_at_an_account_that_is_out_of_reach(self):
        from .servers import free_port

        found = asyncio.run(self.check(free_port()))
        assert not found.works
        assert found.words

    def test_logs_say_nothing_of_guests_and_secrets(self, caplog, capsys):
        import structlog

        body = "Only Marta may read this"
        with structlog.testing.capture_logs() as events, caplog.at_level("DEBUG"):
            for behaviour in ("accept", "refuse second", "lost after", "broken"):
                self.meet_together(behaviour, self.message(1, body=body), self.message(2, body=body))
        # The test's own mail server writes down what it hears.
        ours = [record.getMessage() for record in caplog.records if record.name != "mail.log"]
        written = f"{events} {ours} {capsys.readouterr()}"
        for text in (self.message(1).address, self.message(2).address, body, self.secret):
            assert text not in written

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


class LetterTests:
    """What adapters for e-mail keep as well; goes before the class of the contract."""

    channel = "email"

    def test_given_headers_reach_the_guest_as_they_are(self):
        given = {
            "List-Unsubscribe": "<https://example.com/u/" + "a1B2" * 40 + ">",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        outcomes = self.meet_together(
            "accept", self.message(1, headers=given), self.message(2, headers=given)
        )
        assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
        for headers in self.headers():
            assert given.items() <= headers.items()

    @pytest.mark.parametrize("name", ["Subject", "bcc", "X-Two\r\nBcc"])
    def test_no_header_can_bring_another_recipient(self, name):
        (outcome,) = self.meet("accept", self.message(headers={name: "spy@example.com"}))
        assert outcome.verdict is Verdict.REJECTED
        assert not self.received()
