"""What a template may say about visits and bookings: plain values, local to the venue.

Pure: rows of the database go in, values that JSON can carry come out. Dates are `2026-06-15`, times
`21:00`, so that a template can print them or pass them to its `date` filter.
"""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from regulars.hospitality.calendar import observed_birthday
from regulars.lib.clock import local_date


def reservation(row: dict[str, Any]) -> dict[str, Any]:
    """`id`, `date`, `time`, `starts_at` (local, without zone) and `party_size` of a booking."""
    local = row["starts_at"].astimezone(ZoneInfo(row["timezone"])).replace(tzinfo=None)
    return {
        "id": row["reference"],
        "date": local.date().isoformat(),
        "time": f"{local:%H:%M}",
        "starts_at": local.isoformat(timespec="minutes"),
        "party_size": row["party_size"],
    }


def visit(row: dict[str, Any]) -> dict[str, Any]:
    """`id`, `date` (the service day), `amount` (text with two decimals, or None) and `currency`."""
    amount = row["amount"]
    return {
        "id": row["reference"],
        "date": row["service_date"].isoformat(),
        "amount": None if amount is None else f"{amount:.2f}",
        "currency": row["currency"],
    }


def last_visit(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """`date` of the last visit and `days`, how many local days ago that was at `now`."""
    seen: date = row["service_date"]
    today = local_date(now, row["timezone"], row["day_starts_at_hour"])
    return {"date": seen.isoformat(), "days": (today - seen).days}


def birthday(row: dict[str, Any], now: datetime) -> dict[str, Any]:
    """`date` on which the next birthday is kept, its `day` and `month`.

    The message leaves before the local end of that day, and no zone is more than a day behind UTC.
    """
    today = now.astimezone(UTC).date() - timedelta(days=1)
    years = (today.year, today.year + 1)
    dates = (observed_birthday(year, row["birth_month"], row["birth_day"]) for year in years)
    kept = next(date for date in dates if date >= today)
    return {"date": kept.isoformat(), "day": kept.day, "month": kept.month}
