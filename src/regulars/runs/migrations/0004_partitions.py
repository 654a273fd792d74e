"""Messages by month, and what the ORM has no word for. See `runs.partitions`."""

from django.db import migrations

# What is there becomes the partition of everything before next month's first id, as it is.
_PARTITION = """
CREATE FUNCTION regulars_month(moment timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ((extract(year FROM moment AT TIME ZONE 'UTC')::bigint - 2020) * 12
        + extract(month FROM moment AT TIME ZONE 'UTC')::bigint - 1);

CREATE SEQUENCE messages_number;
CREATE FUNCTION regulars_message_id() RETURNS bigint LANGUAGE sql VOLATILE
RETURN (regulars_month(now()) << 40) + nextval('messages_number');

ALTER TABLE messages RENAME TO messages_before;
ALTER TABLE messages_before ALTER COLUMN id DROP IDENTITY;
ALTER INDEX messages_pkey RENAME TO messages_before_pkey;
ALTER INDEX messages_by_run RENAME TO messages_before_by_run;
ALTER INDEX messages_by_customer RENAME TO messages_before_by_customer;
ALTER INDEX messages_by_address RENAME TO messages_before_by_address;
ALTER TABLE messages_before ALTER COLUMN id SET DEFAULT regulars_message_id();
ALTER TABLE messages_before SET (fillfactor = 70);

CREATE TABLE messages (LIKE messages_before INCLUDING DEFAULTS) PARTITION BY RANGE (id);
ALTER TABLE messages ADD PRIMARY KEY (id);
CREATE INDEX messages_by_run ON messages (run_id, id);
CREATE INDEX messages_by_customer ON messages (customer_id, id DESC);
CREATE INDEX messages_by_address ON messages (organization_id, address);

DO $$
DECLARE
  this bigint := regulars_month(now());
BEGIN
  EXECUTE format('ALTER TABLE messages ATTACH PARTITION messages_before'
                 ' FOR VALUES FROM (MINVALUE) TO (%s)', this << 40);
  EXECUTE format('CREATE FUNCTION regulars_first_partition() RETURNS bigint'
                 ' LANGUAGE sql IMMUTABLE RETURN %s::bigint', this << 40);
  FOR month IN this .. this + 1 LOOP
    EXECUTE format('CREATE TABLE messages_%s_%s PARTITION OF messages'
                   ' FOR VALUES FROM (%s) TO (%s) WITH (fillfactor = 70)',
                   2020 + month / 12, lpad((month % 12 + 1)::text, 2, '0'), month::bigint << 40,
                   (month + 1)::bigint << 40);
  END LOOP;
END $$;

UPDATE run_chunks chunk SET first_id = held.first_id, last_id = held.last_id
  FROM (SELECT run_id, chunk_number, min(id) AS first_id, max(id) AS last_id
          FROM messages GROUP BY 1, 2) held
 WHERE held.run_id = chunk.run_id AND held.chunk_number = chunk.number;
"""

# Chunks are rewritten at every record; their rows need room on the page as the messages' do.
_ROOM = "ALTER TABLE run_chunks SET (fillfactor = 50); ALTER TABLE account_buckets SET (fillfactor = 50);"


class Migration(migrations.Migration):
    dependencies = [("runs", "0003_engine")]

    operations = [
        migrations.RunSQL(_PARTITION, migrations.RunSQL.noop),
        migrations.RunSQL(_ROOM, migrations.RunSQL.noop),
    ]
