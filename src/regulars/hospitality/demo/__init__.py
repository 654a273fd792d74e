"""A restaurant to try things out with: made-up guests, a year of visits, automations.

They write to nobody: its only account is the sandbox.

`seed` makes it once. Run “Te echamos de menos” afterwards and the answer is the ordered document's
own example: 45 processed, 42 sent, 2 skipped, 1 failed.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from regulars.hospitality.demo.history import settle_town
from regulars.hospitality.demo.intent import write_intent
from regulars.hospitality.demo.ledger import write_past
from regulars.hospitality.demo.people import cast
from regulars.lib import sql
from regulars.organizations.models import Membership, Organization, Role, User

SLUG = "demo"
# The demo is tried at any hour of the day, and its example must answer at once: only the airport's guests
# have quiet hours. The caps are stricter than the default, so that a glance shows somebody who had enough.
TACT = {"quiet_hours": None, "caps": [{"messages": 1, "days": 7}, {"messages": 3, "days": 30}]}
EMAIL = "demo@example.com"
# Printed by the command that makes the demo: a demo organization can reach nobody.
PASSWORD = "casa-marisol"  # noqa: S105 - documented on purpose


class DemoNameTakenError(Exception):
    """An organization called “demo” exists and is not the demo: rename its slug first."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """The demo restaurant, and how to sign in to it."""

    organization: Organization
    email: str
    password: str


def seed(now: datetime) -> DemoResult:
    """Make the demo restaurant as of `now`, all or nothing; where it exists, change nothing.

    Raises:
        DemoNameTakenError: the name is taken by a real organization.

    """
    found = Organization.objects.filter(slug=SLUG).first()
    if found is None:
        found = _make(now)
    if not found.is_demo:
        raise DemoNameTakenError(DemoNameTakenError.__doc__)
    return DemoResult(found, EMAIL, PASSWORD)


@transaction.atomic
def _make(now: datetime) -> Organization:
    # Two commands at once make one demo: the second waits here and finds it.
    sql.execute("SELECT pg_advisory_xact_lock(hashtextextended('regulars demo', 0))")
    found = Organization.objects.filter(slug=SLUG).first()
    if found is not None:
        return found
    organization = Organization.objects.create(
        slug=SLUG, name="Casa Marisol", timezone="Europe/Madrid", language="es", is_demo=True, tact=TACT
    )
    user = User.objects.filter(email=EMAIL).first() or User.objects.create_user(EMAIL, PASSWORD)
    Membership.objects.create(user=user, organization=organization, role=Role.OWNER)
    town = settle_town(organization, cast(), now)
    write_past(town, write_intent(organization, user, now))
    return organization
