"""What is to be told, read from the ledger: sending writes nothing for it and waits for nobody.

An endpoint remembers of each run and chunk what it was told last. Where that has changed, what is
news becomes deliveries, in the same transaction that remembers it. An event's id is made of what it
is about, so that looking again makes no second one. A crash loses nothing: the next look finds it.

A run's states are levels: one that was paused and went on between two looks is not told of the pause.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from regulars.lib import sql
from regulars.webhooks.models import Endpoint

MESSAGE_EVENTS = ("message.sent", "message.failed", "message.unknown", "message.withheld")
REPORT_EVENTS = ("message.delivered", "message.read", "message.bounced")
RUN_EVENTS = ("run.started", "run.finished", "run.paused", "run.cancelled", "run.failed")
EVENTS = (*MESSAGE_EVENTS, *REPORT_EVENTS, *RUN_EVENTS)
TEST = "webhook.test"

# A run that ended so long ago is not looked at any more.
_LOOK_BACK = timedelta(days=7)
# Reports are numbered before they are committed: each has that long to appear in its order.
_COMMITTED = timedelta(seconds=60)
_CHUNKS, _REPORTS_AT_ONCE = 50, 5_000


@transaction.atomic
def gather(endpoint_id: int, now: datetime) -> None:
    """Make deliveries of what has happened since the last look; nothing if somebody else is at it."""
    mine = Endpoint.objects.select_for_update(skip_locked=True).filter(pk=endpoint_id, disabled_reason="")
    endpoint = mine.first()
    if endpoint is None:
        return
    values = {
        "endpoint": endpoint.pk,
        "organization": endpoint.organization_id,
        "since": endpoint.created_at,
        "events": endpoint.events,
        "now": now,
        "look_back": now - _LOOK_BACK,
        "chunks": _CHUNKS,
    }
    chosen = set(endpoint.events)
    if chosen.intersection(RUN_EVENTS):
        sql.execute(_RUNS, values)
    if chosen.intersection(MESSAGE_EVENTS):
        sql.execute(_MESSAGES, values)
    _reports(endpoint, values)


def last_report() -> int:
    """Where a new endpoint begins to read reports."""
    return int(sql.fetch_rows("SELECT coalesce(max(id), 0) AS id FROM delivery_events")[0]["id"])


def _reports(endpoint: Endpoint, values: dict[str, Any]) -> None:
    bounds = {"cursor": endpoint.cursor, "horizon": values["now"] - _COMMITTED, "most": _REPORTS_AT_ONCE}
    last = sql.fetch_rows(_LAST_REPORT, bounds)[0]["id"]
    if last is not None:
        sql.execute(_REPORTS, values | {"cursor": endpoint.cursor, "last": last})
        Endpoint.objects.filter(pk=endpoint.pk).update(cursor=last)


def _moment(column: str) -> str:
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""


_OF_A_MESSAGE = """jsonb_build_object(
           'message_id', message.id, 'run_id', message.run_id, 'automation_id', message.automation_id,
           'customer_id', message.customer_id, 'customer_external_id', customer.external_id,
           'occasion', message.occasion, 'channel', message.channel, 'attempt', message.attempt,
           'reason', message.reason)"""

_INSERT = """
INSERT INTO webhook_deliveries (endpoint_id, event_id, event, payload, state, attempts, next_at, created_at)
"""

_MESSAGES = f"""
WITH changed AS MATERIALIZED (
  SELECT chunk.id, chunk.run_id, chunk.number, chunk.first_id, chunk.last_id, marked.mark
    FROM automation_logs run
    JOIN run_chunks chunk ON chunk.run_id = run.id
   CROSS JOIN LATERAL (SELECT concat_ws(':', chunk.epoch, chunk.sent, chunk.failed, chunk.unknown,
                                        chunk.withheld) AS mark) marked
    LEFT JOIN webhook_told told
      ON told.endpoint_id = %(endpoint)s AND told.subject = 'chunk:' || chunk.id
   WHERE run.organization_id = %(organization)s AND run.purged_at IS NULL
     AND (run.finished_at IS NULL OR run.finished_at > greatest(%(since)s, %(look_back)s))
     AND told.mark IS DISTINCT FROM marked.mark
   ORDER BY chunk.id LIMIT %(chunks)s
),
remembered AS (
  INSERT INTO webhook_told (endpoint_id, subject, mark, at)
  SELECT %(endpoint)s, 'chunk:' || id, mark, %(now)s FROM changed
  ON CONFLICT (endpoint_id, subject) DO UPDATE SET mark = EXCLUDED.mark, at = EXCLUDED.at
)
{_INSERT}
SELECT %(endpoint)s, md5(concat_ws(':', message.id, message.attempt, named.event))::uuid, named.event,
       jsonb_build_object('type', named.event, 'timestamp', {_moment("message.state_at")},
                          'data', {_OF_A_MESSAGE}),
       'waiting', 0, %(now)s, %(now)s
  FROM changed
  JOIN messages message
    ON message.run_id = changed.run_id AND message.chunk_number = changed.number
   AND message.id BETWEEN changed.first_id AND changed.last_id
 CROSS JOIN LATERAL (
       SELECT 'message.' || CASE WHEN message.state IN ('delivered', 'read', 'bounced') THEN 'sent'
                                 ELSE message.state END AS event) named
  LEFT JOIN customers customer ON customer.id = message.customer_id
 WHERE message.state_at > greatest(%(since)s, %(look_back)s) AND named.event = ANY (%(events)s)
ON CONFLICT (endpoint_id, event_id) DO NOTHING
"""

_LAST_REPORT = """
SELECT max(id) AS id
  FROM (SELECT id FROM delivery_events WHERE id > %(cursor)s AND at < %(horizon)s
         ORDER BY id LIMIT %(most)s) seen
"""

_REPORTS = f"""
{_INSERT}
SELECT %(endpoint)s, md5('report:' || report.id)::uuid, 'message.' || report.kind,
       jsonb_build_object('type', 'message.' || report.kind, 'timestamp', {_moment("report.at")},
                          'data', {_OF_A_MESSAGE}),
       'waiting', 0, %(now)s, %(now)s
  FROM delivery_events report
  JOIN messages message ON message.id = report.message_id
  LEFT JOIN customers customer ON customer.id = message.customer_id
 WHERE report.id > %(cursor)s AND report.id <= %(last)s
   AND message.organization_id = %(organization)s AND 'message.' || report.kind = ANY (%(events)s)
ON CONFLICT (endpoint_id, event_id) DO NOTHING
"""

_RUNS = f"""
WITH changed AS MATERIALIZED (
  SELECT run.*, automation.name AS automation_name
    FROM automation_logs run
    JOIN automations automation ON automation.id = run.automation_id
    LEFT JOIN webhook_told told
      ON told.endpoint_id = %(endpoint)s AND told.subject = 'run:' || run.id
   WHERE run.organization_id = %(organization)s AND run.state <> 'planning'
     AND (run.finished_at IS NULL OR run.finished_at > greatest(%(since)s, %(look_back)s))
     AND told.mark IS DISTINCT FROM run.state
),
remembered AS (
  INSERT INTO webhook_told (endpoint_id, subject, mark, at)
  SELECT %(endpoint)s, 'run:' || id, state, %(now)s FROM changed
  ON CONFLICT (endpoint_id, subject) DO UPDATE SET mark = EXCLUDED.mark, at = EXCLUDED.at
)
{_INSERT}
SELECT %(endpoint)s, md5(concat_ws(':', changed.id, named.event, named.moment))::uuid, named.event,
       jsonb_build_object('type', named.event, 'timestamp', {_moment("named.moment")},
                          'data', jsonb_build_object(
           'run_id', changed.id, 'automation_id', changed.automation_id,
           'automation', changed.automation_name, 'origin', changed.origin, 'state', changed.state,
           'reason', changed.reason, 'due', changed.due, 'totals', changed.totals)),
       'waiting', 0, %(now)s, %(now)s
  FROM changed
 CROSS JOIN LATERAL (VALUES
       ('run.started', changed.planned_at),
       ('run.' || changed.state, coalesce(changed.finished_at, %(now)s))) AS named (event, moment)
 WHERE named.moment > %(since)s AND named.event = ANY (%(events)s)
ON CONFLICT (endpoint_id, event_id) DO NOTHING
"""
