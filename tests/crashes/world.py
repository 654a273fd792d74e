"""What the worlds do inside the product: fill the database, start runs, decide, ask the doctor.

Each function runs in a process of the world's own (see `nursery`). Guests have numbers of the range
kept for examples (555-01xx in every area), each number belongs to one guest only: whatever number
arrives twice at the sink is somebody who got two.
"""

from datetime import timedelta

# Worlds work at any hour of the day, and their guests hear as often as a test likes.
TACTLESS = {"quiet_hours": None, "caps": []}

# One restaurant's guests are all due for a win-back by SMS.
GUESTS = """
WITH guest AS (
  INSERT INTO customers (organization_id, external_id, first_name, last_name, language, timezone, tier,
                         tags, do_not_contact, do_not_contact_reason, created_at, updated_at)
  SELECT %(organization)s, n::text, 'Guest', n::text, 'es', '', '', '{}', FALSE, '', now(), now()
    FROM generate_series(%(first)s, %(first)s + %(guests)s - 1) n
  RETURNING id, external_id::int AS n
), reach AS (
  INSERT INTO addresses (organization_id, customer_id, channel, address, fingerprint, position, bad_reason)
  SELECT %(organization)s, id, 'sms', '+1' || 201 + n / 100 || '55501' || lpad((n %% 100)::text, 2, '0'),
         sha256(n::text::bytea), 0, ''
    FROM guest
), allowed AS (
  INSERT INTO consents (customer_id, channel, purpose, granted, basis, source, wording, actor, at,
                        recorded_at, is_current)
  SELECT id, 'sms', 'marketing', TRUE, 'consent', '', '', '', now() - interval '2 days', now(), TRUE FROM guest
)
INSERT INTO visits (organization_id, customer_id, venue_id, visited_at, service_date, currency, state)
SELECT %(organization)s, guest.id, %(venue)s, now() - make_interval(days => ago),
       (now() - make_interval(days => ago))::date, 'EUR', 'completed'
  FROM guest, unnest(ARRAY[90, 120]) ago
"""


def build(sizes, base_url):
    """One restaurant per size, with its own account at the sink; their automations' ids in order."""
    from django.db import connection

    found = []
    first = 0
    with connection.cursor() as cursor:
        for number, guests in enumerate(sizes):
            found.append(_restaurant(cursor, number, first, guests, base_url))
            first += guests
        cursor.execute("ANALYZE")
    return found


def _restaurant(cursor, number, first, guests, base_url):
    from regulars.automations.accounts import create_account
    from regulars.hospitality.models import Venue
    from regulars.organizations.models import Organization

    organization = Organization.objects.create(
        slug=f"casa-{number}", name=f"Casa {number}", timezone="Europe/Madrid", language="es", tact=TACTLESS
    )
    venue = Venue.objects.create(organization=organization, name="Here", timezone="Europe/Madrid")
    options = {
        "account_sid": f"AC{number:032x}",
        "auth_token": "not-a-secret",
        "from": "+12015550100",
        "base_url": base_url,
    }
    create_account(organization, "sink", "twilio", options)
    values = {"organization": organization.pk, "venue": venue.pk, "first": first, "guests": guests}
    cursor.execute(GUESTS, values)
    return str(win_back(organization.pk).pk)


def win_back(organization_id, **changes):
    """An enabled win-back by SMS."""
    from regulars.automations.content import Definition, create
    from regulars.organizations.models import Organization

    definition = {
        "name": "We miss you",
        "trigger": "inactive",
        "channels": ["sms"],
        "templates": [
            {"channel": "sms", "language": "es", "body": "Hola {{ customer.first_name | default: 'amigo' }}"}
        ],
        "enabled": True,
    } | changes
    organization = Organization.objects.get(pk=organization_id)
    return create(organization, Definition.model_validate(definition), None)


# Their guests write to them by WhatsApp: there is a window for free text.
ON_WHATSAPP = (
    """INSERT INTO addresses (organization_id, customer_id, channel, address, fingerprint, position,
                               bad_reason, last_inbound_at)
       SELECT organization_id, customer_id, 'whatsapp', address, fingerprint, 0, '', now()
         FROM addresses WHERE channel = 'sms'""",
    """INSERT INTO consents (customer_id, channel, purpose, granted, basis, source, wording, actor, at,
                              recorded_at, is_current)
       SELECT customer_id, 'whatsapp', purpose, granted, basis, source, wording, actor, at, now(), TRUE
         FROM consents WHERE channel = 'sms'""",
)


def prefer_whatsapp(automations):
    """All of them write by WhatsApp, and by SMS whom that does not reach."""
    from django.db import connection

    from regulars.automations.models import Automation

    with connection.cursor() as cursor:
        for statement in ON_WHATSAPP:
            cursor.execute(statement)
    for pk in automations:
        _prefer_whatsapp(Automation.objects.select_related("organization").get(pk=pk))


def _prefer_whatsapp(automation):
    from regulars.automations import accounts, content

    (account,) = automation.organization.accounts.all()
    options = account.options | {"whatsapp_from": "+12015550100"}
    accounts.change_account(account, options=options, channels=["whatsapp", "sms"])
    wanted = content.definition_of(automation)
    wanted["templates"].append(wanted["templates"][0] | {"channel": "whatsapp"})
    wanted |= {"channels": ["whatsapp", "sms"], "policy": wanted["policy"] | {"fallback": True}}
    content.change(automation, content.parse_definition(wanted), None)


def start(automations, origin="manual"):
    """Start a run of each automation; the runs' ids."""
    from regulars.automations.models import Automation
    from regulars.lib import clock
    from regulars.runs import engine

    chosen = [Automation.objects.select_related("organization").get(pk=pk) for pk in automations]
    return [str(engine.start(automation, now=clock.now(), origin=origin).pk) for automation in chosen]


def settle_unknowns(decision):
    """Decide every unknown in the same way, as a person would one by one; their addresses."""
    from regulars.lib import clock
    from regulars.runs import engine
    from regulars.runs.models import Message

    unknown = Message.objects.filter(state="unknown")
    addresses = list(unknown.values_list("address", flat=True))
    for pk in list(unknown.values_list("pk", flat=True)):
        engine.settle(pk, engine.Decision(decision), "person@example.com", clock.now())
    return addresses


def violations():
    """What the doctor would find wrong."""
    from regulars.runs import invariants

    return invariants.violations()


def plan_and_hold(automation, seconds):
    """Plan a run here and now, and let its messages leave later; its id and their addresses."""
    from django.db import connection

    from regulars.lib import clock
    from regulars.runs.models import Message
    from regulars.runs.planning import plan

    (run,) = start([automation])
    assert plan(run, clock.now())
    with connection.cursor() as cursor:
        for query in HOLD:
            cursor.execute(query, {"run": run, "later": clock.now() + timedelta(seconds=seconds)})
    return run, list(Message.objects.filter(run_id=run).values_list("address", flat=True))


HOLD = (
    "UPDATE messages SET send_after = %(later)s WHERE run_id = %(run)s",
    "UPDATE run_chunks SET next_due = %(later)s WHERE run_id = %(run)s",
    "UPDATE automation_logs SET state = 'waiting' WHERE id = %(run)s",
)


def report_all(report):
    """What the provider says later about every message, one after another."""
    from regulars.lib import clock
    from regulars.runs import engine, reporting
    from regulars.runs.models import Message

    for pk in list(Message.objects.order_by("pk").values_list("pk", flat=True)):
        news = reporting.News(reporting.Report(report), message_id=pk, key=f"{report} {pk}")
        engine.report(news, clock.now())


def tokens(automations):
    """A token of each automation's owner, as scripts use them."""
    from regulars.automations.models import Automation
    from regulars.organizations import people
    from regulars.organizations import tokens as issued

    found = []
    for number, pk in enumerate(automations):
        organization = Automation.objects.select_related("organization").get(pk=pk).organization
        user = people.create_user(
            f"owner{number}@example.com", "a-long-enough-secret-7", "owner", organization
        )
        found.append(issued.create(user, organization))
    return found


def change_automation(automation, change):
    """Edit, disable or delete it while its run is on."""
    from regulars.automations import content
    from regulars.automations.models import Automation
    from regulars.lib import clock

    found = Automation.objects.select_related("organization").get(pk=automation)
    if change == "edit":
        wanted = content.definition_of(found)
        wanted["templates"][0]["body"] = "Vuelve pronto"
        content.change(found, content.parse_definition(wanted), None)
    elif change == "disable":
        content.disable(found)
    else:
        content.delete(found, clock.now())


def second_win_back(automation):
    """Another win-back of the same organization; its id."""
    from regulars.automations.models import Automation

    organization_id = Automation.objects.get(pk=automation).organization_id
    return str(win_back(organization_id, name="We still miss you").pk)
