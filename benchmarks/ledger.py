"""A ledger that has been in use for a year: messages and their guards, a month to a partition."""

import uuid

from regulars.lib import sql

MONTHS = 12
SLICE = 500_000

# What the migration kept for older rows makes room for the months of the year gone by.
_OLDER_MONTHS = """
DO $$
DECLARE
  this bigint := regulars_month(now());
BEGIN
  ALTER TABLE messages DETACH PARTITION messages_before;
  FOR month IN this - %(months)s .. this - 1 LOOP
    EXECUTE format('CREATE TABLE messages_%%s_%%s PARTITION OF messages'
                   ' FOR VALUES FROM (%%s) TO (%%s) WITH (fillfactor = 70)',
                   2020 + month / 12, lpad((month %% 12 + 1)::text, 2, '0'), month::bigint << 40,
                   (month + 1)::bigint << 40);
  END LOOP;
  EXECUTE format('ALTER TABLE messages ATTACH PARTITION messages_before'
                 ' FOR VALUES FROM (MINVALUE) TO (%%s)', (this - %(months)s) << 40);
END $$
"""

# Another automation of no family in common wrote these, on the first day of each month.
_FILL = """
WITH moment AS (
  SELECT date_trunc('month', now()) - make_interval(months => %(ago)s) AS at
),
old AS (
  SELECT (regulars_month(moment.at) << 40) + nextval('messages_number') AS id, moment.at, n,
         customer.id AS customer_id, address.address, address.channel
    FROM moment, generate_series(%(first)s, %(last)s) n
    JOIN customers customer ON customer.external_id = (n %% %(guests)s + 1)::text
     AND customer.organization_id = %(organization)s
    JOIN addresses address ON address.customer_id = customer.id
),
guarded AS (
  INSERT INTO occasions (automation_id, customer_id, occasion, kind, message_id)
  SELECT %(automation)s, customer_id, 'old:' || %(ago)s || ':' || n, 'message', id FROM old
)
INSERT INTO messages (id, organization_id, run_id, chunk_number, automation_id, version_id, customer_id,
                      occasion, purpose, channel, account_id, address, venue_id, reference, due_at,
                      expires_at, send_after, state, reason, error, epoch, attempt, provider_id, created_at,
                      accepted_at, state_at)
SELECT id, %(organization)s, %(run)s, 1, %(automation)s, 0, customer_id,
       'old:' || %(ago)s || ':' || n, 'marketing', channel, 0, address, NULL, NULL, at,
       NULL, at, 'delivered', '', '', 1, 1, 'SM' || md5(n::text), at, at, at
  FROM old
"""


def fill(organization: int, guests: int, number: int) -> None:
    """`number` messages, spread evenly over this month and the eleven before."""
    sql.execute(_OLDER_MONTHS % {"months": MONTHS})
    values = {
        "organization": organization,
        "automation": str(uuid.uuid4()),
        "run": str(uuid.uuid4()),
        "guests": guests,
    }
    sql.execute("ANALYZE customers, addresses")
    for ago in range(MONTHS):
        share = number // MONTHS + (1 if ago < number % MONTHS else 0)
        for first in range(1, share + 1, SLICE):
            last = min(first + SLICE - 1, share)
            sql.execute(_FILL, values | {"ago": ago, "first": first, "last": last})
