"""A restaurant whose N guests are all due for a win-back, made fast: what each run starts from.

`python -m benchmarks.world N CHANNEL ACCOUNT_JSON [--ledger M] [--per-second R]`, with DATABASE_URL
naming an empty database; prints one JSON object with the automation's id.
"""

import argparse
import json
import subprocess
import sys

SECRET_KEY = "benchmarks-only-benchmarks-only-benchmarks-only"

# It sends at any hour of the day, as often as is measured.
TACTLESS = {"quiet_hours": None, "caps": []}

# No such telephone number can exist: it has two digits too many, and no area is called 555.
GUESTS = """
WITH guest AS (
  INSERT INTO customers (organization_id, external_id, first_name, last_name, language, timezone, tier,
                         tags, do_not_contact, do_not_contact_reason, created_at, updated_at)
  SELECT %(organization)s, n::text, 'Guest' || n %% 1000, 'Number' || n, 'es', '', '', '{}', FALSE, '',
         now(), now()
    FROM generate_series(%(first)s, %(last)s) n
  RETURNING id, external_id
), reach AS (
  INSERT INTO addresses (organization_id, customer_id, channel, address, fingerprint, position, bad_reason)
  SELECT %(organization)s, id, %(channel)s,
         CASE %(channel)s WHEN 'sms' THEN '+155501' || lpad(external_id, 8, '0')
                          ELSE 'guest' || external_id || '@example.com' END,
         sha256(external_id::bytea), 0, ''
    FROM guest
), allowed AS (
  INSERT INTO consents (customer_id, channel, purpose, granted, basis, source, wording, actor, at,
                        recorded_at, is_current)
  SELECT id, %(channel)s, 'marketing', TRUE, 'consent', '', '', '', now(), now(), TRUE FROM guest
)
INSERT INTO visits (organization_id, customer_id, venue_id, visited_at, service_date, currency, state)
SELECT %(organization)s, guest.id, %(venue)s, now() - make_interval(days => ago),
       (now() - make_interval(days => ago))::date, 'EUR', 'completed'
  FROM guest, unnest(ARRAY[90, 120]) ago
"""
SLICE = 100_000

TEXT = "Hola {{ customer.first_name | default: 'amigo' }}, te echamos de menos en {{ venue.name }}."
MAIL = (
    "Hola {{ customer.first_name | default: 'amigo' }}:\n\n"
    "Te echamos de menos en {{ venue.name }}. Tu mesa te espera, y esta semana invitamos al postre.\n\n"
    "Hasta pronto,\n{{ organization.name }}"
)
SUBJECT = "Te echamos de menos en {{ venue.name }}"


def account(channel: str, port: int, kind: str = "") -> dict[str, object]:
    """Kind and options of a provider account that sends into a sink on this port.

    Texts go through Twilio's contract, letters by SMTP unless the kind is `brevo`.
    """
    if kind == "brevo":
        options = {"api_key": "none", "from_address": "hola@example.com"}
        return {"kind": kind, "options": options | {"base_url": f"http://127.0.0.1:{port}/v3"}}
    if channel == "sms":
        options = {
            "account_sid": "AC" + "0" * 32,
            "auth_token": "none",
            "from": "+12015550100",
            "base_url": f"http://127.0.0.1:{port}",
        }
        return {"kind": "twilio", "options": options}
    options = {"host": "127.0.0.1", "port": port, "security": "none", "from_address": "hola@example.com"}
    return {"kind": "smtp", "options": options}


def build(
    environment: dict[str, str], number: int, channel: str, port: int, *more: str, kind: str = ""
) -> str:
    """Build the world in a process of its own; the automation's id."""
    command = [sys.executable, "-m", "benchmarks.world", str(number), channel]
    command += [json.dumps(account(channel, port, kind)), *more]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return str(json.loads(done.stdout)["automation"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    parser.add_argument("channel", choices=["sms", "email"])
    parser.add_argument("account", type=json.loads)
    parser.add_argument("--ledger", type=int, default=0, help="messages of earlier months already there")
    parser.add_argument("--per-second", type=int, default=None)
    asked = parser.parse_args()
    from regulars.cli import starting

    starting.start()
    organization, venue = _places()
    _guests(asked, organization, venue)
    automation = _automation(asked, organization)
    if asked.ledger:
        from benchmarks import ledger

        ledger.fill(organization.pk, asked.number, asked.ledger)
    _settle()
    json.dump({"automation": str(automation.pk)}, sys.stdout)


def _places():
    from regulars.hospitality.models import Venue
    from regulars.organizations.models import Organization

    organization = Organization.objects.create(
        slug="bench", name="Casa Pepe", timezone="Europe/Madrid", language="es", tact=TACTLESS
    )
    venue = Venue.objects.create(organization=organization, name="Casa Pepe Centro", timezone="Europe/Madrid")
    return organization, venue


def _guests(asked, organization, venue) -> None:
    from regulars.lib import sql

    for first in range(1, asked.number + 1, SLICE):
        values = {
            "organization": organization.pk,
            "venue": venue.pk,
            "channel": asked.channel,
            "first": first,
            "last": min(first + SLICE - 1, asked.number),
        }
        sql.execute(GUESTS, values)


def _automation(asked, organization):
    from regulars.automations.accounts import create_account
    from regulars.automations.content import Definition, create

    made = create_account(organization, "sink", asked.account["kind"], asked.account["options"])
    if asked.per_second:
        made.per_second = asked.per_second
        made.save(update_fields=["per_second"])
    mail = asked.channel == "email"
    template = {"channel": asked.channel, "language": "es", "body": MAIL if mail else TEXT}
    definition = {
        "name": "We miss you",
        "trigger": "inactive",
        "channels": [asked.channel],
        "templates": [template | ({"subject": SUBJECT} if mail else {})],
        "enabled": True,
    }
    return create(organization, Definition.model_validate(definition), None)


def _settle() -> None:
    """Statistics, hint bits and the visibility map: so that no run pays for the building."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


if __name__ == "__main__":
    main()
