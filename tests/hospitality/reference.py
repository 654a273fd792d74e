"""The five triggers once more: plain Python over lists, slow, one guest at a time.

Written from the rules (who is due, E1 to E20), not from the queries. Knows neither SQL nor the
product's calendar module: dates come from zoneinfo, moments by asking minute after minute.
"""

import calendar
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo


@dataclass(frozen=True)
class Due:
    customer_id: int
    occasion: str
    due_at: datetime
    expires_at: datetime
    venue_id: int | None
    reference: int | None


def day_there(moment, zone, hour=0):
    wall = moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return (wall - timedelta(hours=hour)).date()


def start_of(day, zone, hour=0):
    """The first quarter of an hour that belongs to `day`: every zone's clock jumps at quarters."""
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while day_there(moment, zone, hour) < day:
        moment += timedelta(minutes=15)
    return moment


def completed(visits):
    return [visit for visit in visits if visit.state == "completed"]


def order_of(visit):
    return visit.service_date, visit.visited_at, visit.pk


def inactive(customers, visits, venues, now, *, days, min_visits, max_days, repeat_days):
    found = []
    for customer in customers:
        own = sorted((v for v in completed(visits) if v.customer_id == customer.pk), key=order_of)
        if len(own) < min_visits:
            continue
        last = own[-1]
        venue = next(venue for venue in venues if venue.pk == last.venue_id)
        zone, hour = venue.timezone, venue.day_starts_at_hour
        away = (day_there(now, zone, hour) - last.service_date).days
        if not days <= away <= max_days:
            continue
        repeat = (away - days) // repeat_days if repeat_days else 0
        due_day = last.service_date + timedelta(days=days + repeat * (repeat_days or 0))
        over = last.service_date + timedelta(days=max_days + 1)
        found.append(
            Due(
                customer.pk,
                f"lapse:{last.service_date.isoformat()}" + (f":{repeat}" if repeat else ""),
                start_of(due_day, zone, hour),
                start_of(over, zone, hour),
                venue.pk,
                last.pk,
            )
        )
    return found


def kept_on(year, month, day):
    if month == 2 and day == 29 and not calendar.isleap(year):
        return date(year, 2, 28)
    try:
        return date(year, month, day)
    except ValueError:
        return None


def birthday(customers, venues, zone, now, *, lead_days):
    today = day_there(now, zone)
    found = []
    for customer in customers:
        for year in (today.year - 1, today.year, today.year + 1):
            if customer.birth_month is None or customer.birth_day is None:
                continue
            kept = kept_on(year, customer.birth_month, customer.birth_day)
            if kept is None:
                continue
            still_listed = kept + timedelta(days=max(lead_days, 1))
            if kept - timedelta(days=lead_days) <= today <= still_listed:
                found.append(
                    Due(
                        customer.pk,
                        f"birthday:{year}",
                        start_of(kept - timedelta(days=lead_days), zone),
                        start_of(kept + timedelta(days=1), zone),
                        venues[0].pk if venues else None,
                        customer.pk,
                    )
                )
    return found


def period_of(day, period):
    if period == "month":
        return f"{day.year}-{day.month:02}"
    if period == "quarter":
        return f"{day.year}-Q{ {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 2, 7: 3, 8: 3, 9: 3}.get(day.month, 4) }"
    return f"{day.year}"


def vip_period(customers, venues, zone, now, *, tiers, period):
    today = day_there(now, zone)
    first = after = today
    while period_of(first - timedelta(days=1), period) == period_of(today, period):
        first -= timedelta(days=1)
    while period_of(after, period) == period_of(today, period):
        after += timedelta(days=1)
    return [
        Due(
            customer.pk,
            f"vip:{customer.tier}:{period_of(today, period)}",
            start_of(first, zone),
            start_of(after, zone),
            venues[0].pk if venues else None,
            customer.pk,
        )
        for customer in customers
        if customer.tier in tiers
    ]


def vip_rise(customers, changes, venues, zone, now, *, tiers):
    """`changes` of one guest follow one another: each starts from the tier the one before gave."""
    found = []
    for customer in customers:
        own = sorted((c for c in changes if c.customer_id == customer.pk), key=lambda c: (c.at, c.pk))
        for number, change in enumerate(own):
            if change.tier not in tiers or change.tier != customer.tier:
                continue
            if not now - timedelta(days=60) < change.at <= now:
                continue
            came_from = change.tier_before
            if came_from in tiers and tiers.index(came_from) >= tiers.index(change.tier):
                continue
            # The times at which the guest had this tier before, as (from, to).
            held = [(own[i].at, own[i + 1].at) for i in range(number) if own[i].tier == change.tier]
            if own[0].tier_before == change.tier:
                held.append((datetime.min.replace(tzinfo=UTC), own[0].at))
            if any(end >= change.at - timedelta(days=365) for _, end in held):
                continue
            found.append(
                Due(
                    customer.pk,
                    f"vip:{change.tier}:rise-{day_there(change.at, zone).isoformat()}",
                    change.at,
                    change.at + timedelta(days=30),
                    venues[0].pk if venues else None,
                    customer.pk,
                )
            )
    return found


def post_visit(visits, now, *, delay_hours, max_late_hours):
    found = []
    for visit in completed(visits):
        same_day = [
            other
            for other in completed(visits)
            if (other.customer_id, other.service_date) == (visit.customer_id, visit.service_date)
        ]
        due_at = visit.visited_at + timedelta(hours=delay_hours)
        late = timedelta(hours=max_late_hours)
        if visit == max(same_day, key=order_of) and due_at <= now < due_at + 2 * late:
            found.append(
                Due(
                    visit.customer_id,
                    f"visit:{visit.pk}",
                    due_at,
                    due_at + late,
                    visit.venue_id,
                    visit.pk,
                )
            )
    return found


def reservation_confirmation(reservations, now, *, max_late_hours):
    late = timedelta(hours=max_late_hours)
    return [
        Due(
            booking.customer_id,
            f"reservation:{booking.pk}:confirmed",
            booking.confirmed_at,
            min(booking.confirmed_at + late, booking.starts_at),
            booking.venue_id,
            booking.pk,
        )
        for booking in reservations
        if booking.status == "confirmed"
        and booking.starts_at > now
        and booking.confirmed_at is not None
        and booking.confirmed_at <= now < booking.confirmed_at + 2 * late
    ]


def promised(reservations, now):
    return {
        booking.customer_id
        for booking in reservations
        if booking.status in ("requested", "confirmed") and booking.starts_at > now
    }
