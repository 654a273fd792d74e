"""The sender's statements, by name. Each is one transaction's worth of truth; values are parameters.

Every statement carries the chunk's epoch: an attempt that was taken over matches no row.
"""

# Seconds for which a sender owns a chunk after its last sign of life in the database.
LEASE_SECONDS = 10.0
# A successor waits this much longer before it calls anything unknown: the longest a call may still
# be on its way after the last look at the lease (Provider.request_timeout stays below it).
GRACE_SECONDS = 8.0

# Take a chunk that nobody owns. No row: it is owned, closed, or its run may not send.
START = """
UPDATE run_chunks chunk
   SET epoch = epoch + 1, lease_until = now() + make_interval(secs => %(lease)s)
  FROM automation_logs run
 WHERE chunk.id = %(chunk)s AND run.id = chunk.run_id
   AND run.state IN ('planning', 'sending', 'waiting') AND NOT chunk.closed
   AND (chunk.lease_until IS NULL OR chunk.lease_until < now() - make_interval(secs => %(grace)s))
RETURNING chunk.epoch
"""

# What an earlier owner left in `sending` may have arrived: nobody can say, so it says that.
ORPHANS = """
WITH orphaned AS (
  UPDATE messages message
     SET state = 'unknown', reason = 'interrupted', state_at = %(now)s,
         error = 'Outcome unknown: the sender was interrupted between handing over and recording'
    FROM run_chunks chunk
   WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
     AND message.run_id = chunk.run_id AND message.chunk_number = chunk.number
     AND message.state = 'sending' AND message.epoch < chunk.epoch
  RETURNING message.id
)
UPDATE run_chunks SET unknown = unknown + (SELECT count(*) FROM orphaned)
 WHERE id = %(chunk)s AND epoch = %(epoch)s AND EXISTS (SELECT 1 FROM orphaned)
RETURNING (SELECT count(*) FROM orphaned) AS number
"""

# Claim what is due, with every last look compiled in. What no longer passes is withheld here and
# gives its occasion back (but for `expired`: it will not become timely again).
CLAIM = """
WITH chunk AS (
  UPDATE run_chunks chunk SET lease_until = now() + make_interval(secs => %(lease)s)
    FROM automation_logs run
   WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
     AND run.id = chunk.run_id AND run.state IN ('planning', 'sending', 'waiting')
  RETURNING chunk.run_id, chunk.number
),
due AS MATERIALIZED (
  SELECT message.* FROM messages message
    JOIN chunk ON message.run_id = chunk.run_id AND message.chunk_number = chunk.number
   WHERE message.state = 'queued' AND message.send_after <= %(now)s
   ORDER BY message.send_after, message.id
   LIMIT %(window)s FOR UPDATE OF message SKIP LOCKED
),
{valid}
judged AS (
  SELECT message.id, {objection} AS objection,
         customer.first_name, customer.last_name, customer.tier, customer.language
    FROM due message
    JOIN automations automation ON automation.id = message.automation_id
    LEFT JOIN customers customer ON customer.id = message.customer_id
),
changed AS (
  UPDATE messages message
     SET state = CASE WHEN objection IS NULL THEN 'sending' ELSE 'withheld' END,
         reason = coalesce(objection, ''), error = '', epoch = %(epoch)s,
         attempt = attempt + CASE WHEN objection IS NULL THEN 1 ELSE 0 END, state_at = %(now)s
    FROM judged
   WHERE message.id = judged.id
  RETURNING message.id, message.automation_id, message.customer_id, message.occasion,
            message.channel, message.address, message.venue_id, message.reference,
            message.attempt, objection, first_name, last_name, tier, language
),
freed AS (
  DELETE FROM occasions guard USING changed
   WHERE changed.objection <> 'expired'
     AND guard.automation_id = changed.automation_id
     AND guard.customer_id = changed.customer_id AND guard.occasion = changed.occasion
     AND guard.message_id = changed.id
)
SELECT * FROM changed ORDER BY id
"""

COUNT_WITHHELD = """
UPDATE run_chunks SET withheld = withheld + %(number)s WHERE id = %(chunk)s
"""

# Write down what the calls said. Only for the attempt that made them, and only while nobody settled
# the message otherwise; a late result of a former owner still settles its own `unknown` rows.
RECORD = """
WITH outcome AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(attempts)s::int[], %(states)s::text[],
                       %(reasons)s::text[], %(errors)s::text[], %(provider_ids)s::text[],
                       %(retries)s::timestamptz[])
           AS outcome (id, attempt, state, reason, error, provider_id, retry_at)
),
earlier AS (
  SELECT message.id, message.state AS state FROM messages message JOIN outcome USING (id)
   WHERE message.epoch = %(epoch)s AND message.attempt = outcome.attempt
     AND message.state IN ('sending', 'unknown')
   ORDER BY message.id FOR UPDATE OF message
),
changed AS (
  UPDATE messages message
     SET state = outcome.state, reason = outcome.reason, error = outcome.error,
         provider_id = outcome.provider_id, state_at = %(now)s,
         send_after = coalesce(outcome.retry_at, message.send_after),
         accepted_at = CASE WHEN outcome.state = 'sent' THEN %(now)s ELSE message.accepted_at END
    FROM outcome JOIN earlier ON earlier.id = outcome.id
   WHERE message.id = outcome.id
  RETURNING message.state AS state, earlier.state AS earlier, message.send_after
),
delta AS (
  SELECT count(*) FILTER (WHERE state = 'sent') AS sent,
         count(*) FILTER (WHERE state = 'failed') AS failed,
         count(*) FILTER (WHERE state = 'unknown') - count(*) FILTER (WHERE earlier = 'unknown') AS unknown,
         min(send_after) FILTER (WHERE state = 'queued') AS next_due
    FROM changed
)
UPDATE run_chunks chunk
   SET sent = chunk.sent + delta.sent, failed = chunk.failed + delta.failed,
       unknown = chunk.unknown + delta.unknown,
       closed = chunk.closed AND delta.next_due IS NULL,
       next_due = CASE WHEN delta.next_due IS NULL THEN chunk.next_due
                       ELSE least(chunk.next_due, delta.next_due) END,
       lease_until = CASE WHEN chunk.epoch = %(epoch)s
                          THEN now() + make_interval(secs => %(lease)s) ELSE chunk.lease_until END
  FROM delta
 WHERE chunk.id = %(chunk)s
RETURNING chunk.epoch = %(epoch)s AS still_ours
"""

# Give the chunk back: closed when nothing is left in it, else due again at its next moment.
RELEASE = """
WITH left_over AS (
  SELECT min(message.send_after) FILTER (WHERE message.state = 'queued') AS next_due,
         count(*) AS number
    FROM messages message JOIN run_chunks chunk
      ON message.run_id = chunk.run_id AND message.chunk_number = chunk.number
   WHERE chunk.id = %(chunk)s AND message.state IN ('queued', 'sending')
)
UPDATE run_chunks chunk
   SET lease_until = NULL, closed = left_over.number = 0, next_due = left_over.next_due
  FROM left_over
 WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
RETURNING chunk.run_id, chunk.urgent, chunk.closed, chunk.next_due
"""

# Finished is computed, never declared: no message of the run is still to come.
FINISH = """
UPDATE automation_logs run
   SET state = 'finished', finished_at = %(now)s,
       totals = (SELECT jsonb_build_object('sent', sum(sent), 'failed', sum(failed),
                                           'unknown', sum(unknown), 'withheld', sum(withheld))
                   FROM run_chunks WHERE run_id = run.id)
 WHERE run.id = %(run)s AND run.state IN ('sending', 'waiting')
   AND NOT EXISTS (SELECT 1 FROM messages message
                    WHERE message.run_id = run.id AND message.state IN ('queued', 'sending'))
RETURNING run.id
"""

# A run whose next message is more than a minute away waits; nobody joins it meanwhile.
WAIT = """
UPDATE automation_logs run
   SET state = CASE WHEN soon.there THEN 'sending' ELSE 'waiting' END
  FROM (SELECT EXISTS (SELECT 1 FROM run_chunks
                        WHERE run_id = %(run)s AND NOT closed
                          AND (lease_until > now() OR next_due IS NULL
                               OR next_due <= %(now)s + interval '1 minute')) AS there) soon
 WHERE run.id = %(run)s AND run.state IN ('sending', 'waiting')
   AND run.state <> CASE WHEN soon.there THEN 'sending' ELSE 'waiting' END
"""

PAUSE_RUN = """
UPDATE automation_logs SET state = 'paused', reason = %(reason)s
 WHERE id = %(run)s AND state IN ('planning', 'sending', 'waiting') AND planned_at IS NOT NULL
"""

BREAK_ACCOUNT = "UPDATE provider_accounts SET broken_reason = %(reason)s WHERE id = %(account)s"

PAUSE_AUTOMATION = "UPDATE automations SET paused_reason = %(reason)s WHERE id = %(automation)s"

BAD_ADDRESSES = """
UPDATE addresses SET bad_reason = %(reason)s, bad_since = %(now)s
 WHERE organization_id = %(organization)s AND channel = %(channel)s AND address = %(address)s
   AND bad_reason = ''
"""

OPT_OUT = """
INSERT INTO suppressions (organization_id, channel, fingerprint, reason, source, created_at)
SELECT DISTINCT organization_id, channel, fingerprint, 'opt_out', 'provider answer', %(now)s::timestamptz
  FROM addresses
 WHERE organization_id = %(organization)s AND channel = %(channel)s AND address = %(address)s
ON CONFLICT DO NOTHING
"""

WRITE_OUTBOX = """
INSERT INTO sandbox_outbox (organization_id, account_id, message_id, channel, address, subject, body, html,
                            at)
SELECT %(organization)s, %(account)s, id, channel, address, subject, body, html, %(now)s
  FROM unnest(%(ids)s::bigint[], %(channels)s::text[], %(addresses)s::text[], %(subjects)s::text[],
              %(bodies)s::text[], %(htmls)s::text[])
       AS written (id, channel, address, subject, body, html)
"""

NOTIFY = "SELECT pg_notify('regulars_runs', %(run)s)"
