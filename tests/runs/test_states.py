"""What becomes of a message after each outcome."""

from datetime import UTC, datetime, timedelta

import pytest

from regulars.providers.base import Outcome, Verdict
from regulars.runs import fallback
from regulars.runs.models import MessageState
from regulars.runs.states import MOST_ATTEMPTS, after

NOW = datetime(2026, 6, 15, tzinfo=UTC)


@pytest.mark.parametrize("verdict", Verdict)
@pytest.mark.parametrize("attempt", range(1, MOST_ATTEMPTS + 2))
def test_every_outcome_of_every_attempt_has_an_answer(verdict, attempt):
    step = after(Outcome(verdict), attempt, NOW)
    assert step.state in MessageState
    assert (step.retry_at is not None) == (step.state == MessageState.QUEUED)


def test_an_unknown_outcome_never_queues_again():
    assert after(Outcome(Verdict.UNKNOWN), 1, NOW).state == MessageState.UNKNOWN


def test_the_provider_decides_the_pause_where_it_says_so():
    step = after(Outcome(Verdict.THROTTLED, retry_after=timedelta(hours=1)), 1, NOW)
    assert step.retry_at == NOW + timedelta(hours=1)


def test_pauses_grow():
    pauses = [after(Outcome(Verdict.UNAVAILABLE), number, NOW).retry_at for number in (1, 2, 3, 4)]
    assert pauses == sorted(set(pauses))


def test_what_was_handed_back_is_due_at_once_however_often():
    step = after(None, MOST_ATTEMPTS + 1, NOW)
    assert (step.state, step.retry_at) == (MessageState.QUEUED, NOW)


NOT_THERE = Outcome(Verdict.REJECTED, bad_address=True, permanent=True)


@pytest.mark.parametrize(
    ("outcome", "allowed"),
    [
        (NOT_THERE, True),
        (Outcome(Verdict.REJECTED, permanent=True), True),
        (Outcome(Verdict.REJECTED, bad_address=True), True),
        (Outcome(Verdict.REJECTED), False),
        (Outcome(Verdict.REJECTED, opt_out=True, bad_address=True), False),
        (Outcome(Verdict.UNKNOWN, permanent=True), False),
        (Outcome(Verdict.THROTTLED, permanent=True), False),
        (Outcome(Verdict.ACCEPTED), False),
        (Outcome(Verdict.STOP_ACCOUNT), False),
        (None, False),
    ],
)
def test_only_a_refusal_because_of_the_address_leads_to_another_channel(outcome, allowed):
    assert fallback.allows(outcome) is allowed


def test_what_is_held_back_for_the_guests_sake_waits_twice_as_long_each_time():
    held = Outcome(Verdict.THROTTLED, retry_after=timedelta(days=1), growing=True)
    steps = [after(held, attempt, NOW) for attempt in range(1, MOST_ATTEMPTS + 1)]
    assert [step.retry_at and (step.retry_at - NOW).days for step in steps] == [1, 2, 4, 8, None]
    assert [step.reason for step in steps] == ["held_back"] * 4 + ["temporary"]
