"""The statements that merge a batch of customers. `{p}` parameters are named; see `customers`.

Passes: 1 rows with an external id, 2 without but with an e-mail address, 3 with a phone but neither,
4 with a WhatsApp user id only. Later passes find the guests that earlier ones brought in.

Look-ups are subqueries row by row (OFFSET 0 keeps them so): each is one step in a unique index,
while a join planned without statistics, as in a first import, reads all guests for each row.
"""

from regulars.customers.consent_sql import CURRENT

# A guest who was merged into another is that one (`runs.merging`).
FIND_BY_EXTERNAL_ID = """
UPDATE import_staging s SET customer_id = (
    SELECT coalesce(c.merged_into_id, c.id) FROM customers c
    WHERE c.organization_id = %(organization)s AND c.external_id = s.external_id)
WHERE s.pass = 1
"""

# A guest who came without an external id (an older list, the interface) takes the one of the row,
# by equal e-mail, or by equal name and phone where no e-mail speaks against it (E24).
FIND_BY_ADDRESS = """
UPDATE import_staging s SET customer_id = found.ids[1], candidates = cardinality(found.ids)
FROM (
    SELECT s.line, array_agg(DISTINCT c.id) AS ids
    FROM import_staging s
    CROSS JOIN LATERAL (
        SELECT a.customer_id FROM addresses a
        WHERE a.organization_id = %(organization)s AND a.address = s.{address}
            AND a.channel = '{channel}' {within} OFFSET 0) a
    JOIN customers c ON c.id = a.customer_id
    WHERE s.pass = %(pass)s AND s.customer_id IS NULL AND s.candidates = 0
        AND (s.pass > 1 OR c.external_id IS NULL) {further}
    GROUP BY s.line
) found
WHERE found.line = s.line
"""
BY_EMAIL = FIND_BY_ADDRESS.format(address="email", channel="email", within="", further="")
BY_PHONE = FIND_BY_ADDRESS.format(
    address="phone",
    channel="sms",
    within="",
    further="""
        AND (s.email IS NULL OR NOT EXISTS (
            SELECT FROM addresses e WHERE e.customer_id = c.id AND e.channel = 'email'))
        AND (s.pass = 3 OR (c.external_id IS NULL
            AND lower(c.first_name) = lower(coalesce(s.first_name, ''))
            AND lower(c.last_name) = lower(coalesce(s.last_name, ''))))
""",
)
BY_USER_ID = FIND_BY_ADDRESS.format(
    address="whatsapp_user_id",
    channel="whatsapp",
    within="AND a.portfolio = s.whatsapp_portfolio",
    further="",
)

# Several guests have the address: with an external id the row is a further guest, without one
# nobody can say whom it means.
FORGET_SEVERAL = "UPDATE import_staging SET customer_id = NULL WHERE candidates > 1 AND pass = %(pass)s"
REFUSE_SEVERAL = """
DELETE FROM import_staging WHERE candidates > 1 AND pass = %(pass)s AND pass > 1
RETURNING line, CASE pass WHEN 2 THEN 'email' WHEN 3 THEN 'phone' ELSE 'whatsapp_user_id' END AS column
"""

LOCK = """
SELECT id FROM customers WHERE id IN (SELECT customer_id FROM import_staging WHERE pass = %(pass)s)
ORDER BY id FOR NO KEY UPDATE
"""

NUMBER_NEW = """
UPDATE import_staging SET is_new = true, customer_id = nextval(pg_get_serial_sequence('customers', 'id'))
WHERE pass = %(pass)s AND customer_id IS NULL
"""
INSERT_NEW = """
INSERT INTO customers (id, organization_id, external_id, first_name, last_name, birth_month, birth_day,
    birth_year, language, timezone, tier, tags, do_not_contact, do_not_contact_reason, created_at, updated_at)
SELECT customer_id, %(organization)s, external_id, coalesce(first_name, ''), coalesce(last_name, ''),
    birth_month, birth_day, birth_year, coalesce(language, ''), '', coalesce(tier, ''),
    coalesce(tags, '{}'), false, '', %(now)s, %(now)s
FROM import_staging WHERE pass = %(pass)s AND is_new ORDER BY line
ON CONFLICT (organization_id, external_id) DO NOTHING
"""
# The API brought the same guest in meanwhile: theirs is the row.
ADOPT_MEANWHILE = """
UPDATE import_staging s SET is_new = false, customer_id = (
    SELECT coalesce(c.merged_into_id, c.id) FROM customers c
    WHERE c.organization_id = %(organization)s AND c.external_id = s.external_id)
WHERE s.pass = 1 AND s.is_new
    AND NOT EXISTS (SELECT FROM customers c WHERE c.id = s.customer_id)
"""

# Not for new guests: bringing in a base of old regulars is not a rise of each (E51).
RECORD_TIERS = """
INSERT INTO tier_changes (customer_id, tier_before, tier, at)
SELECT c.id, c.tier, s.tier, %(now)s
FROM import_staging s JOIN customers c ON c.id = s.customer_id
WHERE s.pass = %(pass)s AND NOT s.is_new AND s.tier <> c.tier
"""

# An empty cell is no statement: what is known stays.
UPDATE_KNOWN = """
WITH wanted AS (
    SELECT c.id, coalesce(c.external_id, s.external_id) AS external_id,
        coalesce(s.first_name, c.first_name) AS first_name,
        coalesce(s.last_name, c.last_name) AS last_name,
        coalesce(s.birth_month, c.birth_month) AS birth_month,
        coalesce(s.birth_day, c.birth_day) AS birth_day,
        CASE WHEN s.birth_month IS NULL THEN c.birth_year
             WHEN (s.birth_month, s.birth_day) IS NOT DISTINCT FROM (c.birth_month, c.birth_day)
             THEN coalesce(s.birth_year, c.birth_year) ELSE s.birth_year END AS birth_year,
        coalesce(s.language, c.language) AS language, coalesce(s.tier, c.tier) AS tier,
        coalesce(s.tags, c.tags) AS tags
    FROM import_staging s JOIN customers c ON c.id = s.customer_id
    WHERE s.pass = %(pass)s AND NOT s.is_new
), written AS (
    UPDATE customers c SET external_id = w.external_id, first_name = w.first_name,
        last_name = w.last_name, birth_month = w.birth_month, birth_day = w.birth_day,
        birth_year = w.birth_year, language = w.language, tier = w.tier, tags = w.tags,
        updated_at = %(now)s
    FROM wanted w
    WHERE c.id = w.id AND (c.external_id, c.first_name, c.last_name, c.birth_month, c.birth_day,
            c.birth_year, c.language, c.tier, c.tags::text[])
        IS DISTINCT FROM (w.external_id, w.first_name, w.last_name, w.birth_month, w.birth_day,
            w.birth_year, w.language, w.tier, w.tags::text[])
    RETURNING c.id
)
UPDATE import_staging SET changed = true WHERE customer_id IN (SELECT id FROM written)
"""

_ADDRESSES = """
    SELECT s.customer_id, v.channel, v.address, v.fingerprint, v.bad_reason, v.portfolio, v.position
    FROM import_staging s CROSS JOIN LATERAL (VALUES
        ('email', s.email, s.email_fingerprint, '', '', 0),
        ('sms', s.phone, s.phone_fingerprint, s.phone_bad_reason, '', 0),
        ('whatsapp', s.phone, s.phone_fingerprint, s.phone_bad_reason, '', 0),
        ('whatsapp', s.whatsapp_user_id, s.user_id_fingerprint, '', s.whatsapp_portfolio, 1)
    ) AS v (channel, address, fingerprint, bad_reason, portfolio, position)
    WHERE s.pass = %(pass)s AND v.address IS NOT NULL
"""
REPLACE_ADDRESSES = f"""
WITH wanted AS ({_ADDRESSES}), removed AS (
    DELETE FROM addresses a USING wanted w
    -- One of each business; and one that was said to be of another business before has moved.
    WHERE a.customer_id = w.customer_id AND a.channel = w.channel
        AND (a.address <> w.address) = (a.portfolio = w.portfolio)
    RETURNING a.customer_id
)
UPDATE import_staging SET changed = true WHERE customer_id IN (SELECT customer_id FROM removed)
"""
ADD_ADDRESSES = f"""
WITH wanted AS ({_ADDRESSES}), added AS (
    INSERT INTO addresses (organization_id, customer_id, channel, address, fingerprint, position, bad_reason,
        portfolio)
    SELECT %(organization)s, w.customer_id, w.channel, w.address, w.fingerprint, w.position, w.bad_reason,
        w.portfolio
    FROM wanted w
    WHERE NOT EXISTS (SELECT FROM addresses a WHERE a.customer_id = w.customer_id
        AND a.channel = w.channel AND a.address = w.address)
    ON CONFLICT (customer_id, channel, address) DO NOTHING
    RETURNING customer_id
)
UPDATE import_staging SET changed = true WHERE customer_id IN (SELECT customer_id FROM added)
"""

# What the file says of consent, in the form of `consent_sql`: a file never raises a withdrawn one (E31).
_TOLD = """
    FROM import_staging s CROSS JOIN LATERAL (VALUES
        ('email', s.email_consent), ('sms', s.sms_consent), ('whatsapp', s.whatsapp_consent)
    ) AS v (channel, granted)
    WHERE v.granted IS NOT NULL
"""
STATEMENTS = f"""
    SELECT s.customer_id, v.channel, 'marketing', v.granted, 'consent', s.consent_source, '', '', 'import',
        s.consent_at, jsonb_build_object('line', s.line), false {_TOLD}
"""
NOTE_CONSENT_CHANGES = """
UPDATE import_staging SET changed = true WHERE customer_id = ANY(%(customers)s)
"""
COUNT_KEPT_WITHDRAWALS = f"""
WITH w AS (SELECT s.customer_id, v.channel, 'marketing' AS purpose, v.granted {_TOLD})
SELECT count(*) AS kept FROM w {CURRENT} WHERE w.granted AND NOT c.granted
"""
COUNT = """
SELECT count(*) FILTER (WHERE is_new) AS new, count(*) FILTER (WHERE changed AND NOT is_new) AS changed,
    count(*) FILTER (WHERE NOT changed AND NOT is_new) AS unchanged
FROM import_staging
"""
ANSWERS = "SELECT line, customer_id AS id, customer_id, is_new, changed FROM import_staging"
