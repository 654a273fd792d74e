"""The sender's statements, by name. Each is one transaction's worth of truth; values are parameters.

Every statement carries the chunk's epoch: an attempt that was taken over matches no row.
"""

from regulars.runs.silences import RELATION, silence_of

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
RETURNING chunk.epoch, clock_timestamp() AS database_now,
          coalesce((SELECT strikes FROM account_buckets WHERE account_id = chunk.account_id), 0) AS strikes
"""

# What an earlier owner left in `sending` may have arrived: nobody can say, so it says that. Only
# where the owner chose at-least-once does it go back, by itself, to be sent (perhaps again). One that a
# report is being written of is passed by: the chunk stays open for it, and is soon taken again.
ORPHANS = """
WITH left_over AS MATERIALIZED (
  SELECT message.id FROM messages message
    JOIN run_chunks chunk
      ON message.id BETWEEN chunk.first_id AND chunk.last_id
     AND message.run_id = chunk.run_id AND message.chunk_number = chunk.number
   WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
     AND message.state = 'sending' AND message.epoch < chunk.epoch
     FOR UPDATE OF message SKIP LOCKED
),
orphaned AS (
  UPDATE messages message
     SET state = CASE WHEN %(at_least_once)s AND message.attempt < %(most_attempts)s
                      THEN 'queued' ELSE 'unknown' END,
         reason = 'interrupted', state_at = %(now)s,
         error = 'Outcome unknown: the sender was interrupted between handing over and recording'
    FROM left_over
   WHERE message.id = left_over.id AND message.state = 'sending'
  RETURNING message.state
)
UPDATE run_chunks SET unknown = unknown + (SELECT count(*) FROM orphaned WHERE state = 'unknown')
 WHERE id = %(chunk)s AND epoch = %(epoch)s AND EXISTS (SELECT 1 FROM orphaned)
"""

# Quiet hours at the moment of sending, whatever was planned: what is in them leaves when they end.
# Asked once each time that a chunk is taken; a turn is shorter than the margin with which it looks
# ahead (`quiet_hours.MARGIN`), so that nothing is claimed behind it that has become quiet meanwhile.
HOLD_QUIET = f"""
UPDATE messages message SET send_after = silence.until
  FROM run_chunks chunk, customers customer, {RELATION}
 WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
   AND message.id BETWEEN chunk.first_id AND chunk.last_id
   AND message.run_id = chunk.run_id AND message.chunk_number = chunk.number
   AND message.state = 'queued' AND message.send_after < silence.until
   AND customer.id = message.customer_id
   AND {silence_of("customer", "message.venue_id", "message.channel", "message.address")}
"""

# The two statements below are prepared once for a chunk, then executed together for each window:
# `%(...)s` is fixed when they are prepared, `$n` is what changes.

# Claim what is due, with every last look compiled in. What no longer passes is withheld here and
# gives its occasion back (but for `expired`: it will not become timely again). No row: the chunk is
# somebody else's or its run may not send; a row without a message: nothing (more) is due. `resume_at`:
# something is due and has to wait until then (`runs.portfolios`).
# $1 now, $2 how many, $3 the id after which to look.
CLAIM = """
PREPARE claim (timestamptz, int, bigint) AS
WITH mine AS MATERIALIZED (
  SELECT chunk.id, chunk.run_id, chunk.number,
         coalesce(bucket.paused_until > clock_timestamp(), FALSE) AS held
    FROM run_chunks chunk
    JOIN automation_logs run ON run.id = chunk.run_id
    LEFT JOIN account_buckets bucket ON bucket.account_id = chunk.account_id
   WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
     AND run.state IN ('planning', 'sending', 'waiting')
     FOR NO KEY UPDATE OF chunk
),
due AS MATERIALIZED (
  SELECT message.* FROM messages message
    JOIN mine ON message.run_id = mine.run_id AND message.chunk_number = mine.number AND NOT mine.held
   WHERE message.id BETWEEN %(first)s AND %(last)s AND message.id > $3
     AND message.state = 'queued' AND message.send_after <= $1
   ORDER BY message.id
   LIMIT $2 FOR UPDATE OF message SKIP LOCKED
),
{valid}
-- Materialized, or each use of the objection would look again.
judged AS MATERIALIZED (
  SELECT message.id, {objection} AS objection,
         customer.first_name, customer.last_name, customer.tier, customer.language
    FROM due message
    JOIN automations automation ON automation.id = message.automation_id
    LEFT JOIN customers customer ON customer.id = message.customer_id
),
{within}
changed AS (
  UPDATE messages message
     SET state = CASE WHEN objection IS NULL THEN 'sending' ELSE 'withheld' END,
         reason = coalesce(objection, ''), error = '', epoch = %(epoch)s,
         attempt = attempt + CASE WHEN objection IS NULL THEN 1 ELSE 0 END, state_at = $1
    FROM judged
   WHERE message.id = judged.id AND message.id BETWEEN %(first)s AND %(last)s {allowed}
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
),
renewed AS (
  UPDATE run_chunks chunk
     SET lease_until = now() + make_interval(secs => %(lease)s),
         withheld = withheld + (SELECT count(*) FROM changed WHERE objection IS NOT NULL)
    FROM mine WHERE chunk.id = mine.id
  RETURNING chunk.id AS chunk_id, mine.held
)
SELECT renewed.held, {resume_at} AS resume_at, changed.*
  FROM renewed LEFT JOIN changed ON TRUE ORDER BY changed.id
"""

# Write down what the calls said: only for the attempt that made them, while nobody settled the
# message otherwise. `number` is less than what was given where somebody else came first: see LATE.
# $1 ids, $2 attempts, $3 states, $4 reasons, $5 errors, $6 provider ids, $7 retry moments, $8 now.
RECORD = """
PREPARE record (bigint[], int[], text[], text[], text[], text[], timestamptz[], timestamptz) AS
WITH changed AS (
  UPDATE messages message
     SET state = outcome.state, reason = outcome.reason, error = outcome.error,
         provider_id = outcome.provider_id, state_at = $8,
         send_after = coalesce(outcome.retry_at, message.send_after),
         accepted_at = CASE WHEN outcome.state = 'sent' THEN $8 ELSE message.accepted_at END
    FROM unnest($1, $2, $3, $4, $5, $6, $7)
         AS outcome (id, attempt, state, reason, error, provider_id, retry_at)
   WHERE message.id = outcome.id AND message.id BETWEEN %(first)s AND %(last)s
     AND message.epoch = %(epoch)s AND message.attempt = outcome.attempt AND message.state = 'sending'
  RETURNING message.state
),
delta AS (
  SELECT count(*) AS number,
         count(*) FILTER (WHERE state = 'sent') AS sent,
         count(*) FILTER (WHERE state = 'failed') AS failed,
         count(*) FILTER (WHERE state = 'unknown') AS unknown
    FROM changed
)
UPDATE run_chunks chunk
   SET sent = chunk.sent + delta.sent, failed = chunk.failed + delta.failed,
       unknown = chunk.unknown + delta.unknown
  FROM delta
 WHERE chunk.id = %(chunk)s
RETURNING delta.number, chunk.epoch = %(epoch)s AS still_ours
"""

# Write down what the calls said where some of it may come too late: after its message was called
# unknown it settles that (sent, failed), or gives the message back where it is certain that it never
# left. Never one that was claimed anew.
LATE = """
WITH outcome AS (
  SELECT * FROM unnest(%(ids)s::bigint[], %(attempts)s::int[], %(states)s::text[],
                       %(reasons)s::text[], %(errors)s::text[], %(provider_ids)s::text[],
                       %(retries)s::timestamptz[])
           AS outcome (id, attempt, state, reason, error, provider_id, retry_at)
),
earlier AS (
  SELECT message.id, message.state AS state FROM messages message JOIN outcome USING (id)
   WHERE message.id BETWEEN %(first)s AND %(last)s
     AND message.epoch = %(epoch)s AND message.attempt = outcome.attempt
     AND (message.state = 'sending' OR (message.state = 'unknown' AND outcome.state <> 'unknown'))
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
  SELECT count(*) AS number,
         count(*) FILTER (WHERE state = 'sent') AS sent,
         count(*) FILTER (WHERE state = 'failed') AS failed,
         count(*) FILTER (WHERE state = 'unknown')
         - count(*) FILTER (WHERE earlier = 'unknown') AS unknown,
         min(send_after) FILTER (WHERE state = 'queued') AS next_due
    FROM changed
),
-- The chunk is locked after its messages, as by everybody.
place AS (
  SELECT chunk.closed FROM run_chunks chunk, delta
   WHERE chunk.id = %(chunk)s AND delta.number > 0 FOR NO KEY UPDATE OF chunk
)
UPDATE run_chunks chunk
   SET sent = chunk.sent + delta.sent, failed = chunk.failed + delta.failed,
       unknown = chunk.unknown + delta.unknown,
       closed = chunk.closed AND delta.next_due IS NULL,
       next_due = CASE WHEN delta.next_due IS NULL THEN chunk.next_due
                       ELSE least(chunk.next_due, delta.next_due) END
  FROM delta, place
 WHERE chunk.id = %(chunk)s
RETURNING delta.number, delta.sent, delta.failed, delta.unknown, 0 AS withheld,
          chunk.run_id AS run, place.closed AS was_closed, delta.next_due IS NOT NULL AS reopened
"""

# What this sender claimed in an exchange whose answer it never got: claimed for certain, called for
# certain not, so it goes back. `known` are the messages that it did get hold of.
GIVE_BACK = """
WITH given AS (
  UPDATE messages message SET state = 'queued', reason = 'handed_back', state_at = %(now)s
    FROM run_chunks chunk
   WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
     AND message.id BETWEEN %(first)s AND %(last)s
     AND message.run_id = chunk.run_id AND message.chunk_number = chunk.number
     AND message.epoch = %(epoch)s AND message.state = 'sending'
     AND message.id <> ALL (%(known)s::bigint[])
  RETURNING 1
)
SELECT count(*) AS number FROM given
"""

# Give the chunk back: closed when nothing is left in it, else due again at its next moment, though
# not before the account may send again.
# The counts are looked at besides: a person who sends a message again at this very moment is seen in
# the chunk's row, which this waits for, though not in the messages as they were before. Where the counts
# leave room for more than was found, it is looked at again at once.
RELEASE = """
WITH left_over AS (
  SELECT min(message.send_after) FILTER (WHERE message.state = 'queued') AS next_due,
         count(*) AS number
    FROM messages message JOIN run_chunks chunk
      ON message.run_id = chunk.run_id AND message.chunk_number = chunk.number
   WHERE chunk.id = %(chunk)s AND message.id BETWEEN %(first)s AND %(last)s
     AND message.state IN ('queued', 'sending')
)
UPDATE run_chunks chunk
   SET lease_until = NULL,
       closed = left_over.number = 0
                AND chunk.sent + chunk.failed + chunk.unknown + chunk.withheld >= chunk.total,
       next_due = CASE WHEN left_over.next_due IS NOT NULL
                         AND chunk.total - chunk.sent - chunk.failed - chunk.unknown - chunk.withheld
                             <= left_over.number
                       THEN greatest(left_over.next_due, %(not_before)s::timestamptz, bucket.paused_until) END
  FROM left_over
  LEFT JOIN account_buckets bucket ON bucket.account_id = %(account)s
 WHERE chunk.id = %(chunk)s AND chunk.epoch = %(epoch)s
RETURNING chunk.run_id, chunk.urgent, chunk.closed, chunk.next_due, clock_timestamp() AS database_now
"""

# Finished is computed, never declared: a run is over when each of its chunks is. In two statements of
# one transaction: the first locks the run, the second sees whatever was committed before that.
# Whoever moves the counts of a closed chunk, or opens it again, locks the run as well, after the
# chunk and before it looks whether the run has finished (`MOVE_TOTALS`, `GO_ON`). So one of the two
# comes first: either the totals hold the change (and an open chunk keeps the run from finishing), or
# the change finds a finished run and moves its totals. No row: there is nothing to finish.
LOCK_IF_OVER = """
SELECT run.id FROM automation_logs run
 WHERE run.id = %(run)s AND run.state IN ('sending', 'waiting')
   AND NOT EXISTS (SELECT 1 FROM run_chunks WHERE run_id = run.id AND NOT closed)
   FOR NO KEY UPDATE OF run
"""

FINISH = """
UPDATE automation_logs run
   SET state = 'finished', finished_at = %(now)s,
       totals = (SELECT jsonb_build_object('sent', sum(sent), 'failed', sum(failed),
                                           'unknown', sum(unknown), 'withheld', sum(withheld))
                   FROM run_chunks WHERE run_id = run.id)
 WHERE run.id = %(run)s AND run.state IN ('sending', 'waiting')
   AND NOT EXISTS (SELECT 1 FROM run_chunks WHERE run_id = run.id AND NOT closed)
RETURNING run.id
"""

LOCK_RUN = "SELECT 1 FROM automation_logs WHERE id = %(run)s FOR NO KEY UPDATE"

# A message of a finished run is to be sent again.
GO_ON = """
UPDATE automation_logs SET state = 'sending', finished_at = NULL, totals = '{}'
 WHERE id = %(run)s AND state IN ('finished', 'waiting')
"""

# The counts of a run that has ended follow those of its chunks.
MOVE_TOTALS = """
UPDATE automation_logs
   SET totals = jsonb_build_object(
         'sent', (totals->>'sent')::bigint + %(sent)s,
         'failed', (totals->>'failed')::bigint + %(failed)s,
         'unknown', (totals->>'unknown')::bigint + %(unknown)s,
         'withheld', (totals->>'withheld')::bigint + %(withheld)s)
 WHERE id = %(run)s AND totals <> '{}'
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

# Every run that still has something to send through the account waits with it, once.
PAUSE_RUNS_OF_ACCOUNT = """
WITH waiting AS MATERIALIZED (
  SELECT run.id FROM automation_logs run
   WHERE run.state IN ('planning', 'sending', 'waiting') AND run.planned_at IS NOT NULL
     AND EXISTS (SELECT 1 FROM run_chunks chunk
                  WHERE chunk.run_id = run.id AND chunk.account_id = %(account)s AND NOT chunk.closed)
   ORDER BY run.id FOR NO KEY UPDATE OF run
)
UPDATE automation_logs run SET state = 'paused', reason = %(reason)s
  FROM waiting WHERE run.id = waiting.id
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

# The same in the ledger of each guest who has the address: it says why nothing more comes. One row of a
# guest and channel is current, so the old mark goes in the statement that appends the new one.
WITHDRAW = """
WITH retired AS (
  UPDATE consents SET is_current = FALSE
   WHERE purpose = 'marketing' AND channel = %(channel)s AND is_current AND granted
     AND customer_id IN (SELECT customer_id FROM addresses
                          WHERE organization_id = %(organization)s AND channel = %(channel)s
                            AND address = %(address)s)
  RETURNING customer_id
)
INSERT INTO consents (customer_id, channel, purpose, granted, basis, source, wording, wording_version, actor,
                      evidence, at, recorded_at, is_current)
SELECT customer_id, %(channel)s, 'marketing', FALSE, 'consent', 'provider answer', '', '', 'guest',
       jsonb_build_object('message', %(message)s::bigint), %(now)s, %(now)s, TRUE
  FROM retired
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

# At most four times a second for a run, whoever works on it.
NOTIFY_PROGRESS = """
WITH told AS (
  UPDATE automation_logs SET told_at = clock_timestamp()
   WHERE id = (SELECT id FROM automation_logs
                WHERE id = %(run)s
                  AND (told_at IS NULL OR told_at < clock_timestamp() - interval '250 milliseconds')
                  FOR NO KEY UPDATE SKIP LOCKED)
  RETURNING id
)
SELECT pg_notify('regulars_runs', id::text) FROM told
"""
