"""The world changes between planning and hand-over: the message is withheld, or the right one goes."""

import threading
from datetime import timedelta

import pytest
from django.utils import timezone

from regulars.automations import content
from regulars.customers import consent
from regulars.customers.importing import rows
from regulars.customers.models import Customer
from regulars.hospitality.models import Reservation, Venue, Visit
from regulars.runs import engine, planning
from regulars.runs.models import Message, Run, Skip

TEXT = [
    {
        "channel": "email",
        "language": "es",
        "subject": "Mesa",
        "body": "{{ reservation.date }} {{ reservation.time }}",
    }
]


@pytest.fixture
def moment():
    return timezone.now().replace(microsecond=0)


@pytest.fixture
def guest(make_customer):
    return make_customer(external_id="1")


@pytest.fixture
def tell(organization, guest, venue, moment):
    """The API's own way: merge the row and tell the engine."""

    def say(kind="reservations", at=moment, **row):
        if kind == "reservations":
            row = {"external_id": "r1", "customer_external_id": "1", "starts_at": stamp(moment, days=3)} | row
        (answer,) = rows.upsert(kind, [row], organization, now=at, live=True)
        assert answer.result != "rejected", answer
        engine.happened(organization, kind, [answer.customer_id], at)

    return say


@pytest.fixture
def automated(make_automation):
    def make(trigger, **parameters):
        return make_automation(trigger=trigger, name=trigger, parameters=parameters, templates=TEXT)

    return make


def stamp(moment, **after):
    return (moment + timedelta(**after)).isoformat()


def plan_all(at):
    for run in Run.objects.filter(state="planning"):
        planning.plan(str(run.pk), at)


def claim(message, at):
    """What the sender's last look says of the message at this moment."""
    from regulars.automations import triggers

    condition = triggers.get(message.automation.trigger).still_valid(at)
    return Message.objects.filter(condition, pk=message.pk).exists()


def told():
    return sorted(Message.objects.exclude(state="withheld").values_list("occasion", flat=True))


@pytest.mark.parametrize("status", ["cancelled", "no_show", "seated", "requested"])
def test_a_confirmation_of_what_is_no_longer_confirmed_is_withheld(tell, automated, moment, status):
    automated("reservation_confirmation")
    tell()
    plan_all(moment)
    message = Message.objects.get()
    assert claim(message, moment)
    Reservation.objects.update(status=status)
    assert not claim(message, moment)
    tell(status="confirmed")
    tell(status=status)
    message.refresh_from_db()
    assert (message.state, message.reason) == ("withheld", "cancelled_before_send")
    assert message.run.chunks.get().withheld == 1


def test_a_confirmation_that_waits_says_what_was_moved(tell, automated, moment):
    """It is written when it leaves: nothing needs to be replaced, and no notice of the change goes."""
    automated("reservation_confirmation")
    automated("reservation_change")
    tell()
    plan_all(moment)
    tell(starts_at=stamp(moment, days=4), party_size=6)
    plan_all(moment)
    assert claim(Message.objects.get(), moment)


def test_a_booking_at_another_venue_or_of_another_guest_is_confirmed_anew(
    tell, automated, moment, organization, guest, make_customer
):
    make_customer(external_id="2")
    Venue.objects.create(organization=organization, name="Playa", timezone="Europe/Madrid")
    automated("reservation_confirmation")
    tell()
    plan_all(moment)
    tell(venue="Playa")
    plan_all(moment)
    first, second = Message.objects.order_by("id")
    assert (first.state, second.state) == ("withheld", "queued")
    assert first.venue_id != second.venue_id
    tell(customer_external_id="2")
    assert not claim(second, moment)


def test_a_change_after_the_confirmation_is_told_once_for_each_revision(tell, automated, moment):
    automated("reservation_confirmation")
    automated("reservation_change")
    tell()
    plan_all(moment)
    Message.objects.update(state="sent", accepted_at=moment)
    later = moment + timedelta(hours=1)
    tell(at=later, party_size=6)
    plan_all(later)
    booking = Reservation.objects.get()
    assert told() == [f"reservation:{booking.pk}:changed:1", f"reservation:{booking.pk}:confirmed"]
    # Changed once more before the notice left: it is replaced.
    tell(at=later + timedelta(minutes=1), starts_at=stamp(moment, days=5))
    plan_all(later + timedelta(minutes=1))
    assert told() == [f"reservation:{booking.pk}:changed:2", f"reservation:{booking.pk}:confirmed"]
    assert Message.objects.get(state="withheld").reason == "cancelled_before_send"


def test_what_is_changed_before_it_is_confirmed_is_no_news(tell, automated, moment):
    automated("reservation_change")
    tell(status="requested")
    tell(status="requested", party_size=3)
    tell(status="confirmed", party_size=4)
    assert not Run.objects.exists()


def test_a_cancellation_is_told_to_whom_the_booking_was_confirmed(tell, automated, moment):
    automated("reservation_confirmation")
    automated("reservation_cancellation")
    tell()
    plan_all(moment)
    Message.objects.update(state="sent", accepted_at=moment)
    tell(status="cancelled")
    plan_all(moment)
    assert told()[0].endswith(":cancelled:0")
    # Taken up again before the notice left.
    tell(status="confirmed")
    assert Message.objects.get(occasion__contains="cancelled").state == "withheld"


def test_a_booking_that_is_taken_up_again_after_the_guest_heard_of_its_end_is_told(tell, automated, moment):
    for kind in ("reservation_confirmation", "reservation_cancellation", "reservation_change"):
        automated(kind)
    tell()
    plan_all(moment)
    Message.objects.update(state="sent", accepted_at=moment)
    later = moment + timedelta(hours=1)
    tell(at=later, status="cancelled")
    plan_all(later)
    Message.objects.filter(state="queued").update(state="sent", accepted_at=later)
    again = later + timedelta(hours=1)
    tell(at=again, status="confirmed")
    plan_all(again)
    assert [occasion.split(":", 2)[2] for occasion in told()] == ["cancelled:0", "changed:1", "confirmed"]
    assert Message.objects.filter(state="queued").get().occasion.endswith("changed:1")


def test_a_booking_that_is_taken_up_again_before_its_confirmation_left_is_confirmed(tell, automated, moment):
    for kind in ("reservation_confirmation", "reservation_change"):
        automated(kind)
    tell()
    plan_all(moment)
    tell(at=moment + timedelta(minutes=1), status="cancelled")
    tell(at=moment + timedelta(minutes=2), status="confirmed")
    plan_all(moment + timedelta(minutes=2))
    assert [occasion.split(":", 2)[2] for occasion in told()] == ["confirmed"]


def test_a_cancellation_is_not_told_where_the_confirmation_had_not_left(tell, automated, moment):
    automated("reservation_confirmation")
    automated("reservation_cancellation")
    tell()
    plan_all(moment)
    tell(status="cancelled")
    plan_all(moment)
    assert told() == []


def test_a_cancellation_is_told_where_nobody_confirms(tell, automated, moment):
    automated("reservation_cancellation")
    tell(), tell(status="cancelled")
    plan_all(moment)
    assert len(told()) == 1


class TestAReminder:
    def test_is_looked_for_when_its_time_comes(self, tell, automated, moment):
        from procrastinate.contrib.django.models import ProcrastinateJob

        from regulars.runs import events

        automation = automated("reservation_reminder", hours_before=24)
        tell(confirmed_at=stamp(moment, days=-1))
        assert not Run.objects.exists()
        job = ProcrastinateJob.objects.get(task_name="regulars.ask")
        due = moment + timedelta(days=2)
        assert due < job.scheduled_at <= due + timedelta(minutes=1)
        assert job.args == {"automation_id": str(automation.pk), "subjects": [Customer.objects.get().pk]}
        events.ask_for(job.args["automation_id"], job.args["subjects"], job.scheduled_at)
        plan_all(job.scheduled_at)
        assert len(told()) == 1
        # Moved before it left: it is withheld, and another is due at another time.
        tell(at=job.scheduled_at, starts_at=stamp(moment, days=9))
        assert told() == []
        assert ProcrastinateJob.objects.filter(task_name="regulars.ask").count() == 2

    def test_does_not_go_for_what_was_booked_later_than_that(self, tell, automated, moment):
        automated("reservation_reminder", hours_before=24)
        tell(starts_at=stamp(moment, hours=20))
        assert not Run.objects.exists()

    def test_comes_too_late_shortly_before(self, tell, automated, moment, organization):
        automation = automated("reservation_reminder", hours_before=24, latest_hours_before=2)
        tell(confirmed_at=stamp(moment, days=-1))
        at = moment + timedelta(days=3, hours=-1)
        found = engine.preview(automation, at)
        assert found.skipped_by_reason == {"expired": 1}


def test_a_visit_is_thanked_after_its_delay(tell, make_automation, moment):
    from procrastinate.contrib.django.models import ProcrastinateJob

    make_automation(trigger="post_visit", parameters={"delay_hours": 24})
    tell("visits", external_id="v1", customer_external_id="1", visited_at=stamp(moment, hours=-2))
    job = ProcrastinateJob.objects.get(task_name="regulars.ask")
    due = moment + timedelta(hours=22)
    assert due < job.scheduled_at <= due + timedelta(minutes=1)


@pytest.mark.parametrize("late", [timedelta(hours=25), timedelta(hours=47)])
def test_a_booking_that_comes_late_is_recorded_as_expired(tell, automated, moment, late):
    automated("reservation_confirmation")
    tell(confirmed_at=(moment - late).isoformat())
    plan_all(moment)
    assert Skip.objects.get().reason == "expired"
    assert not Message.objects.exists()


class TestTheLastLook:
    """What no event tells of is seen by the claim itself."""

    @pytest.fixture
    def post_visit(self, make_automation, organization, guest, venue, moment):
        Visit.objects.create(
            organization=organization,
            customer=guest,
            venue=venue,
            visited_at=moment - timedelta(hours=30),
            service_date=(moment - timedelta(hours=30)).date(),
        )
        return make_automation(trigger="post_visit", parameters={"delay_hours": 24})

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda guest, _: Customer.objects.filter(pk=guest.pk).delete(), "do_not_contact"),
            (lambda guest, _: Customer.objects.update(do_not_contact=True), "do_not_contact"),
            (lambda guest, _: withdraw(guest), "no_consent"),
            (lambda _, automation: content.disable(automation), "automation_inactive"),
            (lambda guest, _: Visit.objects.update(state="voided"), "cancelled_before_send"),
        ],
        ids=["deleted", "do not contact", "consent withdrawn", "switched off", "visit voided"],
    )
    def test_withholds_with_the_reason(self, post_visit, guest, worker, change, reason):
        run = engine.start(post_visit, now=timezone.now())
        planning.plan(str(run.pk), timezone.now())
        change(guest, post_visit)
        with worker():
            for _ in range(200):
                if Message.objects.filter(state="queued").exists():
                    pause()
        assert Message.objects.values_list("state", "reason").get() == ("withheld", reason)


def withdraw(guest):
    consent.record(guest, "email", "marketing", granted=False, source="test", at=timezone.now())


def pause():
    threading.Event().wait(0.05)
