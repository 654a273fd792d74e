"""Switching on, or importing, must not write to half the guest book at once (E51)."""

from datetime import timedelta

import pytest

from regulars.automations.models import Automation
from regulars.customers.models import Customer
from regulars.runs import engine, guarding, planning

pytestmark = pytest.mark.django_db


def planned(automation, now, **options):
    run = engine.start(automation, now=now, **options)
    planning.plan(str(run.pk), now)
    run.refresh_from_db()
    return run


@pytest.fixture
def crowd(lapsed, monkeypatch):
    monkeypatch.setattr(guarding, "FEW", 2)
    return [lapsed() for _ in range(5)]


def test_a_large_share_is_left_alone_and_what_becomes_due_later_is_not(
    crowd, lapsed, make_automation, make_customer, make_visit, now
):
    automation = make_automation(parameters={"days": 60, "min_visits": 1})
    reach = engine.guard(automation, now)
    assert (reach.guests, reach.withheld) == (5, True)
    assert engine.preview(automation, now).skipped_by_reason == {"before_start": 5}
    newcomer = make_customer()
    make_visit(newcomer, days_ago=59, now=now)
    later = engine.preview(automation, now + timedelta(days=2))
    assert [row.customer_id for row in later.rows if row.reason is None] == [newcomer.pk]


def test_a_yes_to_the_number_reaches_them_all(crowd, make_automation, now):
    automation = make_automation()
    engine.guard(automation, now)
    assert not engine.guard(automation, now, agreed=5).withheld
    assert engine.preview(automation, now).send == 5


def test_a_yes_to_fewer_changes_nothing(crowd, make_automation, now):
    automation = make_automation()
    engine.guard(automation, now)
    with pytest.raises(engine.ReachGrewError, match="5 guests"):
        engine.guard(automation, now, agreed=4)
    assert Automation.objects.get().due_from == now


def test_a_small_share_asks_nobody(crowd, organization, make_automation, now):
    Customer.objects.bulk_create(Customer(organization=organization) for _ in range(20))
    assert not engine.guard(make_automation(), now).withheld


def test_an_import_that_makes_many_due_holds_back_what_is_switched_on(
    crowd, organization, make_automation, now
):
    automation = make_automation()
    make_automation("birthday", name="nobody is due")
    (reach,) = engine.guard_import(organization, now)
    assert (reach.automation, reach.guests) == (automation, 5)
    assert engine.preview(automation, now).send == 0


def test_an_agreement_outlives_an_import_and_not_its_run(crowd, organization, make_automation, now):
    automation = make_automation()
    engine.guard(automation, now, agreed=5)
    assert engine.guard_import(organization, now) == []
    planned(automation, now, origin="schedule")
    automation.refresh_from_db()
    assert automation.reach_agreed is None


class TestWhatNobodyHasLookedAt:
    """Rows that came in by another way than a file: the planner asks before it writes."""

    def test_a_run_by_itself_holds_back_and_says_so(self, crowd, make_automation, now):
        automation = make_automation()
        run = planned(automation, now, origin="schedule")
        assert (run.due, run.skipped_by_reason) == (5, {"before_start": 5})
        automation.refresh_from_db()
        assert automation.due_from == now

    def test_a_run_by_hand_was_looked_at(self, crowd, make_automation, now):
        run = planned(make_automation(), now)
        assert run.skipped_by_reason == {}
        assert run.chunks.get().total == 5

    def test_as_many_as_were_agreed_to_are_written_to(self, crowd, make_automation, now):
        automation = make_automation()
        engine.guard(automation, now, agreed=5)
        assert planned(automation, now, origin="event").chunks.get().total == 5
