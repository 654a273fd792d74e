"""How many different guests a business may write to by itself in any 24 hours: WhatsApp's limit.

Meta counts for all numbers of one business portfolio the guests who have not written in the last 24
hours; whoever is written to again within them counts once. What is over it waits until room comes: a
campaign of 5,000 on a limit of 2,000 takes three days, and nobody fails for it.

The count lies in the claim itself: who is claimed is written down in the same transaction, behind a
lock of the portfolio, so that it holds over any number of workers. What was claimed and never left
still counts (for a day): slower than need be, never too fast.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Min

from regulars.automations.models import ProviderAccount
from regulars.lib import sql
from regulars.runs.models import PortfolioContact
from regulars.runs.ways import closed

SPAN = timedelta(hours=24)
# Contacts are kept a little longer than they count.
KEPT = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class RecipientLimit:
    """The most different guests in 24 hours, for all accounts of one portfolio."""

    organization_id: int
    portfolio: str
    most: int

    @property
    def lock(self) -> str:
        """What those who claim for the portfolio take turns by."""
        return f"portfolio {self.organization_id} {self.portfolio}"

    def values(self) -> dict[str, Any]:
        """The parameters of `WITHIN`."""
        return {
            "organization": self.organization_id,
            "portfolio": self.portfolio,
            "recipients": self.most,
        }


def limit_of(account: ProviderAccount) -> RecipientLimit | None:
    """The limit that an account keeps to: the strictest that its portfolio has, by its owner's word or the
    provider's; None: none."""
    kin = ProviderAccount.objects.filter(organization_id=account.organization_id, portfolio=account.portfolio)
    own = kin if account.portfolio else kin.filter(pk=account.pk)
    limits = own.aggregate(set=Min("recipients_per_day"), told=Min("told_recipients_per_day"))
    known = [most for most in limits.values() if most is not None]
    if not known:
        return None
    return RecipientLimit(account.organization_id, account.portfolio or f"account {account.pk}", min(known))


@dataclass(frozen=True, slots=True)
class Room:
    """How many guests count at a moment, and when the first of them counts no more."""

    used: int
    frees_at: datetime | None


def room_of(limit: RecipientLimit, now: datetime) -> Room:
    """What is used of the limit at `now`."""
    recent = PortfolioContact.objects.filter(
        organization_id=limit.organization_id, portfolio=limit.portfolio, at__gt=now - SPAN
    )
    first: datetime | None = recent.aggregate(first=Min("at"))["first"]
    return Room(recent.count(), first + SPAN if first else None)


def days_for(account: ProviderAccount | None, guests: int, now: datetime) -> int:
    """Over how many days the limit spreads so many guests whom we write to from `now` on; 1: today.

    As if nobody else wrote meanwhile and each of them counted.
    """
    limit = limit_of(account) if account is not None else None
    if limit is None:
        return 1
    left = max(0, limit.most - room_of(limit, now).used)
    return 1 + math.ceil(max(0, guests - left) / limit.most)


def forget(now: datetime) -> int:
    """Remove what no longer counts; returns how many rows went."""
    return sql.execute("DELETE FROM portfolio_contacts WHERE at < %(before)s", {"before": now - KEPT})


_HASH = "sha256(convert_to(due.address, 'UTF8'))"
_CONTACT = "contact.organization_id = %(organization)s AND contact.portfolio = %(portfolio)s"

# Between the last look and the claim. Who has just written does not count, who was written to lately
# counts already; of the others as many as there is room for. The rest is asked again when the oldest
# contact is a day old, but not more than once a minute.
WITHIN = f"""
used AS MATERIALIZED (
  SELECT count(*) AS number, min(at) AS oldest FROM portfolio_contacts contact
   WHERE {_CONTACT} AND at > $1 - interval '24 hours'
),
counted AS MATERIALIZED (
  SELECT due.id, {_HASH} AS address_hash,
         judged.objection IS NULL AND due.channel = 'whatsapp' AND NOT EXISTS (
           SELECT 1 FROM addresses address
            WHERE address.customer_id = due.customer_id AND address.channel = due.channel
              AND address.address = due.address AND NOT {closed("address", "$1")}) AS counts,
         EXISTS (SELECT 1 FROM portfolio_contacts contact
                  WHERE {_CONTACT} AND contact.address_hash = {_HASH}
                    AND at > $1 - interval '24 hours') AS known
    FROM due JOIN judged USING (id)
),
allowed AS MATERIALIZED (
  SELECT placed.id, placed.address_hash, placed.counts
    FROM (SELECT counted.*, row_number() OVER (PARTITION BY counts AND NOT known ORDER BY id) AS place
            FROM counted) placed, used
   WHERE NOT placed.counts OR placed.known OR placed.place <= %(recipients)s - used.number
),
contacted AS (
  INSERT INTO portfolio_contacts (organization_id, portfolio, address_hash, at)
  SELECT DISTINCT %(organization)s::bigint, %(portfolio)s, address_hash, $1 FROM allowed WHERE counts
  ON CONFLICT (organization_id, portfolio, address_hash) DO UPDATE SET at = EXCLUDED.at
),"""
# Only these are claimed.
ALLOWED = "AND judged.id IN (SELECT allowed.id FROM allowed)"
# When to ask again, where some had to wait.
RESUME_AT = """(SELECT greatest(used.oldest + interval '24 hours', $1 + interval '1 minute') FROM used
                 WHERE (SELECT count(*) FROM counted) > (SELECT count(*) FROM allowed))"""
NO_LIMIT = {"within": "", "allowed": "", "resume_at": "NULL::timestamptz"}
LIMITED = {"within": WITHIN, "allowed": ALLOWED, "resume_at": RESUME_AT}
