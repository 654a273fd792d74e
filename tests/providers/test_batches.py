"""What becomes of a batch that was refused as a whole, and of messages sent in several calls."""

import asyncio
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regulars.lib.http import NoAnswerError, NotWrittenError
from regulars.providers import batches, mail
from regulars.providers.base import Outcome, Outgoing, Verdict
from regulars.providers.calling import answer_of, wait_of

ACCEPTED = Outcome(Verdict.ACCEPTED, provider_id="1")
REFUSED = Outcome(Verdict.REJECTED, code="400", error="A part is wrong")


def messages(number):
    return [Outgoing(n, f"key-{n}", "email", f"guest{n}@example.com", "Hola") for n in range(1, number + 1)]


def send(batch, answers):
    """`answers(messages)` is what each call gets; the outcomes and the sizes of the calls."""
    calls = []

    async def call(these):
        calls.append(len(these))
        answer = answers(these)
        if answer == "silence":
            await asyncio.sleep(60)
        return answer

    return asyncio.run(batches.send_batch(batch, call)), calls


def refuse_together(alone):
    return lambda these: REFUSED if len(these) > 1 else alone(these[0])


@pytest.mark.parametrize(
    "verdict", [Verdict.UNKNOWN, Verdict.UNAVAILABLE, Verdict.THROTTLED, Verdict.STOP_ACCOUNT]
)
def test_what_holds_for_the_call_holds_for_each_and_is_not_repeated(verdict):
    outcomes, calls = send(messages(3), lambda _: Outcome(verdict))
    assert [outcome.verdict for outcome in outcomes] == [verdict] * 3
    assert calls == [3]


def test_the_one_to_blame_fails_alone():
    outcomes, calls = send(
        messages(4), refuse_together(lambda one: REFUSED if one.message_id == 2 else [ACCEPTED])
    )
    assert [outcome.verdict for outcome in outcomes] == ["accepted", "rejected", "accepted", "accepted"]
    assert calls == [4, 1, 1, 1, 1]


def test_a_single_message_that_is_refused_is_not_tried_again():
    outcomes, calls = send(messages(1), lambda _: REFUSED)
    assert (outcomes, calls) == ([REFUSED], [1])


def test_what_all_are_refused_for_alike_is_about_none_of_them():
    outcomes, _ = send(messages(5), lambda _: REFUSED)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.STOP_TEMPLATE}


def test_a_list_of_bad_addresses_is_no_fault_of_the_template():
    bad = Outcome(Verdict.REJECTED, code="to", bad_address=True)
    outcomes, _ = send(messages(5), refuse_together(lambda _: bad))
    assert outcomes == [bad] * 5


def test_without_time_for_more_calls_the_messages_come_back(monkeypatch):
    monkeypatch.setattr(batches, "SECONDS", 0.0)
    outcomes, calls = send(messages(3), lambda _: REFUSED)
    assert {outcome.verdict for outcome in outcomes} == {Verdict.THROTTLED}
    assert {outcome.this_address_only for outcome in outcomes} == {True}
    assert calls == [3]


def test_silence_leaves_only_the_one_in_doubt_that_met_it(monkeypatch):
    monkeypatch.setattr(batches, "SECONDS", 0.2)
    monkeypatch.setattr(batches, "LEAST_SECONDS", 0.0)
    outcomes, _ = send(
        messages(3), refuse_together(lambda one: "silence" if one.message_id == 3 else [ACCEPTED])
    )
    assert [outcome.verdict for outcome in outcomes] == ["accepted", "accepted", "unknown"]


@given(st.lists(st.sampled_from("abc"), max_size=20), st.lists(st.booleans(), min_size=20, max_size=20))
def test_outcomes_stay_with_their_messages_whatever_goes_together(groups, refused):
    batch = [Outgoing(n, "", group, "x", "") for n, group in enumerate(groups)]

    async def send_group(name, these):
        assert {one.channel for one in these} == {name}
        return [Outcome(Verdict.ACCEPTED, provider_id=str(one.message_id)) for one in these]

    async def send_rest(rest):
        return await batches.in_groups(rest, lambda one: one.channel, send_group)

    def refusal_of(one):
        return REFUSED if refused[one.message_id] else None

    outcomes = asyncio.run(batches.without_refused(batch, refusal_of, send_rest))
    wanted = [REFUSED.provider_id if refused[one.message_id] else str(one.message_id) for one in batch]
    assert [outcome.provider_id for outcome in outcomes] == wanted


@pytest.mark.parametrize(
    ("error", "verdict"),
    [(NotWrittenError("x"), Verdict.UNAVAILABLE), (NoAnswerError("x"), Verdict.UNKNOWN)],
)
def test_only_what_was_certainly_not_written_is_unavailable(error, verdict):
    async def call():
        raise error

    assert asyncio.run(answer_of("Post", call())).verdict is verdict


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"a": "7"}, 7), ({"b": " 3 "}, 3), ({"a": "soon", "b": "3"}, 3), ({"a": "999999"}, 3600), ({}, None)],
)
def test_a_vendor_says_how_long_to_wait(headers, seconds):
    found = wait_of(headers, "a", "b")
    assert found == (None if seconds is None else timedelta(seconds=seconds))


@pytest.mark.parametrize(
    "fields",
    [
        {"address": "nobody"},
        {"address": "josé@example.com"},
        {"address": "a@b\r\nBcc: x@example.com"},
        {"subject": "a\nb"},
        {"headers": {"Bcc": "x@example.com"}},
        {"headers": {"Content-Type": "text/plain"}},
        {"headers": {"X-Long": "x" * 1_000}},
        {"headers": {"X-Two": "a\r\nBcc: x@example.com"}},
        {"headers": {"X-Accent": "é"}},
    ],
)
def test_what_no_service_can_write_is_refused_before_it_spoils_a_batch(fields):
    values = {"channel": "email", "address": "a@example.com", "body": "x"} | fields
    assert mail.refusal_of(Outgoing(1, "", **values)).verdict is Verdict.REJECTED
