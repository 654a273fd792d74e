"""A share of those who would be written to is held out, always the same ones, to measure the effect."""

import pytest
from tests.runs.scripted import planned

from regulars.automations.models import AutomationVersion
from regulars.runs import engine, invariants
from regulars.runs.models import Message, Occasion, Run, RunState, RunVerdict, Skip

pytestmark = pytest.mark.django_db
HALF = {"holdout_percent": 50, "cooldown_days": 0}


def held_out(run):
    rows = RunVerdict.objects.filter(run_id=run.pk, reason="holdout")
    return set(rows.values_list("customer_id", flat=True))


def test_the_held_out_are_skipped_by_name_and_hold_their_occasions(lapsed, make_automation, now):
    customers = {lapsed().pk for _ in range(40)}
    run = planned(make_automation(policy=HALF), now)
    out = held_out(run)
    assert 5 < len(out) < 35
    assert set(Message.objects.values_list("customer_id", flat=True)) == customers - out
    assert set(Skip.objects.filter(reason="holdout").values_list("customer_id", flat=True)) == out
    assert set(Occasion.objects.filter(kind="holdout").values_list("customer_id", flat=True)) == out
    assert engine.counts(run).skipped == len(out)
    assert not invariants.violations()


def test_a_changed_share_does_not_write_to_them_about_the_same_occasion(lapsed, make_automation, now):
    for _ in range(20):
        lapsed()
    automation = make_automation(policy=HALF)
    first = planned(automation, now)
    Run.objects.update(state=RunState.FINISHED)
    AutomationVersion.objects.update(policy={"holdout_percent": 0, "cooldown_days": 0})
    second = planned(automation, now)
    assert held_out(second) == held_out(first) != set()
    assert engine.preview(automation, now).skipped_by_reason["holdout"] == len(held_out(first))


def test_who_would_not_be_written_to_anyway_is_not_drawn(lapsed, make_automation, now):
    for _ in range(20):
        lapsed(consents=())
    assert not held_out(planned(make_automation(policy=HALF), now))


def test_two_automations_draw_apart(lapsed, make_automation, now):
    for _ in range(40):
        lapsed()
    runs = [planned(make_automation(name=name, family=name, policy=HALF), now) for name in "ab"]
    assert held_out(runs[0]) != held_out(runs[1])


def test_a_confirmation_is_never_held_out(make_customer, make_automation, venue, organization, now):
    from datetime import timedelta

    from regulars.hospitality.models import Reservation

    for _ in range(10):
        Reservation.objects.create(
            organization=organization,
            customer=make_customer(),
            venue=venue,
            starts_at=now + timedelta(days=1),
            confirmed_at=now,
        )
    planned(make_automation("reservation_confirmation", policy=HALF), now)
    assert Message.objects.count() == 10
