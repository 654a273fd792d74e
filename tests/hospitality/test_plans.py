"""Each trigger's query finds its rows by its index, in a restaurant that is large enough to matter.

A chain of fifty thousand guests, analysed, with the product's own settings of the planner: reading
whole tables is possible, allowed, and must lose.
"""

import json
from datetime import timedelta

import pytest
from django.db import connection, transaction
from tests.conftest import NOW

from regulars.automations import triggers
from regulars.hospitality.models import Venue
from regulars.hospitality.upcoming import guests_who_booked
from regulars.lib import sql
from regulars.organizations.models import Organization

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

GUESTS = 50_000
WORLD = """
SET LOCAL random_page_cost = 1.1; SET LOCAL jit = off;
INSERT INTO customers (id, organization_id, first_name, last_name, birth_month, birth_day, language, timezone,
                       tier, tags, do_not_contact, do_not_contact_reason, created_at, updated_at)
SELECT n, {organization}, '', '', 1 + n % 12, 1 + n % 28, '', '',
       CASE WHEN n % 100 = 0 THEN 'gold' WHEN n % 10 = 0 THEN 'silver' ELSE '' END, '{{}}', FALSE, '',
       '{now}', '{now}'
  FROM generate_series(1, {guests}) n;
INSERT INTO tier_changes (customer_id, tier_before, tier, at)
SELECT id, '', tier, timestamptz '{now}' - make_interval(days => (id / 10 % 1000)::int)
  FROM customers WHERE tier <> '';
INSERT INTO visits (organization_id, customer_id, venue_id, visited_at, service_date, currency, state)
SELECT {organization}, n, {venue}, at, at::date, '', 'completed'
  FROM generate_series(1, {guests}) n, generate_series(0, 2) visit,
       LATERAL (SELECT timestamptz '{now}' - make_interval(days => (n % 1000) + 300 * visit) AS at) ended;
INSERT INTO reservations (organization_id, customer_id, venue_id, starts_at, status, confirmed_at, revision, updated_at)
SELECT {organization}, n, {venue}, timestamptz '{now}' + make_interval(days => 30 - n % 1000), 'confirmed',
       timestamptz '{now}' - make_interval(days => n % 997), 0, '{now}'
  FROM generate_series(1, {guests}) n;
ANALYZE customers, tier_changes, visits, visit_summaries, reservations;
"""
QUESTIONS = {
    "inactive": ("inactive", {"days": 60, "max_days": 90}, "guests_by_last_visit"),
    "birthday": ("birthday", {"lead_days": 2}, "customers_by_birthday"),
    "vip reward in a period": ("vip_reward", {"tiers": ["gold"]}, "customers_by_tier"),
    "vip reward on the rise": ("vip_reward", {"tiers": ["gold"], "period": "rise"}, "tier_changes_by_moment"),
    "post_visit": ("post_visit", {"delay_hours": 24, "max_late_hours": 24}, "visits_by_time"),
    "reservation_confirmation": ("reservation_confirmation", {}, "reservations_by_confirmation"),
}


@pytest.fixture(scope="module")
def chain(django_db_setup, django_db_blocker):
    """The chain, made once; the tests' own transactions are savepoints in its, which is undone."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_chain(NOW)
        transaction.set_rollback(True)


def make_chain(now):
    organization = Organization.objects.create(slug="chain", name="Chain", timezone="Europe/Madrid")
    venue = Venue.objects.create(organization=organization, name="Centro", timezone="Europe/Madrid")
    text = WORLD.format(organization=organization.pk, venue=venue.pk, guests=GUESTS, now=now.isoformat())
    sql.execute(text)
    return organization


def nodes(query):
    """The nodes of the query's plan, and how many rows it finds."""
    text, values = sql.compile_query(query)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values)
        found = cursor.fetchone()[0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    return list(_below(plan)), plan["Actual Rows"]


def _below(node):
    yield node
    for child in node.get("Plans", ()):
        yield from _below(child)


def scanned(plan):
    """Tables that are read whole, and the indexes that are used."""
    whole = {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}
    return whole - {"venues"}, {node["Index Name"] for node in plan if "Index Name" in node}


def test_every_trigger_finds_who_is_due_by_its_index(chain, now):
    for name, (kind, parameters, index) in QUESTIONS.items():
        trigger = triggers.get(kind)
        query = trigger.due(chain, trigger.parameters(**parameters), now)
        plan, found = nodes(query)
        whole, indexes = scanned(plan)
        assert 0 < found < GUESTS / 10, name
        assert not whole, f"{name} reads {whole} whole"
        assert index in indexes, f"{name} uses {indexes}"


def test_who_has_booked_is_found_by_its_index(chain, now):
    plan, found = nodes(guests_who_booked(chain, now))
    assert 0 < found < GUESTS / 10
    assert scanned(plan) == (set(), {"reservations_promised"})


def test_one_guest_costs_no_more_than_one_guest(chain, now):
    """An event passes its subjects: no trigger then reads more than a few of the guest's own rows."""
    for name, (kind, parameters, _) in QUESTIONS.items():
        trigger = triggers.get(kind)
        plan, _found = nodes(trigger.due(chain, trigger.parameters(**parameters), now, [77]))
        read = sum(node["Actual Rows"] * node["Actual Loops"] for node in plan)
        removed = sum(node.get("Rows Removed by Filter", 0) * node["Actual Loops"] for node in plan)
        assert read + removed < 100, f"{name} reads {read} rows and drops {removed}"


def test_a_birthday_tick_is_due_tomorrow_as_well(chain, now):
    """The plan does not hang on a lucky date."""
    trigger = triggers.get("birthday")
    for days in (1, 200, 300):
        plan, _ = nodes(trigger.due(chain, trigger.parameters(lead_days=2), now + timedelta(days=days)))
        assert scanned(plan) == (set(), {"customers_by_birthday"})
