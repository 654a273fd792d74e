"""Writes the cast into the database: guests, addresses, consents, visits and reservations."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from regulars.automations.quiet_hours import QuietHours
from regulars.customers.addresses import fingerprint
from regulars.customers.models import Address, Consent, Customer, Suppression, TierChange
from regulars.hospitality.demo.people import (
    CAME_BACK,
    CHANGED_MIND,
    LAPSED,
    LONG_GONE,
    SEED,
    TIERS,
    TRAVELLERS,
    Guest,
)
from regulars.hospitality.models import Reservation, ReservationState, Venue, Visit
from regulars.lib.clock import local_date
from regulars.organizations.models import Organization

BATCH = 2_000
WORDING = "Quiero recibir novedades y ofertas de Casa Marisol. Puedo darme de baja cuando quiera."
# How many bookings: confirmed within hours, a day late, earlier for the days to come, unanswered.
FRESH, LATE, BOOKED, REQUESTED = 12, 6, 48, 10
# How long ago the travellers ate, and the booking that came to nothing was confirmed and cancelled.
STOPOVER = timedelta(hours=25)
CONFIRMED_AGO, CANCELLED_AGO = timedelta(minutes=50), timedelta(minutes=49, seconds=58)


@dataclass(frozen=True)
class Town:
    """The demo's organization and venues with its people, as they are in the database."""

    organization: Organization
    venues: Sequence[Venue]
    guests: Sequence[Guest]
    customers: Sequence[Customer]
    now: datetime

    def today(self, venue: Venue) -> date:
        return local_date(self.now, venue.timezone, venue.day_starts_at_hour)

    def venue_of(self, guest: Guest) -> Venue:
        """The venue a guest goes to: one in four to the second, and who comes from far away to the third."""
        if guest.number in TRAVELLERS:
            return self.venues[2]
        return self.venues[guest.number % 4 == 3]


def settle_town(organization: Organization, guests: Sequence[Guest], now: datetime) -> Town:
    """Write everybody and all that happened to them up to `now`, but for `come_back`."""
    venues = Venue.objects.bulk_create(
        (
            Venue(organization=organization, name="Casa Marisol Centro", timezone="Europe/Madrid"),
            Venue(organization=organization, name="Casa Marisol Playa", timezone="Atlantic/Canary"),
            Venue(
                organization=organization,
                name="Casa Marisol Aeropuerto",
                timezone="Europe/Madrid",
                quiet_hours=QuietHours().model_dump(mode="json", by_alias=True),
            ),
        )
    )
    customers = Customer.objects.bulk_create(
        [_customer(organization, guest) for guest in guests], batch_size=BATCH
    )
    town = Town(organization, venues, guests, customers, now)
    Address.objects.bulk_create(_addresses(town), batch_size=BATCH)
    Consent.objects.bulk_create(_consents(town), batch_size=BATCH)
    Suppression.objects.bulk_create(_suppressions(town), ignore_conflicts=True)
    Visit.objects.bulk_create(_visits(town, after_letter=False), batch_size=BATCH)
    Visit.objects.bulk_create(_stopovers(town))
    TierChange.objects.bulk_create(_tier_changes(town), batch_size=BATCH)
    Reservation.objects.bulk_create(_reservations(town), batch_size=BATCH)
    return town


def _customer(organization: Organization, guest: Guest) -> Customer:
    month, day, year = guest.birthday or (None, None, None)
    return Customer(
        organization=organization,
        external_id=f"guest-{guest.number + 1:04d}",
        first_name=guest.first_name,
        last_name=guest.last_name,
        birth_month=month,
        birth_day=day,
        birth_year=year,
        language=guest.language,
        timezone=guest.timezone,
        tier=guest.tier,
        tags=["newsletter"] if not guest.visit_days else [],
        do_not_contact=bool(guest.do_not_contact_reason),
        do_not_contact_reason=guest.do_not_contact_reason,
    )


def _addresses(town: Town) -> Iterable[Address]:
    for guest, customer in zip(town.guests, town.customers, strict=True):
        for channel, address in guest.addresses.items():
            yield Address(
                organization=town.organization,
                customer=customer,
                channel=channel,
                address=address,
                fingerprint=fingerprint(town.organization, address),
            )


def _consents(town: Town) -> Iterable[Consent]:
    for guest, customer in zip(town.guests, town.customers, strict=True):
        asked = town.now - timedelta(days=400 + guest.number % 300)
        for channel, allowed in guest.consents.items():
            yield Consent(
                customer=customer,
                channel=channel,
                granted=True,
                source="Reservation form",
                wording=WORDING,
                at=asked,
                is_current=allowed,
            )
            if not allowed:
                yield Consent(
                    customer=customer,
                    channel=channel,
                    granted=False,
                    source="Unsubscribe link",
                    at=asked + timedelta(days=120),
                )


def _suppressions(town: Town) -> Iterable[Suppression]:
    for guest in town.guests:
        if guest.suppressed:
            for address in set(guest.addresses.values()):
                yield Suppression(
                    organization=town.organization,
                    fingerprint=fingerprint(town.organization, address),
                    reason="bounce" if "@" in address else "stop",
                    source="Provider",
                )


def come_back(town: Town) -> None:
    """Write the visits of those whom the earlier letter brought back: they came after it."""
    Visit.objects.bulk_create(_visits(town, after_letter=True))


def _visits(town: Town, *, after_letter: bool) -> Iterable[Visit]:
    random = Random(SEED + 1)  # noqa: S311 - fiction
    for guest, customer in zip(town.guests, town.customers, strict=True):
        venue = town.venue_of(guest)
        for order, days in enumerate(guest.visit_days):
            if after_letter != (guest.came_back and order == 0):
                continue
            day = town.today(venue) - timedelta(days=days)
            party = random.choice((1, 2, 2, 2, 3, 4, 6))
            yield Visit(
                organization=town.organization,
                customer=customer,
                venue=venue,
                external_id=f"visit-{guest.number + 1:04d}-{len(guest.visit_days) - order}",
                visited_at=_at(venue, day, random.choice((15, 16, 22, 23)), random.randrange(60)),
                service_date=day,
                amount=Decimal(party * random.randint(1_800, 5_200)) / 100,
                currency=venue.currency,
                party_size=party,
            )


def _stopovers(town: Town) -> Iterable[Visit]:
    """Yesterday at this hour, before the flight."""
    for number in TRAVELLERS:
        venue, visited_at = town.venue_of(town.guests[number]), town.now - STOPOVER
        yield Visit(
            organization=town.organization,
            customer=town.customers[number],
            venue=venue,
            external_id=f"visit-{number + 1:04d}-1",
            visited_at=visited_at,
            service_date=local_date(visited_at, venue.timezone, venue.day_starts_at_hour),
            amount=Decimal("18.50"),
            currency=venue.currency,
            party_size=1,
        )


def _at(venue: Venue, day: date, hour: int, minute: int) -> datetime:
    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=ZoneInfo(venue.timezone))
    return local.astimezone(UTC)


def _tier_changes(town: Town) -> Iterable[TierChange]:
    """Each tier is reached with the visit that earns it."""
    for guest, customer in zip(town.guests, town.customers, strict=True):
        venue, before = town.venue_of(guest), ""
        for least, tier in reversed(TIERS):
            if len(guest.visit_days) < least:
                break
            day = town.today(venue) - timedelta(days=guest.visit_days[-least])
            at = _at(venue, day, 23, 59)
            yield TierChange(customer=customer, tier_before=before, tier=tier, at=at)
            before = tier


def _reservations(town: Town) -> list[Reservation]:
    """Of guests who are no part of the example, which knows no booking."""
    random = Random(SEED + 2)  # noqa: S311 - fiction
    named = LAPSED + LONG_GONE + CAME_BACK
    diners = iter(random.sample(range(named, len(town.guests)), 600))
    coming = [_coming(town, random, next(diners), order) for order in range(_COMING)]
    past = [_past(town, random, number, order) for order, number in enumerate(diners)]
    return [*coming, *past, _changed_mind(town)]


_COMING = FRESH + LATE + BOOKED + REQUESTED


def _coming(town: Town, random: Random, number: int, order: int) -> Reservation:
    venue = town.venue_of(town.guests[number])
    day = town.today(venue) + timedelta(days=random.randint(2, 21))
    age = _age_of_confirmation(random, order)
    return Reservation(
        organization=town.organization,
        customer=town.customers[number],
        venue=venue,
        external_id=f"booking-{order + 1:04d}",
        starts_at=_at(venue, day, random.choice((13, 14, 20, 21)), random.choice((0, 15, 30, 45))),
        party_size=random.randint(1, 8),
        status=ReservationState.REQUESTED if age is None else ReservationState.CONFIRMED,
        confirmed_at=None if age is None else town.now - age,
    )


def _age_of_confirmation(random: Random, order: int) -> timedelta | None:
    if order < FRESH:
        return timedelta(minutes=random.randint(5, 300))
    if order < FRESH + LATE:
        return timedelta(hours=random.randint(26, 44))
    return timedelta(days=random.randint(3, 12)) if order < FRESH + LATE + BOOKED else None


def _changed_mind(town: Town) -> Reservation:
    """Confirmed and cancelled within two seconds, by somebody who meant another day."""
    venue = town.venue_of(town.guests[CHANGED_MIND])
    return Reservation(
        organization=town.organization,
        customer=town.customers[CHANGED_MIND],
        venue=venue,
        external_id="booking-changed-mind",
        starts_at=_at(venue, town.today(venue) + timedelta(days=6), 21, 0),
        party_size=2,
        status=ReservationState.CANCELLED,
        confirmed_at=town.now - CONFIRMED_AGO,
        cancelled_at=town.now - CANCELLED_AGO,
    )


def _past(town: Town, random: Random, number: int, order: int) -> Reservation:
    venue = town.venue_of(town.guests[number])
    day = town.today(venue) - timedelta(days=random.randint(1, 360))
    starts_at = _at(venue, day, random.choice((13, 14, 20, 21)), random.choice((0, 30)))
    outcomes = (
        ReservationState.COMPLETED,
        ReservationState.CANCELLED,
        ReservationState.NO_SHOW,
    )
    return Reservation(
        organization=town.organization,
        customer=town.customers[number],
        venue=venue,
        external_id=f"booking-{_COMING + order + 1:04d}",
        starts_at=starts_at,
        party_size=random.randint(1, 8),
        status=random.choices(outcomes, (80, 14, 6))[0],
        confirmed_at=starts_at - timedelta(days=random.randint(1, 14)),
    )
