"""When an account, not a guest, is what fails: the breaker, and what it keeps from happening."""

from datetime import timedelta

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations.models import Automation, ProviderAccount
from regulars.customers.models import Address
from regulars.providers.base import Outcome, Verdict
from regulars.runs import engine
from regulars.runs.breaking import FAILURES_IN_A_ROW, REFUSALS_IN_A_ROW, Breaker
from regulars.runs.models import AccountBucket, Message, RunState

AWAY = Outcome(Verdict.UNAVAILABLE, error="Connection refused")
NO = Outcome(Verdict.REJECTED, code="400", error="The sender is not allowed")


def test_failures_of_single_messages_do_not_open_it():
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW * 2):
        breaker.count(AWAY)
        breaker.count(Outcome(Verdict.ACCEPTED))
    assert not breaker.judge().reason


def test_failures_in_a_row_open_it_and_are_nobodys_fault():
    breaker = Breaker()
    for _ in range(FAILURES_IN_A_ROW):
        assert not breaker.account_is_down
        breaker.count(AWAY)
    assert breaker.account_is_down
    assert breaker.judge().reason == "Connection refused"


def test_nothing_is_claimed_in_the_place_of_what_fails_in_a_row():
    breaker = Breaker()
    assert breaker.allows(64) == 64
    for number in range(1, FAILURES_IN_A_ROW):
        breaker.count(AWAY)
        assert breaker.allows(64) == 64 - number
        assert breaker.allows(number, under_way=64 - number) == 0
    assert (breaker.allows(3), breaker.allows(0)) == (1, 0)
    breaker.count(AWAY)
    assert breaker.allows(64) == 0


def test_on_trial_one_failure_is_enough_and_one_answer_frees_it():
    breaker = Breaker(strikes=2)
    breaker.count(AWAY)
    assert breaker.judge().reason
    breaker.count(Outcome(Verdict.REJECTED, code="30003"))
    assert breaker.judge().works_again
    assert not breaker.on_trial


def test_an_account_that_is_asked_to_wait_waits_as_long_as_asked():
    breaker = Breaker()
    breaker.count(Outcome(Verdict.THROTTLED, error="Too many", retry_after=timedelta(minutes=3)))
    judgment = breaker.judge()
    assert (judgment.reason, judgment.pause) == ("Too many", timedelta(minutes=3))


def test_a_limit_of_one_address_slows_nobody_else():
    breaker = Breaker()
    for _ in range(100):
        breaker.count(Outcome(Verdict.THROTTLED, this_address_only=True))
    assert breaker.judge().reason == ""


@pytest.mark.parametrize(
    ("code", "stops"), [("400", Verdict.STOP_ACCOUNT), ("template", Verdict.STOP_TEMPLATE)]
)
def test_the_same_refusal_again_and_again_stops_what_is_at_fault(code, stops):
    breaker = Breaker()
    for _ in range(REFUSALS_IN_A_ROW):
        assert breaker.judge().refused is None
        breaker.count(Outcome(Verdict.REJECTED, code=code, error="No"))
    refused = breaker.judge().refused
    assert refused is not None
    assert refused.verdict == stops
    assert "No" in refused.error


def test_many_bad_addresses_are_no_fault_of_the_account():
    breaker = Breaker()
    for _ in range(REFUSALS_IN_A_ROW * 2):
        breaker.count(Outcome(Verdict.REJECTED, code="21211", bad_address=True))
    assert breaker.judge().refused is None


@pytest.mark.django_db(transaction=True)
class TestInARun:
    def everybody(self, provider, outcome):
        provider.answers = {row.address: outcome for row in Address.objects.all()}

    def test_a_service_that_is_away_costs_a_few_tries_and_fails_nobody(
        self,
        lapsed,
        make_automation,
        provider,
        now,
    ):
        for _ in range(200):
            lapsed()
        self.everybody(provider, AWAY)
        run = planned(make_automation(), now)
        send_all(run, now)
        assert len(provider.calls) < 100
        assert set(Message.objects.values_list("state", flat=True)) == {"queued"}
        bucket = AccountBucket.objects.get()
        assert (bucket.strikes, bucket.pause_reason) == (1, "Connection refused")
        calls = len(provider.calls)
        send_all(run, now)
        assert len(provider.calls) == calls, "nothing is tried while the breaker is open"

        # Its pause over, one message tries, and fails: a longer pause.
        AccountBucket.objects.update(paused_until=None)
        send_all(run, now + timedelta(hours=1))
        assert len(provider.calls) == calls + 1
        assert AccountBucket.objects.get().strikes == 2

        # The service is back: one message finds that out, and everybody gets theirs.
        AccountBucket.objects.update(paused_until=None)
        provider.answers = {}
        for _ in range(3):
            send_all(run, now + timedelta(hours=2))
        assert engine.counts(run).sent == 200
        assert (AccountBucket.objects.get().strikes, run.state) == (0, RunState.FINISHED)

    def test_a_service_that_never_answers_leaves_a_window_in_doubt_not_everybody(
        self,
        lapsed,
        make_automation,
        provider,
        now,
    ):
        for _ in range(200):
            lapsed()
        self.everybody(provider, Outcome(Verdict.UNKNOWN, error="No answer"))
        run = planned(make_automation(), now)
        send_all(run, now)
        number = engine.counts(run)
        assert 0 < number.unknown <= 64
        assert number.held == 200 - number.unknown

    def test_fifty_equal_refusals_pause_the_run_with_the_reason(
        self,
        lapsed,
        make_automation,
        provider,
        now,
    ):
        for _ in range(200):
            lapsed()
        self.everybody(provider, NO)
        run = planned(make_automation(), now)
        send_all(run, now)
        number = engine.counts(run)
        assert run.state == RunState.PAUSED
        assert "The sender is not allowed" in run.reason
        assert REFUSALS_IN_A_ROW <= number.failed <= REFUSALS_IN_A_ROW + 64
        assert number.held == 200 - number.failed
        assert ProviderAccount.objects.get().broken_reason == run.reason

    def test_a_template_that_fails_for_everybody_pauses_its_automation(
        self,
        lapsed,
        make_automation,
        provider,
        now,
    ):
        for _ in range(120):
            lapsed()
        run = planned(make_automation(body="Hola {{ nobody.knows.this }}"), now)
        send_all(run, now)
        assert provider.calls == []
        assert run.state == RunState.PAUSED
        assert Automation.objects.get().paused_reason
        assert engine.counts(run).failed < 120

    def test_a_broken_account_pauses_all_its_runs_and_no_other(
        self,
        lapsed,
        make_automation,
        make_customer,
        organization,
        provider,
        now,
    ):
        lapsed()
        first = planned(make_automation(policy={"cooldown_days": 0}), now)
        second = planned(make_automation(name="second", policy={"cooldown_days": 0}), now)
        other = ProviderAccount.objects.create(
            organization=organization, name="other", kind="sandbox", channels=["email"], position=9
        )
        third = planned(make_automation(name="third", policy={"cooldown_days": 0}), now)
        third.chunks.update(account_id=other.pk)
        self.everybody(provider, Outcome(Verdict.STOP_ACCOUNT, error="The credentials were refused"))
        send_all(first, now)
        for run in (second, third):
            run.refresh_from_db()
        assert (first.state, second.state, third.state) == ("paused", "paused", "sending")
        assert first.reason == second.reason == "The credentials were refused"
