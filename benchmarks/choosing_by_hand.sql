-- What somebody who knows SQL, these tables and this very world would write by hand, without our rules:
-- the same rows as ours, checked. One block per name; {due} is put where a query chooses.

-- name: inactive
SELECT summary.customer_id, 'lapse:' || to_char(last_service_date, 'YYYY-MM-DD') AS occasion,
       (last_service_date + 60 + interval '5 hours') AT TIME ZONE venue.timezone AS due_at,
       (last_service_date + %(max_days)s + 1 + interval '5 hours') AT TIME ZONE venue.timezone AS expires_at,
       last_venue_id AS venue_id, last_visit_id AS reference
  FROM visit_summaries summary JOIN venues venue ON venue.id = last_venue_id
 WHERE summary.organization_id = %(organization)s AND completed >= 2
   AND last_service_date BETWEEN %(today)s::date - %(max_days)s AND %(today)s::date - 60

-- name: birthday
SELECT id AS customer_id, 'birthday:' || extract(year FROM kept) AS occasion,
       (kept - 7)::timestamp AT TIME ZONE 'Europe/Madrid' AS due_at,
       (kept + 1)::timestamp AT TIME ZONE 'Europe/Madrid' AS expires_at,
       %(venue)s::bigint AS venue_id, id AS reference
  FROM (SELECT day::date AS kept FROM generate_series(%(today)s::date - 7, %(today)s::date + 7, interval '1 day') day) days
  JOIN customers ON organization_id = %(organization)s AND birth_month = extract(month FROM kept)
                AND birth_day = extract(day FROM kept)

-- name: vip_reward
SELECT id AS customer_id, 'vip:' || tier || to_char(%(today)s::date, ':YYYY-"Q"Q') AS occasion,
       date_trunc('quarter', %(today)s::timestamp) AT TIME ZONE 'Europe/Madrid' AS due_at,
       (date_trunc('quarter', %(today)s::timestamp) + interval '3 months') AT TIME ZONE 'Europe/Madrid' AS expires_at,
       %(venue)s::bigint AS venue_id, id AS reference
  FROM customers WHERE organization_id = %(organization)s AND tier IN ('gold', 'black')

-- name: vip_rise
SELECT customer_id, 'vip:' || change.tier || to_char(at AT TIME ZONE 'Europe/Madrid', ':"rise-"YYYY-MM-DD') AS occasion,
       at AS due_at, at + interval '30 days' AS expires_at, %(venue)s::bigint AS venue_id, customer_id AS reference
  FROM tier_changes change JOIN customers ON customers.id = customer_id AND customers.tier = change.tier
 WHERE customers.organization_id = %(organization)s AND change.tier IN ('gold', 'black')
   AND at <= %(now)s AND at > %(now)s - interval '60 days' AND tier_before NOT IN ('gold', 'black')
   AND NOT EXISTS (SELECT FROM tier_changes before
                    WHERE before.customer_id = change.customer_id AND (before.at, before.id) < (change.at, change.id)
                      AND before.at >= change.at - interval '365 days'
                      AND change.tier IN (before.tier, before.tier_before))

-- name: post_visit
SELECT customer_id, 'visit:' || id AS occasion, visited_at + interval '24 hours' AS due_at,
       visited_at + interval '72 hours' AS expires_at, venue_id, id AS reference
  FROM visits visit
 WHERE organization_id = %(organization)s AND state = 'completed'
   AND visited_at <= %(now)s - interval '24 hours' AND visited_at > %(now)s - interval '120 hours'
   AND NOT EXISTS (SELECT FROM visits later
                    WHERE later.customer_id = visit.customer_id AND later.service_date = visit.service_date
                      AND later.state = 'completed' AND (later.visited_at, later.id) > (visit.visited_at, visit.id))

-- name: reservation_confirmation
SELECT customer_id, 'reservation:' || id || ':confirmed' AS occasion, confirmed_at AS due_at,
       least(confirmed_at + interval '24 hours', starts_at) AS expires_at, venue_id, id AS reference
  FROM reservations
 WHERE organization_id = %(organization)s AND status = 'confirmed' AND starts_at > %(now)s
   AND confirmed_at <= %(now)s AND confirmed_at > %(now)s - interval '48 hours'

-- name: marketing
WITH due AS MATERIALIZED ({due}),
way AS (
  SELECT address.customer_id, address.channel, address.address, consent.granted IS TRUE AS allowed,
         consent.granted IS TRUE AND address.bad_reason = '' AND stop.fingerprint IS NULL AS usable
    FROM (SELECT DISTINCT customer_id FROM due) audience JOIN addresses address USING (customer_id)
    LEFT JOIN consents consent ON consent.customer_id = address.customer_id AND consent.channel = address.channel
                              AND consent.purpose = 'marketing' AND consent.is_current
    -- This world's suppressions are for all channels.
    LEFT JOIN suppressions stop ON stop.organization_id = %(organization)s
                               AND stop.fingerprint = address.fingerprint AND stop.channel = ''
   WHERE address.bad_reason <> 'landline'
),
best AS (
  SELECT DISTINCT ON (customer_id) customer_id, allowed, usable,
         CASE WHEN usable THEN channel END AS channel, CASE WHEN usable THEN address END AS address
    FROM way ORDER BY customer_id, usable DESC, allowed DESC, channel DESC
),
recent AS MATERIALIZED (
  SELECT customer_id, address FROM messages
   WHERE id >= %(floor)s AND automation_id = ANY (%(family)s::uuid[]) AND organization_id = %(organization)s
     AND (accepted_at > %(since)s OR state IN ('queued', 'sending') OR (state = 'unknown' AND state_at > %(since)s))
),
judged AS (
  SELECT due.*, best.channel, best.address, CASE
           WHEN customer.do_not_contact THEN 'do_not_contact'
           WHEN guard.message_id IS NOT NULL THEN 'already_contacted'
           WHEN best.customer_id IS NULL THEN 'no_address'
           WHEN NOT best.allowed THEN 'no_consent'
           WHEN NOT best.usable THEN 'suppressed'
           WHEN {booked} THEN 'upcoming_reservation'
           WHEN due.expires_at <= %(now)s THEN 'expired'
           WHEN same_guest.customer_id IS NOT NULL OR same_address.address IS NOT NULL THEN 'cooldown' END AS objection
    FROM due
    JOIN customers customer ON customer.id = due.customer_id
    LEFT JOIN occasions guard ON guard.automation_id = %(automation)s AND guard.customer_id = due.customer_id
                             AND guard.occasion = due.occasion
    LEFT JOIN best ON best.customer_id = due.customer_id
    LEFT JOIN (SELECT DISTINCT customer_id FROM recent) same_guest ON same_guest.customer_id = due.customer_id
    LEFT JOIN (SELECT DISTINCT address FROM recent) same_address ON same_address.address = best.address
  -- Judged once, not once for each column that asks for it.
  OFFSET 0
),
spaced AS ({spaced}),
shared AS (
  SELECT spaced.*, row_number() OVER (PARTITION BY objection IS NULL, address
                                      ORDER BY due_at, customer_id, occasion) > 1 AS taken
    FROM spaced
)
SELECT customer_id, occasion, due_at, expires_at, greatest(due_at, %(now)s) AS send_after, venue_id, reference,
       coalesce(objection, CASE WHEN taken THEN 'duplicate_address' END) AS reason,
       channel, CASE WHEN channel IS NOT NULL THEN %(account)s::bigint END AS account_id, address
  FROM shared

-- name: booked
due.customer_id IN (SELECT customer_id FROM reservations
                     WHERE organization_id = %(organization)s AND status IN ('requested', 'confirmed')
                       AND starts_at > %(now)s)

-- name: one_a_guest
SELECT customer_id, occasion, due_at, expires_at, venue_id, reference, channel, address,
       coalesce(objection, CASE WHEN row_number() OVER (PARTITION BY objection IS NULL, customer_id
                                                        ORDER BY due_at, occasion) > 1 THEN 'cooldown' END)
         AS objection
  FROM judged

-- name: transactional
WITH due AS MATERIALIZED ({due}),
best AS (
  SELECT DISTINCT ON (customer_id) address.customer_id, usable,
         CASE WHEN usable THEN address.channel END AS channel, CASE WHEN usable THEN address.address END AS address
    FROM (SELECT DISTINCT customer_id FROM due) audience JOIN addresses address USING (customer_id)
    LEFT JOIN suppressions stop ON stop.organization_id = %(organization)s AND stop.reason <> 'opt_out'
                               AND stop.fingerprint = address.fingerprint AND stop.channel = '',
         LATERAL (SELECT address.bad_reason = '' AND stop.fingerprint IS NULL AS usable) judged
   WHERE address.bad_reason <> 'landline'
   ORDER BY customer_id, usable DESC, address.channel DESC
)
SELECT due.customer_id, due.occasion, due_at, expires_at, greatest(due_at, %(now)s) AS send_after, venue_id, reference,
       CASE WHEN customer.do_not_contact THEN 'do_not_contact'
            WHEN guard.message_id IS NOT NULL THEN 'already_contacted'
            WHEN best.customer_id IS NULL THEN 'no_address'
            WHEN NOT best.usable THEN 'suppressed'
            WHEN due.expires_at <= %(now)s THEN 'expired' END AS reason,
       channel, CASE WHEN channel IS NOT NULL THEN %(account)s::bigint END AS account_id, address
  FROM due
  JOIN customers customer ON customer.id = due.customer_id
  LEFT JOIN occasions guard ON guard.automation_id = %(automation)s AND guard.customer_id = due.customer_id
                           AND guard.occasion = due.occasion
  LEFT JOIN best ON best.customer_id = due.customer_id

-- name: preview
WITH verdict AS MATERIALIZED ({verdict})
SELECT reason, CASE WHEN reason IS NULL THEN channel END AS channel, count(*) AS number,
       NULL::bigint AS customer_id, NULL AS occasion, NULL AS address,
       NULL::timestamptz AS due_at, NULL::timestamptz AS send_after
  FROM verdict GROUP BY 1, 2
 UNION ALL
(SELECT reason, channel, NULL, customer_id, occasion, address, due_at, send_after FROM verdict
  ORDER BY reason IS NOT NULL, due_at, customer_id, occasion LIMIT 100)

-- name: freeze
INSERT INTO run_verdicts (run_id, ordinal, customer_id, occasion, due_at, expires_at, send_after,
                          venue_id, reference, reason, channel, account_id, address)
SELECT %(run)s, row_number() OVER (ORDER BY due_at, customer_id, occasion) - 1, verdict.* FROM ({verdict}) verdict

-- name: write
WITH picked AS MATERIALIZED (
  SELECT ordered.*, %(month)s + nextval('messages_number') AS id,
         1 + (row_number() OVER (PARTITION BY account_id ORDER BY ordinal) - 1) / 2000 AS number
    FROM (SELECT * FROM run_verdicts WHERE run_id = %(run)s AND reason IS NULL ORDER BY account_id, ordinal) ordered
),
guarded AS (
  INSERT INTO occasions (automation_id, customer_id, occasion, kind, message_id)
  SELECT %(automation)s, customer_id, occasion, 'message', id FROM picked ORDER BY customer_id, occasion
  ON CONFLICT DO NOTHING RETURNING message_id
),
placed AS MATERIALIZED (SELECT picked.* FROM picked JOIN guarded ON message_id = id),
written AS (
  INSERT INTO messages (id, organization_id, run_id, chunk_number, automation_id, version_id,
                        customer_id, occasion, purpose, channel, account_id, address, venue_id,
                        reference, due_at, expires_at, send_after, state, reason, error, epoch,
                        attempt, provider_id, created_at, state_at)
  SELECT id, %(organization)s, %(run)s, number, %(automation)s, %(version)s,
         customer_id, occasion, 'marketing', channel, account_id, address, venue_id,
         reference, due_at, expires_at, send_after, 'queued', '', '', 0, 0, '', %(now)s, %(now)s FROM placed
),
chunk AS (
  INSERT INTO run_chunks (run_id, number, account_id, first_id, last_id, urgent, epoch, next_due, total,
                          sent, failed, unknown, withheld, closed)
  SELECT %(run)s, number, account_id, min(id), max(id), FALSE, 0, min(send_after), count(*), 0, 0, 0, 0, FALSE
    FROM placed GROUP BY number, account_id
  RETURNING id, next_due
),
left_out AS (
  INSERT INTO skips (organization_id, automation_id, customer_id, occasion, reason, run_id, at)
  SELECT %(organization)s, %(automation)s, customer_id, occasion, reason, %(run)s, %(now)s
    FROM run_verdicts WHERE run_id = %(run)s AND reason IS NOT NULL AND reason <> 'already_contacted'
   ORDER BY customer_id, occasion
  ON CONFLICT (automation_id, customer_id, occasion)
  DO UPDATE SET reason = EXCLUDED.reason, run_id = EXCLUDED.run_id, at = EXCLUDED.at
   WHERE skips.reason <> EXCLUDED.reason
)
SELECT procrastinate_defer_jobs_v1(array_agg(
         ROW('bulk', 'regulars.send_chunk', 0, NULL, 'chunk:' || id,
             jsonb_build_object('chunk_id', id), NULL)::procrastinate_job_to_defer_v1))
  FROM chunk

-- name: finish
UPDATE automation_logs
   SET state = 'sending', version_id = %(version)s, as_of = %(now)s, planned_at = %(now)s,
       due = (SELECT count(*) FROM run_verdicts WHERE run_id = %(run)s),
       skipped_by_reason = (SELECT coalesce(jsonb_object_agg(reason, number), '{{}}')
                              FROM (SELECT reason, count(*) AS number FROM run_verdicts
                                     WHERE run_id = %(run)s AND reason IS NOT NULL GROUP BY 1) counted)
 WHERE id = %(run)s
