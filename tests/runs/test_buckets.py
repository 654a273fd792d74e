"""One rate for all workers: evenly spaced, never more, and a day's quota that holds instead of failing."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from tests.runs.scripted import planned, send_all

from regulars.automations.models import ProviderAccount
from regulars.lib import async_database, clock
from regulars.runs import engine, lane
from regulars.runs.buckets import Limits, Slots
from regulars.runs.models import AccountBucket, Message, RunState


@pytest.mark.parametrize(
    ("limits", "rate"),
    [
        (Limits(), None),
        (Limits(per_second=50), 50),
        (Limits(per_minute=60), 1),
        (Limits(per_second=50, per_minute=600), 10),
        (Limits(per_second=5, per_minute=600), 5),
        (Limits(per_day=100), None),
    ],
)
def test_the_stricter_limit_spaces_the_messages(limits, rate):
    assert limits.rate == rate
    assert limits.spacing == (pytest.approx(1 / rate, rel=0.02) if rate else 0)
    assert not rate or limits.spacing > 1 / rate, "never faster than the limit"


def ask(account, limits, *wanted):
    """Ask several times in a row, as lanes do; what each was granted."""

    async def asking():
        database = await async_database.connect()
        try:
            return [await one(database, number) for number in wanted]
        finally:
            await database.close()

    async def one(database, number):
        slots = Slots(limits, account.pk)
        await slots.reserve(database, number)
        return slots

    return asyncio.run(asking())


@pytest.mark.django_db(transaction=True)
class TestReserving:
    def test_lanes_get_slots_one_after_the_other_and_evenly(self, account):
        limits = Limits(per_second=20)
        lanes = ask(account, limits, 5, 5, 5)
        moments = [moment for lane in lanes for moment in lane.moments]
        gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert len(moments) == 15
        # The answers arrive at different times; the slots themselves are evenly spaced.
        assert min(gaps) > limits.spacing - 0.02

    def test_nothing_is_granted_further_ahead_than_a_second(self, account):
        lanes = ask(account, Limits(per_second=4), *[4] * 8)
        assert 4 <= sum(len(lane.moments) for lane in lanes) <= 6

    def test_who_is_granted_nothing_is_told_when_to_ask_again(self, account):
        first, second = ask(account, Limits(per_minute=6), 1, 1)
        assert (len(first.moments), len(second.moments)) == (1, 0)
        assert second.resume_at > datetime.now(UTC)

    def test_a_lane_asks_for_more_only_when_what_it_has_runs_low(self, account):
        async def asking():
            database, slots, seen = (
                await async_database.connect(),
                Slots(Limits(per_second=20), account.pk),
                [],
            )
            try:
                for _ in range(4):
                    await slots.reserve(database, 64)
                    # Taken by callers who wait for them: reserved all the same.
                    seen.append((len(slots.take(64)), slots.run_low))
            finally:
                await database.close()
            return seen

        # Five are a quarter of a second.
        assert asyncio.run(asking()) == [(5, True), (5, False), (0, False), (0, False)]

    def test_missed_slots_are_not_caught_up(self, account, monkeypatch):
        (slots,) = ask(account, Limits(per_second=20), 5)
        assert slots.moments
        later = clock.boot_seconds() + 10
        monkeypatch.setattr(clock, "boot_seconds", lambda: later)
        assert slots.take() == []

    def test_what_was_reserved_by_a_lane_that_died_is_not_given_twice(self, account):
        ask(account, Limits(per_second=10), 10)
        taken = AccountBucket.objects.get().next_slot
        (second,) = ask(account, Limits(per_second=10), 1)
        assert AccountBucket.objects.get().next_slot >= taken
        assert len(second.moments) <= 1

    def test_the_day_ends_at_the_organizations_midnight(self, account):
        limits = Limits(per_day=3, zone="Pacific/Kiritimati")
        first, second = ask(account, limits, 2, 2)
        assert (len(first.moments), len(second.moments)) == (2, 1)
        (third,) = ask(account, limits, 2)
        assert not third.moments
        # 14 hours ahead of UTC: its midnight is 10:00 UTC.
        assert (third.resume_at.hour, third.resume_at.minute) == (10, 0)
        AccountBucket.objects.update(day=AccountBucket.objects.get().day - timedelta(days=1))
        (tomorrow,) = ask(account, limits, 2)
        assert len(tomorrow.moments) == 2


@pytest.mark.django_db(transaction=True)
class TestInARun:
    def test_a_reached_daily_quota_holds_the_rest_until_tomorrow(
        self,
        lapsed,
        make_automation,
        provider,
        now,
    ):
        for _ in range(30):
            lapsed()
        ProviderAccount.objects.update(per_day=12)
        run = planned(make_automation(), now)
        send_all(run, now)
        number = engine.counts(run)
        assert (number.sent, number.failed, number.held) == (12, 0, 18)
        assert run.state in (RunState.SENDING, RunState.WAITING)
        assert run.chunks.get().next_due > datetime.now(UTC)
        send_all(run, now)
        assert len(provider.calls) == 12
        AccountBucket.objects.update(day_used=0)
        ProviderAccount.objects.update(per_day=None)
        send_all(run, now)
        assert engine.counts(run).sent == len(provider.calls) == 30

    def test_a_rate_sends_everything_in_the_end(
        self,
        lapsed,
        make_automation,
        provider,
        now,
    ):
        for _ in range(25):
            lapsed()
        ProviderAccount.objects.update(per_second=100)
        run = planned(make_automation(), now)
        for _ in range(20):
            send_all(run, now)
        assert engine.counts(run).sent == len(provider.calls) == 25
        assert set(Message.objects.values_list("state", flat=True)) == {"sent"}

    @pytest.mark.timeout(60)
    @pytest.mark.parametrize("turn", [0.2, 10], ids=["as the turn ends", "within a turn"])
    def test_a_sender_too_slow_for_its_moments_gets_others(
        self, lapsed, make_automation, provider, now, monkeypatch, turn
    ):
        """An overloaded machine: each moment of the first second has passed before anybody calls."""
        for _ in range(30):
            lapsed()
        ProviderAccount.objects.update(per_second=100)
        run = planned(make_automation(), now)
        awake, on_time = clock.boot_seconds() + 1, Slots.missed
        monkeypatch.setattr(lane, "TURN_SECONDS", turn)
        monkeypatch.setattr(
            Slots, "missed", lambda self, moment: clock.boot_seconds() < awake or on_time(self, moment)
        )
        while engine.counts(run).sent < 30:
            send_all(run, now)
        assert len(provider.calls) == 30
