"""Every row of the table, over real sockets: the adapter's own connection meets the fault."""

import asyncio
import json
import logging
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from tests.faults.conftest import account_options, options
from tests.faults.server import Reply, http
from tests.faults.table import LOGIN, QUOTED_LOGIN, QUOTED_TOKEN, SECTIONS, TOKEN, says

from regulars.lib.http import Answer
from regulars.providers.base import Outgoing, Verdict
from regulars.providers.classes import VERDICTS, ErrorClass
from regulars.providers.registry import get
from regulars.providers.smtp import session as sessions
from regulars.providers.smtp.send import Smtp
from regulars.providers.twilio import tables
from regulars.providers.twilio.answers import outcome_of, retry_after

ROWS = [
    pytest.param(section.kind, row, id=f"{section.kind}: {row.fault}")
    for section in SECTIONS
    for row in section.rows
]
ADDRESSES = {"twilio": "+12015550123", "smtp": "marta@example.com"}
CHANNELS = {"twilio": "sms", "smtp": "email"}
SECRETS = (TOKEN, LOGIN["password"], QUOTED_TOKEN, QUOTED_LOGIN)
# After these the engine sends again by itself.
COMES_BACK = (Verdict.THROTTLED, Verdict.UNAVAILABLE, Verdict.STOP_ACCOUNT, Verdict.STOP_TEMPLATE)


def letter(kind, number=1):
    subject = "Hola" if kind == "smtp" else ""
    return Outgoing(number, f"key-{number}", CHANNELS[kind], ADDRESSES[kind], "Te esperamos", subject)


def hand_over(kind, values, *messages):
    """The outcomes of these messages, one after another over one connection."""

    async def scenario():
        connection = await get(kind).connect(account_options(kind, values), None)
        try:
            return [(await connection.send([message]))[0] for message in messages]
        finally:
            await connection.close()

    return asyncio.run(scenario())


@pytest.fixture
def meet(open_door, hurry):
    def one(kind, row):
        server, values = open_door(kind, row.door, row.reply)
        (outcome,) = hand_over(kind, values | row.options, letter(kind))
        return outcome, server

    return one


@pytest.mark.parametrize(("kind", "row"), ROWS)
def test_each_fault_has_exactly_its_outcome(kind, row, meet, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    with capture_logs() as events:
        outcome, server = meet(kind, row)
    assert outcome.verdict is row.verdict, outcome
    assert (outcome.retry_after, outcome.bad_address, outcome.opt_out, outcome.this_address_only) == (
        row.retry_after,
        row.bad_address,
        row.opt_out,
        row.this_address_only,
    ), outcome
    assert row.words in outcome.error, outcome.error
    # People read it, and a page shows it.
    assert outcome.error.isprintable()
    assert len(outcome.error) < 350
    assert outcome.code
    _nothing_taken_is_sent_again(outcome, server)
    logged = caplog.text + str(events) + "".join(capfd.readouterr())
    for private in (*SECRETS, ADDRESSES[kind]):
        assert private not in logged
    for secret in SECRETS:
        assert secret not in repr(outcome)


def _nothing_taken_is_sent_again(outcome, server):
    """The truth check: what the server took, and did not refuse in words, never comes back."""
    if server is None:
        assert outcome.verdict in COMES_BACK
        return
    assert len(server.received) <= 1
    if server.taken:
        assert outcome.verdict in (Verdict.ACCEPTED, Verdict.UNKNOWN), outcome
    else:
        assert outcome.verdict is not Verdict.ACCEPTED


def test_every_kind_of_outcome_but_acceptance_is_met_by_both_providers():
    for kind in ADDRESSES:
        met = {row.verdict for section in SECTIONS if section.kind == kind for row in section.rows}
        assert met == set(Verdict) - {Verdict.ACCEPTED}


@pytest.mark.parametrize("code", tables.CODES)
def test_each_code_of_twilio_has_its_class_over_the_wire(code, open_door):
    refusal = tables.CODES[code]
    server, values = open_door("twilio", "plain", says(400, code))
    (outcome,) = hand_over("twilio", values, letter("twilio"))
    assert outcome.verdict is VERDICTS[refusal.error_class]
    assert outcome.code == str(code)
    _nothing_taken_is_sent_again(outcome, server)


def test_the_words_of_what_stops_everything_say_what_to_do():
    """`What is wrong: what to do`, for whoever runs a restaurant."""
    stops = (ErrorClass.STOP_ACCOUNT, ErrorClass.STOP_TEMPLATE)
    for refusal in tables.CODES.values():
        if refusal.error_class in stops:
            assert ": " in refusal.words, refusal.words


def test_the_next_message_after_a_fault_goes_through(open_door, hurry):
    """A fault leaves no half-used connection: the next message is accepted, and each arrives once."""
    for section in SECTIONS:
        for row in section.rows:
            silent_early = row.reply.ending == "hang" and row.reply.at not in ("read", "dot", "DATA")
            if row.door != "plain" or row.options or silent_early:
                continue
            server, values = open_door(section.kind, "plain", row.reply)
            server.follow(in_turn=[row.reply])
            first, second = hand_over(section.kind, values, letter(section.kind), letter(section.kind, 2))
            assert first.verdict is row.verdict, row.fault
            assert second.verdict is Verdict.ACCEPTED, row.fault
            server.close()


BODY = b'{"sid": "SM1"}'
SILENTLY = http(201, BODY).raw
TELLS = http(201, BODY, Connection="close").raw


def hand_over_many(kind, values, number):
    address = {"twilio": "+1201555{:04d}", "smtp": "guest{}@example.com"}[kind]
    numbers = range(1, number + 1)
    return hand_over(kind, values, *(replace(letter(kind, n), address=address.format(n)) for n in numbers))


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        ("twilio", Reply("read", TELLS, ending="close")),
        ("twilio", Reply("read", TELLS, ending="reset")),
        ("smtp", Reply("dot", b"250 2.0.0 Taken\r\n", ending="close")),
        ("smtp", Reply("dot", b"250 2.0.0 Taken\r\n", ending="reset")),
    ],
)
def test_a_server_that_hangs_up_after_each_message_is_called_again(kind, reply, open_door):
    server, values = open_door(kind, "plain", reply)
    outcomes = hand_over_many(kind, values, 60)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.ACCEPTED}
    assert max(Counter(server.taken).values()) == 1
    assert len(server.taken) == 60


@pytest.mark.parametrize("ending", ["close", "reset"])
def test_an_http_server_that_hangs_up_without_a_word_costs_doubt_and_no_second_message(ending, open_door):
    """Whether the next request still reached it cannot be known: accepted or in doubt, never again."""
    server, values = open_door("twilio", "plain", Reply("read", SILENTLY, ending=ending))
    outcomes = hand_over_many("twilio", values, 120)
    assert {outcome.verdict for outcome in outcomes} <= {Verdict.ACCEPTED, Verdict.UNKNOWN}
    assert max(Counter(server.taken).values()) == 1
    accepted = sum(outcome.verdict is Verdict.ACCEPTED for outcome in outcomes)
    assert 0 < accepted <= len(server.taken)


DATE = "Mon, 15 Jun 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Mon, 15 Jun 2026 12:00:30 GMT", 30),
        ("Mon, 15 Jun 2026 14:00:30 +0200", 30),
        # Already over, and further away than any wish that is believed.
        ("Mon, 15 Jun 2026 11:00:00 GMT", 0),
        ("Tue, 16 Jun 2026 12:00:00 GMT", 3600),
    ],
)
def test_a_date_to_come_back_at_is_counted_from_the_servers_own_clock(value, seconds):
    assert retry_after(value, DATE) == timedelta(seconds=seconds)
    assert retry_after(value) is None


@given(st.text(max_size=40), st.sampled_from(["", DATE, "Mon, 15 Jun 2026 12:00:00 -0000"]))
@example("1" * 60, "")
@example(" " * 20 + "7", "")
@example("Mon, 15 Jun 9999999999 12:00:00 GMT", DATE)
def test_whatever_retry_after_says_the_wait_is_at_most_an_hour(value, date):
    wait = retry_after(value, date)
    assert wait is None or timedelta(0) <= wait <= timedelta(hours=1)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5), st.text())
def test_what_reaches_the_ledger_is_short_and_can_be_kept(value, text):
    """PostgreSQL keeps no NUL and no half characters; an answer may hold both."""
    for document in ({"sid": text}, {"sid": value}, {"code": value, "message": text}, {"message": value}):
        for status in (201, 400):
            outcome = outcome_of(Answer(status, {}, json.dumps(document).encode()))
            for kept in (outcome.provider_id, outcome.code, outcome.error):
                assert kept.isprintable()
                assert len(kept) <= 300


def test_a_goodbye_costs_no_answer():
    """The engine calls a message unknown after `request_timeout`: an accepted one must return sooner."""
    values = account_options("smtp", options("smtp", 1))
    connection = asyncio.run(Smtp().connect(values, None))
    assert connection._timeout + sessions.QUIT_SECONDS < Smtp.request_timeout.total_seconds()
