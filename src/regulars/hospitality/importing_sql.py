"""The statements that merge a batch of visits or reservations, in the order of their use."""

WORKING_COLUMNS = (
    ("customer_id", "bigint"),
    ("known_id", "bigint"),
    ("is_new", "boolean NOT NULL DEFAULT false"),
    ("changed", "boolean NOT NULL DEFAULT false"),
)

FIND_CUSTOMERS = """
UPDATE import_staging s SET customer_id = c.id
FROM customers c
WHERE c.organization_id = %(organization)s AND c.external_id = s.customer_external_id
"""
REFUSE_STRANGERS = "DELETE FROM import_staging WHERE customer_id IS NULL RETURNING line, customer_external_id"
COUNT = """
SELECT count(*) FILTER (WHERE is_new) AS new,
    count(*) FILTER (WHERE NOT is_new AND changed) AS changed,
    count(*) FILTER (WHERE NOT is_new AND NOT changed) AS unchanged
FROM import_staging
"""
ANSWERS = "SELECT line, known_id AS id, customer_id, is_new, changed FROM import_staging"
# Asked before the new ones are inserted, and once more after: what somebody else brought in
# meanwhile is known, too.
_FIND = """
UPDATE import_staging s SET known_id = k.id,
    venue_id = CASE WHEN s.venue_given THEN s.venue_id ELSE k.venue_id END
FROM {table} k
WHERE s.known_id IS NULL AND k.organization_id = %(organization)s AND k.external_id = s.external_id
"""
_INSERT = """
WITH written AS (
    {insert}
    ON CONFLICT (organization_id, external_id) DO NOTHING
    RETURNING id, external_id
)
UPDATE import_staging s SET known_id = w.id, is_new = true FROM written w WHERE w.external_id = s.external_id
"""

# The set form of `lib.clock.local_date` with the venue's zone and hour.
_SERVICE_DATE = """
    (s.visited_at AT TIME ZONE v.timezone - make_interval(hours => v.day_starts_at_hour))::date
"""
_INSERT_VISITS = _INSERT.format(
    insert=f"""
INSERT INTO visits (organization_id, customer_id, venue_id, external_id, visited_at, service_date,
    amount, currency, party_size, state)
SELECT %(organization)s, s.customer_id, s.venue_id, s.external_id, s.visited_at, {_SERVICE_DATE},
    s.amount, coalesce(s.currency, ''), s.party_size, 'completed'
FROM import_staging s JOIN venues v ON v.id = s.venue_id
WHERE s.known_id IS NULL ORDER BY s.line
"""
)
_UPDATE_VISITS = f"""
WITH wanted AS (
    SELECT s.known_id, s.customer_id, s.venue_id, s.visited_at, {_SERVICE_DATE} AS service_date,
        coalesce(s.amount, k.amount) AS amount, coalesce(s.currency, k.currency) AS currency,
        coalesce(s.party_size, k.party_size) AS party_size
    FROM import_staging s JOIN visits k ON k.id = s.known_id JOIN venues v ON v.id = s.venue_id
    WHERE NOT s.is_new
), written AS (
    UPDATE visits k SET customer_id = w.customer_id, venue_id = w.venue_id,
        visited_at = w.visited_at, service_date = w.service_date, amount = w.amount,
        currency = w.currency, party_size = w.party_size
    FROM wanted w
    WHERE k.id = w.known_id AND (k.customer_id, k.venue_id, k.visited_at, k.service_date, k.amount,
            k.currency, k.party_size)
        IS DISTINCT FROM (w.customer_id, w.venue_id, w.visited_at, w.service_date, w.amount,
            w.currency, w.party_size)
    RETURNING k.id
)
UPDATE import_staging SET changed = true WHERE known_id IN (SELECT id FROM written)
"""
_FIND_VISITS = _FIND.format(table="visits")
VISIT_STEPS = (_FIND_VISITS, _INSERT_VISITS, _FIND_VISITS, _UPDATE_VISITS)

# Of what is told as it happens the moment is known (`least` passes over null); of other new rows only
# if they say it.
_INSERT_RESERVATIONS = _INSERT.format(
    insert="""
INSERT INTO reservations (organization_id, customer_id, venue_id, external_id, starts_at, party_size,
    status, confirmed_at, revision, updated_at)
SELECT %(organization)s, customer_id, venue_id, external_id, starts_at, party_size,
    coalesce(status, 'confirmed'),
    CASE WHEN %(live)s AND coalesce(status, 'confirmed') = 'confirmed'
         THEN least(confirmed_at, %(now)s) ELSE confirmed_at END,
    0, %(now)s
FROM import_staging WHERE known_id IS NULL ORDER BY line
"""
)
# A change is news for the guest only if the booking was confirmed before, and so is a cancellation. One
# that was cancelled and is taken up again was confirmed before: that is a change, not a new booking.
_UPDATE_RESERVATIONS = """
WITH wanted AS (
    SELECT s.known_id, s.customer_id, s.venue_id, s.starts_at,
        coalesce(s.party_size, k.party_size) AS party_size, coalesce(s.status, k.status) AS status,
        CASE WHEN s.status = 'confirmed' AND k.status <> 'confirmed' AND k.cancelled_at IS NULL
             THEN coalesce(s.confirmed_at, %(now)s) ELSE coalesce(s.confirmed_at, k.confirmed_at)
        END AS confirmed_at,
        (k.starts_at, k.venue_id, k.party_size)
            IS DISTINCT FROM (s.starts_at, s.venue_id, coalesce(s.party_size, k.party_size)) AS moved,
        s.status = 'confirmed' AND k.cancelled_at IS NOT NULL AS revived
    FROM import_staging s JOIN reservations k ON k.id = s.known_id
    WHERE NOT s.is_new
), written AS (
    UPDATE reservations k SET customer_id = w.customer_id, venue_id = w.venue_id,
        starts_at = w.starts_at, party_size = w.party_size, status = w.status,
        confirmed_at = w.confirmed_at, updated_at = %(now)s,
        revision = k.revision + CASE WHEN w.moved OR w.revived THEN 1 ELSE 0 END,
        changed_at = CASE WHEN w.moved AND k.status = 'confirmed' OR w.revived THEN %(now)s
                          ELSE k.changed_at END,
        cancelled_at = CASE WHEN w.status <> 'cancelled' THEN NULL
                            WHEN k.status = 'confirmed' THEN %(now)s ELSE k.cancelled_at END
    FROM wanted w
    WHERE k.id = w.known_id AND (k.customer_id, k.venue_id, k.starts_at, k.party_size, k.status,
            k.confirmed_at)
        IS DISTINCT FROM (w.customer_id, w.venue_id, w.starts_at, w.party_size, w.status,
            w.confirmed_at)
    RETURNING k.id
)
UPDATE import_staging SET changed = true WHERE known_id IN (SELECT id FROM written)
"""
_FIND_RESERVATIONS = _FIND.format(table="reservations")
RESERVATION_STEPS = (
    _FIND_RESERVATIONS,
    _INSERT_RESERVATIONS,
    _FIND_RESERVATIONS,
    _UPDATE_RESERVATIONS,
)
