"""What the rest of a run waits for: quiet hours, an account's rate, its day's quota, or its breaker."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from django.db.models import Min

from regulars.automations import triggers
from regulars.automations.models import ProviderAccount
from regulars.customers.models import Purpose
from regulars.lib.clock import local_date
from regulars.runs import portfolios
from regulars.runs.models import AccountBucket, Run, RunState
from regulars.runs.silences import silences


class Why(StrEnum):
    """What holds messages back that are due."""

    QUIET_HOURS = "quiet_hours"
    RATE = "rate"
    DAILY_LIMIT = "daily_limit"
    RECIPIENTS = "recipients"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True)
class Hold:
    """What keeps a run waiting: until when, by which limit, and in the provider's words.

    `account` is empty where it is no account.
    """

    why: Why
    account: str
    until: datetime | None = None
    # Messages per `unit`, where a limit of the owner's is the reason.
    limit: int | None = None
    unit: str = ""
    reason: str = ""

    @property
    def words(self) -> str:
        """For people, in English."""
        match self.why:
            case Why.QUIET_HOURS:
                return "It is quiet hours: the next messages leave when they are over"
            case Why.RATE:
                return f"{self.account} sends at most {self.limit} a {self.unit}"
            case Why.RECIPIENTS:
                return (
                    f"{self.account} has written to {self.limit} guests in 24 hours, as many as WhatsApp "
                    "allows; the rest leaves as room comes"
                )
            case Why.DAILY_LIMIT:
                return f"{self.account} has sent the {self.limit} of today; the rest leaves tomorrow"
        return f"{self.account} is not used for the moment: {self.reason}"


def holds(run: Run, now: datetime) -> list[Hold]:
    """What keeps back the messages of a run under way, each account once, the most serious reason."""
    if run.state not in (RunState.PLANNING, RunState.SENDING, RunState.WAITING):
        return []
    if until := _quiet_until(run, now):
        return [Hold(Why.QUIET_HOURS, "", until)]
    used = run.chunks.filter(closed=False).values("account_id")
    accounts = ProviderAccount.objects.select_related("organization", "bucket").filter(pk__in=used)
    found = (_hold(account, now) for account in accounts.order_by("position", "pk"))
    return [hold for hold in found if hold is not None]


def _quiet_until(run: Run, now: datetime) -> datetime | None:
    """When the next message leaves, where nothing can before and somebody is in quiet hours."""
    trigger = triggers.get(run.automation.trigger)
    until: datetime | None = run.chunks.filter(closed=False).aggregate(first=Min("next_due"))["first"]
    if trigger.purpose != Purpose.MARKETING or until is None or until <= now:
        return None
    return until if any(silences(run.automation.organization, now).values()) else None


def _hold(account: ProviderAccount, now: datetime) -> Hold | None:
    bucket: AccountBucket | None = getattr(account, "bucket", None)
    if bucket is not None and bucket.paused_until and bucket.paused_until > now:
        return Hold(Why.BREAKER, account.name, bucket.paused_until, reason=bucket.pause_reason)
    zone = account.organization.timezone
    used = bucket.day_used if bucket is not None and bucket.day == local_date(now, zone) else 0
    if account.per_day and used >= account.per_day:
        return Hold(Why.DAILY_LIMIT, account.name, _tomorrow(now, zone), account.per_day, "day")
    recipients = portfolios.limit_of(account)
    if recipients is not None:
        room = portfolios.room_of(recipients, now)
        if room.used >= recipients.most:
            return Hold(Why.RECIPIENTS, account.name, room.frees_at, recipients.most, "day")
    if account.per_second or account.per_minute:
        return Hold(Why.RATE, account.name, None, *_rate(account))
    return None


def _rate(account: ProviderAccount) -> tuple[int | None, str]:
    """The stricter of the two."""
    if account.per_minute and (not account.per_second or account.per_minute < account.per_second * 60):
        return account.per_minute, "minute"
    return account.per_second, "second"


def _tomorrow(now: datetime, zone: str) -> datetime:
    midnight = datetime.combine(local_date(now, zone) + timedelta(days=1), time(), ZoneInfo(zone))
    return midnight.astimezone(now.tzinfo)
