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
# Close to the bounds of the tests' parameters, or anywhere.
ages = st.one_of(
    st.integers(0, 6 * 24 * 60), st.sampled_from((1440, 2880, 7 * 1440)), st.integers(0, 90 * 1440)
)


def make_organization(draw, *, venues=2):
    number = Organization.objects.count()
    organization = Organization.objects.create(
        slug=f"world-{number}", name="World", timezone=draw(st.sampled_from(ZONES))
    )
    for name in ("one", "two")[: draw(st.integers(0, venues))]:
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
        at = now
        for _ in range(draw(st.integers(0, 4))):
            venue = draw(st.sampled_from(venues))
            # Now and then close to the visit before: the same service day, or the same moment.
            gap = draw(st.sampled_from((None, None, 0, 45, 300)))
            at = now - timedelta(minutes=draw(ages)) if gap is None else at - timedelta(minutes=gap)
            Visit.objects.create(
                organization=organization,
                customer=customer,
                venue=venue,
                visited_at=at,
                service_date=local_date(at, venue.timezone, venue.day_starts_at_hour),
                state=draw(st.sampled_from((VisitState.COMPLETED, *VisitState))),
            )
    return list(Visit.objects.filter(organization=organization))


def make_reservations(draw, organization, venues, customers, now):
    for customer in customers:
        for _ in range(draw(st.integers(0, 3))):
            Reservation.objects.create(
                organization=organization,
                customer=customer,
                venue=draw(st.sampled_from(venues)),
                starts_at=now + timedelta(minutes=draw(st.integers(-600, 3 * 1440))),
                status=draw(st.sampled_from((ReservationState.CONFIRMED, *ReservationState))),
                confirmed_at=draw(
                    st.one_of(
                        st.none(),
                        st.integers(-60, 80 * 60).map(lambda age: now - timedelta(minutes=age)),
                        st.sampled_from((0, 24, 48)).map(lambda age: now - timedelta(hours=age)),
                    )
                ),
            )
    return list(Reservation.objects.filter(organization=organization))


def make_tier_changes(draw, customers, now):
    """Each guest's changes follow one another and end in the tier the guest has."""
    for customer in customers:
        tier = draw(st.sampled_from(("", *TIERS)))
        gaps = draw(st.lists(st.one_of(st.integers(0, 40), st.sampled_from((30, 60, 365, 366))), max_size=5))
        at = now - timedelta(days=sum(gaps) - draw(st.integers(0, 3)))
        for gap in gaps:
            before, tier = tier, draw(st.sampled_from([t for t in ("", *TIERS) if t != tier]))
            TierChange.objects.create(customer=customer, tier_before=before, tier=tier, at=at)
            at += timedelta(days=gap)
        Customer.objects.filter(pk=customer.pk).update(tier=tier)
        customer.tier = tier
    return list(TierChange.objects.filter(customer__in=customers))
