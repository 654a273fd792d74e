"""Automations that are there already take the place that their trigger has by default (E44)."""

from django.db import migrations

PLACES = """
UPDATE automations SET position = placed.position
  FROM (SELECT id, row_number() OVER (
                 PARTITION BY organization_id
                 ORDER BY CASE "trigger" WHEN 'reservation_confirmation' THEN 0
                               WHEN 'reservation_reminder' THEN 0 WHEN 'reservation_change' THEN 0
                               WHEN 'reservation_cancellation' THEN 0 WHEN 'birthday' THEN 20
                               WHEN 'post_visit' THEN 40 WHEN 'vip_reward' THEN 50 WHEN 'inactive' THEN 60
                               ELSE 90 END, created_at, id) AS position
          FROM automations) placed
 WHERE automations.id = placed.id
"""


class Migration(migrations.Migration):

    dependencies = [
        ('hospitality', '0006_tact'),
        ('automations', '0005_tact'),
    ]

    operations = [migrations.RunSQL(PLACES, migrations.RunSQL.noop)]
