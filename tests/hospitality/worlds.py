"""Random small worlds, placed on purpose near the days on which calendars go wrong."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from regulars.customers.models import Customer, TierChange
from regulars.hospitality.models import Reservation, ReservationState, Venue, Visit, VisitState
from regulars.lib.clock import local_date
from regulars.organizations.models import Organization

ZONES = (
    "Europe/Madrid",
    "America/New_York",
    "Pacific/Kiritimati",
    "Pacific/Chatham",
    "Australia/Lord_Howe",
    "Pacific/Honolulu",
)
# Clock changes of these zones, leap days, year ends, and two plain days.
TRICKY = (
    (2026, 3, 29), (2026, 10, 25),  # Madrid
    (2026, 3, 8), (2026, 11, 1),  # New York
    (2026, 4, 4), (2026, 4, 5), (2026, 9, 26), (2026, 9, 27),  # Chatham
    (2026, 10, 3), (2026, 10, 4),  # Lord Howe
    (2028, 2, 28), (2028, 2, 29), (2028, 3, 1), (2027, 2, 28), (2027, 3, 1),
    (2026, 12, 27), (2026, 12, 31), (2027, 1, 1), (2027, 1, 3),
    (2026, 6, 30), (2026, 7, 1), (2026, 6, 15),
)  # fmt: skip
TIERS = ("Plata", "Oro", "VIP: gold")

moments = st.builds(
    lambda day, minutes: datetime(*day, tzinfo=UTC) + timedelta(minutes=minutes),
    st.sampled_from(TRICKY),
    st.integers(-14 * 60, 38 * 60),
)
hours = st.integers(0, 6)
# How long ago the last visit was: around the bounds that the tests use, to the minute.
newest = st.builds(
    lambda days, minutes: max(timedelta(), timedelta(days=days, minutes=minutes)),
    st.sampled_from((0, 1, 1, 2, 2, 3, 5, 5, 6, 8, 30, 31, 33, 90)),
    st.sampled_from((0, 0, -1, 1, 300, -300, 700, -700)),
)
# From one visit back to the one before: the same moment, the same service day, or longer ago.
gaps = st.sampled_from((0, 45, 300, 300, 1440, 2880, 20 * 1440)).map(
    lambda minutes: timedelta(minutes=minutes)
)


def make_organization(draw):
    number = Organization.objects.count()
    organization = Organization.objects.create(
        slug=f"world-{number}", name="World", timezone=draw(st.sampled_from(ZONES))
    )
    for name in ("one", "two")[: draw(st.sampled_from((1, 2, 2, 0)))]:
        Venue.objects.create(
            organization=organization,
            name=name,
            timezone=draw(st.sampled_from(ZONES)),
            day_starts_at_hour=draw(hours),
        )
    return organization, list(organization.venues.order_by("pk"))


def make_customers(organization, number=3, **fields):
    return [Customer.objects.create(organization=organization, **fields) for _ in range(number)]


def make_visits(draw, organization, venues, customers, now):
    for customer in customers:
        at = now - draw(newest)
        for _ in range(draw(st.sampled_from((3, 2, 4, 1, 0)))):
            venue = draw(st.sampled_from(venues))
            Visit.objects.create(
                organization=organization,
                customer=customer,
                venue=venue,
                visited_at=at,
                service_date=local_date(at, venue.timezone, venue.day_starts_at_hour),
                state=draw(st.sampled_from((*[VisitState.COMPLETED] * 5, *VisitState))),
            )
            at -= draw(gaps)
    return list(Visit.objects.filter(organization=organization))


def make_reservations(draw, organization, venues, customers, now):
    for customer in customers:
        for _ in range(draw(st.sampled_from((2, 1, 3, 0)))):
            Reservation.objects.create(
                organization=organization,
                customer=customer,
                venue=draw(st.sampled_from(venues)),
                starts_at=now + timedelta(minutes=draw(st.sampled_from((600, 1, 0, -1, 30, 4000)))),
                status=draw(st.sampled_from((*[ReservationState.CONFIRMED] * 5, *ReservationState))),
                confirmed_at=draw(
                    st.one_of(
                        st.none(),
                        st.integers(-60, 80 * 60).map(lambda age: now - timedelta(minutes=age)),
                        st.sampled_from((0, 1, 2, 24, 25, 48, 49, 90)).map(
                            lambda age: now - timedelta(hours=age)
                        ),
                    )
                ),
            )
    return list(Reservation.objects.filter(organization=organization))


def make_tier_changes(draw, customers, now):
    """Each guest's changes follow one another and end in the tier the guest has."""
    for customer in customers:
        tier = draw(st.sampled_from(("", "", *TIERS)))
        at = now - timedelta(days=draw(st.sampled_from((1, 5, 0, 29, 30, 59, 60, -1))))
        # From the newest back: days between one change and the one before.
        gaps = draw(st.lists(st.sampled_from((3, 20, 100, 300, 365, 366)), max_size=4))
        times = [at - timedelta(days=sum(gaps[:number])) for number in range(len(gaps) + 1)]
        for moment in reversed(times):
            before, tier = tier, draw(st.sampled_from([t for t in (*TIERS, "") if t != tier]))
            TierChange.objects.create(customer=customer, tier_before=before, tier=tier, at=moment)
        Customer.objects.filter(pk=customer.pk).update(tier=tier)
        customer.tier = tier
    return list(TierChange.objects.filter(customer__in=customers))
