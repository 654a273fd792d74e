"""What was taken is applied: facts to the ledger, bounces and complaints to the suppressions, words kept.

Everything here may be repeated with the same effect, so a callback is claimed for a minute, applied, and
then done; whoever dies in between leaves it to be claimed again. One that cannot be applied holds up no
other: it is tried again with growing pauses, and in the end keeps its problem for a person to read.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from asgiref.sync import async_to_sync
from django.db import OperationalError, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable

from regulars.automations.callback_access import access_of
from regulars.automations.models import ProviderAccount
from regulars.callbacks import certificates, inbound, opting, vendor_news
from regulars.callbacks.certificates import UnreachableError
from regulars.callbacks.opting import Place
from regulars.customers import suppression
from regulars.lib import sql
from regulars.providers import callbacks
from regulars.providers.callbacks import (
    AccountNews,
    Choice,
    Event,
    Fact,
    Inbound,
    MalformedError,
    Request,
    Subscription,
    TemplateNews,
    Unread,
)
from regulars.runs import engine
from regulars.runs.models import Message

log = structlog.get_logger("regulars.callbacks")

MOST_AT_ONCE = 500
MOST_BYTES = 8 * 1024 * 1024
LEASE = timedelta(minutes=1)
# After the first, second, ... time that it could not be applied; afterwards it is given up.
PAUSES = tuple(timedelta(seconds=seconds) for seconds in (2, 10, 60, 300, 1_800))
# Somebody is writing the message: soon again, and that ends by itself.
_BUSY = timedelta(seconds=1)
_MOST_TRIES = 30


@dataclass(slots=True)
class Work:
    """One claimed callback, what it tells, and what became of it."""

    row: dict[str, Any]
    account: ProviderAccount
    events: Sequence[Event] = ()
    problem: str = ""
    # When it is to be tried again; None: it is over.
    again: timedelta | None = None
    # It tells only what is not to be known: then it is not kept either.
    forget: bool = False

    def fail(self, problem: str, *, for_good: bool = False) -> None:
        """Something in it could not be applied; the worst of several counts."""
        tries = self.row["tries"]
        pause = None if for_good or tries > len(PAUSES) else PAUSES[tries - 1]
        self.problem = problem[:300]
        self.again = max(pause, self.again) if pause and self.again else pause or self.again

    def wait(self) -> None:
        """Again in a moment, however often that happens within reason."""
        if self.row["tries"] < _MOST_TRIES:
            self.again = self.again or _BUSY


@dataclass(slots=True)
class Applied:
    """How many callbacks were looked at, and whether confirmations wait to be sent."""

    number: int = 0
    replies: bool = False
    problems: list[str] = field(default_factory=list)


def apply_due(now: datetime) -> Applied:
    """Apply one batch of what is due."""
    claimed = _claim(now)
    done = Applied(len(claimed))
    _report(claimed, now)
    for work in claimed:
        for event in work.events:
            done.replies = _apply(work, event, now) or done.replies
        if work.problem:
            done.problems.append(work.problem)
    _finish(claimed, now)
    return done


def _claim(now: datetime) -> list[Work]:
    values = {"now": now, "until": now + LEASE, "most": MOST_AT_ONCE, "bytes": MOST_BYTES}
    rows = sorted(sql.fetch_rows(_CLAIM, values), key=lambda row: row["id"])
    accounts = ProviderAccount.objects.select_related("callback_access", "organization").in_bulk(
        {row["account_id"] for row in rows}
    )
    sql.execute(_ORPHANS, {"ids": [row["id"] for row in rows if row["account_id"] not in accounts]})
    return [_read(Work(row, accounts[row["account_id"]])) for row in rows if row["account_id"] in accounts]


def _read(work: Work) -> Work:
    """What the request tells; opens and clicks only where the owner wants to know."""
    row, handler = work.row, callbacks.handler(work.account.kind)
    request = Request("POST", f"?{row['query']}", row["headers"], bytes(row["body"]))
    try:
        told = handler.events(request) if handler else []
    except MalformedError as problem:
        work.fail(str(problem), for_good=True)
        return work
    except Exception as problem:
        # A vendor's surprise: kept, said, and no reason to stop.
        log.exception("a callback could not be read", callback=row["id"], kind=work.account.kind)
        work.fail(f"It could not be read: {type(problem).__name__}", for_good=True)
        return work
    watched = access_of(work.account).tracking
    work.events = [one for one in told if watched or not (isinstance(one, Fact) and one.tracked)]
    work.forget = bool(told) and not work.events
    return work


def _report(claimed: Sequence[Work], now: datetime) -> None:
    """All facts about messages in one go; if that fails, each callback by itself."""
    told = [
        (work, fact, _news(work.account, fact))
        for work in claimed
        for fact in work.events
        if isinstance(fact, Fact) and fact.report is not None
    ]
    try:
        answers = engine.report_all([news for _, _, news in told], now)
    except OperationalError as problem:
        _require_deadlock(problem)
        for work in claimed:
            work.wait()
        return
    except Exception:
        if len(claimed) == 1:
            log.exception("a callback could not be applied", callback=claimed[0].row["id"])
            claimed[0].fail("Its facts could not be written.")
            return
        for work in claimed:
            _report([work], now)
        return
    for (work, fact, _), answer in zip(told, answers, strict=True):
        if answer is engine.Unheard.BUSY:
            work.wait()
        elif answer is engine.Unheard.NO_SUCH_MESSAGE:
            # With our own id it would be there; the provider's number may not have been written yet.
            work.fail("It is about no message of ours.", for_good=fact.message_id is not None)


def _require_deadlock(problem: OperationalError) -> None:
    """Whoever lost against another goes again; without a database nobody need try the next."""
    if not isinstance(problem.__cause__, DeadlockDetected | LockNotAvailable):
        raise problem


def _news(account: ProviderAccount, fact: Fact) -> engine.News:
    assert fact.report is not None
    return engine.News(
        fact.report,
        message_id=fact.message_id,
        organization_id=account.organization_id,
        provider_id=_clean(fact.provider_id)[:255],
        address=_clean(fact.address),
        key=_clean(f"callback:{fact.key}")[:255],
        attempt=fact.attempt,
        words=_clean(fact.words),
    )


def _clean(text: str) -> str:
    """Without what the database cannot keep."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _apply(work: Work, event: Event, now: datetime) -> bool:
    """What follows from one event beside the ledger; whether a confirmation waits."""
    try:
        return _follow(work, event, now)
    except OperationalError as problem:
        _require_deadlock(problem)
        work.wait()
    except UnreachableError as problem:
        work.fail(f"The subscription could not be confirmed: {problem}")
    except Exception as problem:
        log.exception("a callback could not be applied", callback=work.row["id"])
        work.fail(f"It could not be applied: {type(problem).__name__}")
    return False


def _follow(work: Work, event: Event, now: datetime) -> bool:
    match event:
        case Fact():
            _suppress(work.account, event, min(event.at or now, now))
        case Subscription():
            async_to_sync(certificates.fetch)(event.url)
            log.info("a subscription was confirmed", account=work.account.pk)
        case TemplateNews():
            vendor_news.template(work.account, event, _moment(event.at, work, now))
        case AccountNews():
            if not vendor_news.accounts(work.account, event, _moment(event.at, work, now)):
                work.fail("It is about a business that no account here belongs to.", for_good=True)
        case Unread():
            work.fail(f"Kept, and read by nobody: {_clean(event.what)}", for_good=True)
        case Inbound() | Choice():
            access = access_of(work.account)
            return inbound.take(_cleaned(event), work.account, access, work.row["received_at"])
    return False


def _moment(at: datetime | None, work: Work, now: datetime) -> datetime:
    """When it was told; a clock that is fast elsewhere must not make all that follows old."""
    received: datetime = work.row["received_at"]
    return min(at or received, now)


def _cleaned(event: Inbound | Choice) -> Inbound | Choice:
    key = _clean(event.key)[:255]
    if isinstance(event, Choice):
        return replace(event, key=key, words=_clean(event.words))
    return replace(event, key=key, text=_clean(event.text))


def _suppress(account: ProviderAccount, fact: Fact, at: datetime) -> None:
    """Bounces for good and complaints stop everything on the channel; an opt-out stops marketing."""
    if not (fact.bad_address or fact.complaint or fact.opt_out):
        return
    address = _clean(fact.address) or _address_of(account, fact)
    if not address:
        return
    place = Place(account.organization, fact.channel, address)
    source = f"{account.kind} callback"
    with transaction.atomic():
        place.hold()
        if fact.opt_out:
            opting.stop(place, place.customers(), at, source)
        if fact.complaint or fact.bad_address:
            _suppress_for_good(place, "complaint" if fact.complaint else "bounce", source)


def _suppress_for_good(place: Place, reason: str, source: str) -> None:
    """A harder stop takes the place of an opt-out: an address that bounces gets no confirmation either."""
    for row in place.suppressions():
        if row.channel == place.channel and row.reason == opting.OPT_OUT:
            row.delete()
    suppression.suppress(place.organization, place.address, place.channel, reason, source)


def _address_of(account: ProviderAccount, fact: Fact) -> str:
    """Where the provider does not name it: that of our message."""
    mine = Message.objects.filter(organization_id=account.organization_id, channel=fact.channel)
    rows = mine.filter(pk=fact.message_id or 0)
    return rows.values_list("address", flat=True).first() or ""


def _finish(claimed: Sequence[Work], now: datetime) -> None:
    """Only for the claim that did it: one that took longer than its lease may be somebody else's by now."""
    rows = [
        {
            "id": work.row["id"],
            "tries": work.row["tries"],
            "due_at": (now + work.again).isoformat() if work.again else None,
            "problem": work.problem,
            "forget": work.forget,
        }
        for work in claimed
    ]
    if rows:
        sql.execute(_FINISH, {"rows": json.dumps(rows)})


def forget(before: datetime, at_latest: datetime) -> int:
    """Remove what was applied and came in before `before`, and all that did before `at_latest`."""
    total = 0
    while number := sql.execute(_FORGET, {"before": before, "at_latest": at_latest}):
        total += number
    return total


# Whole bodies are read, so their sum is bounded as well as their number.
_CLAIM = """
WITH due AS MATERIALIZED (
  SELECT id, octet_length(body) AS size FROM callbacks
   WHERE due_at <= %(now)s ORDER BY due_at, id LIMIT %(most)s FOR UPDATE SKIP LOCKED
),
fitting AS (
  SELECT id, sum(size) OVER (ORDER BY id) - size AS before FROM due
)
UPDATE callbacks callback SET due_at = %(until)s, tries = tries + 1
  FROM fitting
 WHERE callback.id = fitting.id AND fitting.before < %(bytes)s
RETURNING callback.id, callback.account_id, callback.query, callback.headers, callback.body,
          callback.received_at, callback.tries
"""

# The account went away after the request was taken: it tells nobody anything.
_ORPHANS = "DELETE FROM callbacks WHERE id = ANY (%(ids)s::bigint[])"

_FINISH = """
UPDATE callbacks callback
   SET due_at = done.due_at, problem = done.problem,
       body = CASE WHEN done.forget THEN ''::bytea ELSE callback.body END
  FROM jsonb_to_recordset(%(rows)s::jsonb)
       AS done (id bigint, tries int, due_at timestamptz, problem text, forget boolean)
 WHERE callback.id = done.id AND callback.tries = done.tries
"""

_FORGET = """
DELETE FROM callbacks WHERE id IN (
  SELECT id FROM callbacks
   WHERE (received_at < %(before)s AND due_at IS NULL) OR received_at < %(at_latest)s
   ORDER BY id LIMIT 10000)
"""
