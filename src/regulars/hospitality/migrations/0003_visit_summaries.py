"""A row a guest about completed visits, kept true by statement-level triggers on `visits`.

What two writers at once do to one guest:

- Adding is arithmetic on the row as it is at its lock (one more, the later of two visits), so the
  order does not matter.
- Whatever takes a visit away or changes it first locks the guest's row and then counts anew in a
  statement of its own, whose snapshot is taken after the lock: it sees what every earlier holder of
  the lock has committed, and whoever comes later adds to what it leaves.

Rows are locked in the order of their customers, so that two imports cannot lock each other out.
"""

import django.db.models.deletion
from django.db import migrations, models

COLUMNS = "customer_id, organization_id, completed, last_visit_id, last_venue_id, last_visited_at, last_service_date"
# The counted part of a row of `visits`: what the summary is made of.
PART = "customer_id, organization_id, id, venue_id, visited_at, service_date"

SUMMARISE = f"""
  INSERT INTO visit_summaries AS known ({COLUMNS})
  SELECT DISTINCT ON (customer_id)
         customer_id, organization_id, count(*) OVER (PARTITION BY customer_id),
         id, venue_id, visited_at, service_date
    FROM {{source}}
   ORDER BY customer_id, service_date DESC, visited_at DESC, id DESC
"""

LAST = ("organization_id", "last_visit_id", "last_venue_id", "last_visited_at", "last_service_date")
LATER = """(EXCLUDED.last_service_date, EXCLUDED.last_visited_at, EXCLUDED.last_visit_id)
               > (known.last_service_date, known.last_visited_at, known.last_visit_id)"""
ADD = f"""
  ON CONFLICT (customer_id) DO UPDATE SET completed = known.completed + EXCLUDED.completed,
    {", ".join(f"{column} = CASE WHEN {LATER} THEN EXCLUDED.{column} ELSE known.{column} END" for column in LAST)}
"""
REPLACE = f"""
  ON CONFLICT (customer_id) DO UPDATE SET completed = EXCLUDED.completed,
    {", ".join(f"{column} = EXCLUDED.{column}" for column in LAST)}
"""


def counted(table, beside=""):
    return f"(SELECT {PART} FROM {table} WHERE state = 'completed' {beside}) counted"


FUNCTIONS = f"""
CREATE FUNCTION visit_summaries_recount(customers bigint[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM visit_summaries WHERE customer_id = ANY (customers) ORDER BY customer_id FOR UPDATE;
  DELETE FROM visit_summaries summary
   WHERE summary.customer_id = ANY (customers) AND NOT EXISTS (
         SELECT FROM visits WHERE visits.customer_id = summary.customer_id AND visits.state = 'completed');
  {SUMMARISE.format(source=counted("visits", "AND customer_id = ANY (customers)"))} {REPLACE};
END $$;

CREATE FUNCTION visit_summaries_after_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  {SUMMARISE.format(source=counted("added"))} {ADD};
  RETURN NULL;
END $$;

CREATE FUNCTION visit_summaries_after_update() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed bigint[];
BEGIN
  SELECT array_agg(DISTINCT customer_id) INTO changed FROM (
    SELECT {PART} FROM removed WHERE state = 'completed'
    EXCEPT SELECT {PART} FROM added WHERE state = 'completed') gone;
  IF changed IS NOT NULL THEN
    PERFORM visit_summaries_recount(changed);
  END IF;
  {
    SUMMARISE.format(
        source=f'''(SELECT {PART} FROM added
             WHERE state = 'completed' AND customer_id NOT IN (SELECT unnest(changed))
            EXCEPT SELECT {PART} FROM removed WHERE state = 'completed') counted'''
    )
} {ADD};
  RETURN NULL;
END $$;

CREATE FUNCTION visit_summaries_after_delete() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed bigint[];
BEGIN
  SELECT array_agg(DISTINCT customer_id) INTO changed FROM removed WHERE state = 'completed';
  IF changed IS NOT NULL THEN
    PERFORM visit_summaries_recount(changed);
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION visit_summaries_after_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM visit_summaries;
  RETURN NULL;
END $$;
"""

TRIGGERS = """
CREATE TRIGGER visit_summaries_insert AFTER INSERT ON visits REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION visit_summaries_after_insert();
CREATE TRIGGER visit_summaries_update AFTER UPDATE ON visits
  REFERENCING OLD TABLE AS removed NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION visit_summaries_after_update();
CREATE TRIGGER visit_summaries_delete AFTER DELETE ON visits REFERENCING OLD TABLE AS removed
  FOR EACH STATEMENT EXECUTE FUNCTION visit_summaries_after_delete();
CREATE TRIGGER visit_summaries_truncate AFTER TRUNCATE ON visits
  FOR EACH STATEMENT EXECUTE FUNCTION visit_summaries_after_truncate();
"""

DROP = """
DROP TRIGGER visit_summaries_insert ON visits;
DROP TRIGGER visit_summaries_update ON visits;
DROP TRIGGER visit_summaries_delete ON visits;
DROP TRIGGER visit_summaries_truncate ON visits;
DROP FUNCTION visit_summaries_after_insert();
DROP FUNCTION visit_summaries_after_update();
DROP FUNCTION visit_summaries_after_delete();
DROP FUNCTION visit_summaries_after_truncate();
DROP FUNCTION visit_summaries_recount(bigint[]);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("customers", "0002_initial"),
        ("hospitality", "0002_initial"),
        ("organizations", "0001_initial"),
    ]

    operations = [
        # The unique index on (organization, external_id) answers what these did; an import keeps one less.
        *(
            migrations.AlterField(
                model_name=model,
                name="organization",
                field=models.ForeignKey(
                    db_index=False,
                    on_delete=django.db.models.deletion.CASCADE,
                    to="organizations.organization",
                ),
            )
            for model in ("visit", "reservation")
        ),
        migrations.CreateModel(
            name="VisitSummary",
            fields=[
                (
                    "customer",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="customers.customer",
                    ),
                ),
                (
                    "organization",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="organizations.organization",
                    ),
                ),
                ("completed", models.PositiveIntegerField()),
                (
                    "last_visit",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="hospitality.visit",
                    ),
                ),
                (
                    "last_venue",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="hospitality.venue",
                    ),
                ),
                ("last_visited_at", models.DateTimeField()),
                ("last_service_date", models.DateField()),
            ],
            options={
                "db_table": "visit_summaries",
                "indexes": [
                    models.Index(fields=["organization", "last_service_date"], name="guests_by_last_visit")
                ],
            },
        ),
        # An older visit of a known guest changes the count alone: room for it on the same page.
        migrations.RunSQL("ALTER TABLE visit_summaries SET (fillfactor = 85)", migrations.RunSQL.noop),
        # No visit may slip in between the first count and the triggers.
        migrations.RunSQL("LOCK TABLE visits IN SHARE ROW EXCLUSIVE MODE", migrations.RunSQL.noop),
        migrations.RunSQL(SUMMARISE.format(source=counted("visits")), migrations.RunSQL.noop),
        migrations.RunSQL(FUNCTIONS + TRIGGERS, DROP),
    ]
