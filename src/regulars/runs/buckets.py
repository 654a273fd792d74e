"""What the lanes of all workers share about an account: its rate, its day's quota, its breaker.

The bucket lives in the database, so it holds over any number of workers and survives restarts. A
reservation is a transaction of its own before the claim; a crash forfeits what it had reserved,
which makes the account slower for a moment and never faster.
"""

import math
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection

from regulars.lib import clock

# Slots are a little further apart than the limit asks: thirteen milliseconds in each second. A second
# sees one message too many only if one is later, by more than that, than the one fifty (or whatever
# the limit is) after it. So no call begins later than eight behind its slot; five are for the way.
_HEADROOM = 0.987
# A slot missed by more than this is given up; catching up would be a burst.
_LATENESS = 0.008
# How much of a second one reservation takes, so that several lanes share the account fairly; and how
# long before the last reserved moment it is time for more.
_SHARE = 0.25
_LOW = 0.25

# One for all lanes of the process: the longer it is watched, the more exact.
_database_clock = clock.DatabaseClock()


@dataclass(frozen=True, slots=True)
class Limits:
    """What an account may send: messages per second, per minute, per local day; None: no limit.

    The stricter of second and minute spaces the messages evenly, which keeps both at any time.
    `zone` says when the account's day ends.
    """

    per_second: int | None = None
    per_minute: int | None = None
    per_day: int | None = None
    zone: str = "UTC"

    @property
    def rate(self) -> float | None:
        """Messages per second, or None where only the day counts."""
        rates = [self.per_second, self.per_minute and self.per_minute / 60]
        return min((rate for rate in rates if rate), default=None)

    @property
    def spacing(self) -> float:
        """Seconds between two messages; 0 where only the day counts."""
        return 1 / (self.rate * _HEADROOM) if self.rate else 0.0

    def __bool__(self) -> bool:
        return bool(self.per_second or self.per_minute or self.per_day)


@dataclass
class Slots:
    """The moments (on the clock that counts suspension) at which this lane may call."""

    limits: Limits
    account_id: int
    moments: deque[float] = field(default_factory=deque)
    # Where nothing was granted: when to ask again.
    resume_at: datetime | None = None
    # The last moment that was granted, whether it has been taken or not.
    _last: float = 0.0
    _made: bool = False

    async def reserve(self, database: AsyncConnection[Any], wanted: int) -> int:
        """Reserve so many, if what is reserved runs low; returns how many moments are at hand now."""
        missing = min(wanted, self._share()) - self.at_hand
        if missing > 0 and self.run_low:
            await self._ask(database, missing)
        return len(self.moments)

    @property
    def at_hand(self) -> int:
        """How many reserved moments have not passed."""
        self._forget_missed()
        return len(self.moments)

    def _share(self) -> int:
        rate = self.limits.rate
        return max(1, math.ceil(rate * _SHARE)) if rate else 64

    async def _ask(self, database: AsyncConnection[Any], wanted: int) -> None:
        values = {
            "account": self.account_id,
            "wanted": wanted,
            "spacing": self.limits.spacing,
            "per_day": self.limits.per_day,
            "zone": self.limits.zone,
        }
        if not self._made:
            await database.execute(_MAKE_BUCKET, values)
            self._made = True
        row = await (await database.execute(_RESERVE, values)).fetchone()
        if row is None:
            return
        # Not counted from the answer's arrival: one slow answer would bring all of its slots nearer to
        # those that a quick one grants next.
        _database_clock.see(row["database_now"])
        first = _database_clock.boot_seconds(row["first_slot"])
        self.moments.extend(first + number * self.limits.spacing for number in range(row["number"]))
        self._last = self.moments[-1] if row["number"] else self._last
        self.resume_at = row["resume_at"]

    @property
    def run_low(self) -> bool:
        """Whether it is time to reserve more, before a moment passes that nobody has reserved.

        By the clock, not by what is left: callers take their moments long before they come, and a lane
        that asked each time would spend on asking what it needs to be in time.
        """
        return bool(self.limits) and self._last < clock.boot_seconds() + _LOW

    def moments_soon(self, now: datetime) -> bool:
        """Whether the account only has to wait for its rate, not for its next day."""
        return self.resume_at is None or self.resume_at - now < timedelta(seconds=2)

    def take(self, wanted: int = 1) -> list[float]:
        """The next moments, at most `wanted`; none when more must be reserved."""
        self._forget_missed()
        return [self.moments.popleft() for _ in range(min(wanted, len(self.moments)))]

    def missed(self, moment: float) -> bool:
        """Whether a call now would be too late for the moment it was given."""
        return self.limits.spacing > 0 and clock.boot_seconds() > moment + _LATENESS

    def _forget_missed(self) -> None:
        while self.moments and self.missed(self.moments[0]):
            self.moments.popleft()


async def open_breaker(
    database: AsyncConnection[Any], account_id: int, reason: str, pause: timedelta
) -> None:
    """Let nobody use the account for `pause`, doubled with each strike up to five minutes."""
    seconds = pause.total_seconds()
    await database.execute(_OPEN_BREAKER, {"account": account_id, "reason": reason, "pause": seconds})


async def close_breaker(database: AsyncConnection[Any], account_id: int) -> None:
    """The account works again."""
    await database.execute(_CLOSE_BREAKER, {"account": account_id})


# Lanes that fail together are one strike; a longer pause that the provider asked for is kept.
_OPEN_BREAKER = """
INSERT INTO account_buckets AS bucket (account_id, strikes, pause_reason, paused_until)
VALUES (%(account)s, 1, %(reason)s, clock_timestamp() + make_interval(secs => %(pause)s))
ON CONFLICT (account_id) DO UPDATE
   SET strikes = CASE WHEN bucket.paused_until > clock_timestamp() THEN bucket.strikes
                      ELSE least(bucket.strikes + 1, 9) END,
       pause_reason = EXCLUDED.pause_reason,
       paused_until = greatest(bucket.paused_until, clock_timestamp() + make_interval(secs =>
         CASE WHEN bucket.paused_until > clock_timestamp() THEN %(pause)s
              ELSE greatest(%(pause)s, least(%(pause)s * 2 ^ bucket.strikes, 300)) END))
"""

_CLOSE_BREAKER = """
UPDATE account_buckets SET strikes = 0, pause_reason = '', paused_until = NULL
 WHERE account_id = %(account)s AND strikes > 0
   AND (paused_until IS NULL OR paused_until <= clock_timestamp())
"""

_MAKE_BUCKET = "INSERT INTO account_buckets (account_id) VALUES (%(account)s) ON CONFLICT DO NOTHING"

# Reserve up to `wanted` evenly spaced slots of the account's rate, none later than a second ahead,
# and their share of the local day. Slots that nobody used are not made up for.
_RESERVE = """
WITH bucket AS MATERIALIZED (
  SELECT greatest(next_slot, clock_timestamp()) AS first_slot,
         CASE WHEN day = today THEN day_used ELSE 0 END AS used, today
    FROM account_buckets, LATERAL (SELECT (clock_timestamp() AT TIME ZONE %(zone)s)::date AS today) local
   WHERE account_id = %(account)s
     FOR UPDATE OF account_buckets
),
size AS (
  SELECT *, greatest(0, least(
           %(wanted)s, %(per_day)s::int - used,
           CASE WHEN %(spacing)s > 0 THEN
             floor((1 - extract(epoch FROM first_slot - clock_timestamp())) / %(spacing)s)::int + 1 END
         )) AS number
    FROM bucket
)
UPDATE account_buckets bucket
   SET next_slot = size.first_slot + make_interval(secs => size.number * %(spacing)s),
       day = size.today, day_used = size.used + size.number
  FROM size WHERE bucket.account_id = %(account)s
RETURNING size.number, extract(epoch FROM size.first_slot)::float AS first_slot,
          extract(epoch FROM clock_timestamp())::float AS database_now,
          CASE WHEN size.number > 0 THEN NULL
               WHEN size.used >= %(per_day)s::int THEN (size.today + 1)::timestamp AT TIME ZONE %(zone)s
               ELSE size.first_slot END AS resume_at
"""
