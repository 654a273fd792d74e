"""Fill an empty database with one restaurant whose N guests are all due for a win-back.

Run as a script: `python world.py N DELAY_MS`; prints the automation's id.
"""

import json
import sys

from regulars.cli import starting

GUESTS = """
WITH guest AS (
  INSERT INTO customers (organization_id, external_id, first_name, last_name, language, timezone, tier,
                         tags, do_not_contact, do_not_contact_reason, created_at, updated_at)
  SELECT %(organization)s, n::text, 'Guest', n::text, 'es', '', '', '{}', FALSE, '', now(), now()
    FROM generate_series(1, %(number)s) n
  RETURNING id, external_id
), reach AS (
  INSERT INTO addresses (organization_id, customer_id, channel, address, fingerprint, position, bad_reason)
  SELECT %(organization)s, id, 'email', 'guest' || external_id || '@example.com',
         sha256(external_id::bytea), 0, ''
    FROM guest
), allowed AS (
  INSERT INTO consents (customer_id, channel, purpose, granted, basis, source, wording, actor, at,
                        recorded_at, is_current)
  SELECT id, 'email', 'marketing', TRUE, 'consent', '', '', '', now(), now(), TRUE FROM guest
)
INSERT INTO visits (organization_id, customer_id, venue_id, visited_at, service_date, currency, state)
SELECT %(organization)s, guest.id, %(venue)s, now() - make_interval(days => ago),
       (now() - make_interval(days => ago))::date, 'EUR', 'completed'
  FROM guest, unnest(ARRAY[90, 120]) ago
"""


def main(number, delay):
    starting.start()
    from django.db import connection

    from regulars.automations.accounts import create_account
    from regulars.automations.content import Definition, create
    from regulars.hospitality.models import Venue
    from regulars.organizations.models import Organization

    organization = Organization.objects.create(slug="crash", name="Crash", timezone="Europe/Madrid")
    venue = Venue.objects.create(organization=organization, name="Here", timezone="Europe/Madrid")
    create_account(organization, "sandbox", "sandbox", {"delay_ms": delay})
    with connection.cursor() as cursor:
        values = {"organization": organization.pk, "venue": venue.pk, "number": number}
        cursor.execute(GUESTS, values)
        cursor.execute("ANALYZE")
    definition = {
        "name": "We miss you",
        "trigger": "inactive",
        "channels": ["email"],
        "templates": [
            {
                "channel": "email",
                "language": "es",
                "subject": "Te echamos de menos",
                "body": "Hola {{ customer.first_name | default: 'amigo' }}, vuelve pronto.",
            }
        ],
        "enabled": True,
    }
    automation = create(organization, Definition.model_validate(definition), None)
    json.dump({"automation": str(automation.pk)}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
