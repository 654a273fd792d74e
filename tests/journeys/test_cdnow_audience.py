"""On real purchase histories the audience of “inactive” is what plain SQL over the visits says."""

from datetime import UTC, datetime

import pytest
from django.db import connection
from tests.journeys.test_cdnow_by_mail import data

from regulars.automations.models import Automation, AutomationVersion, ProviderAccount
from regulars.customers.importing import import_file
from regulars.lib import clock
from regulars.organizations.models import Organization
from regulars.runs import engine

AUDIENCE = """
SELECT customer_id FROM (
  SELECT customer_id, count(*) AS visits,
         max((visited_at AT TIME ZONE %(zone)s - interval '5 hours')::date) AS last
    FROM visits WHERE organization_id = %(organization)s GROUP BY customer_id) guest
 WHERE visits >= %(visits)s
   AND (%(now)s AT TIME ZONE %(zone)s - interval '5 hours')::date - last BETWEEN %(days)s AND %(most)s
"""

MOMENTS = [
    # Before and after midnight and the service day's cut-off in Madrid, and around a clock change.
    datetime(2026, 11, 23, 9, 0, tzinfo=UTC),
    datetime(2026, 11, 23, 3, 59, tzinfo=UTC),
    datetime(2026, 11, 23, 4, 1, tzinfo=UTC),
    datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
    datetime(2027, 2, 28, 23, 30, tzinfo=UTC),
]


@pytest.mark.slow
@pytest.mark.django_db
def test_the_audience_equals_plain_sql_for_several_n_at_several_times():
    organization = Organization.objects.create(
        slug="cdnow", name="CDNOW", timezone="Europe/Madrid", country="US", language="en"
    )
    ProviderAccount.objects.create(
        organization=organization, name="sandbox", kind="sandbox", channels=["email"]
    )
    for kind in ("customers", "visits"):
        import_file(kind, data() / f"{kind}.csv", organization, now=clock.now())
    sizes = [
        compare(organization, days, visits, moment)
        for days, visits in ((30, 1), (60, 2), (90, 2), (180, 3), (365, 1))
        for moment in MOMENTS
    ]
    assert min(sizes) < max(sizes)
    assert max(sizes) > 500


def compare(organization, days, visits, moment):
    automation = Automation.objects.create(
        organization=organization, name=f"{days}", trigger="inactive", version_number=1
    )
    AutomationVersion.objects.create(
        automation=automation,
        number=1,
        channels=["email"],
        parameters={"days": days, "min_visits": visits, "max_days": 900},
    )
    with connection.cursor() as cursor:
        cursor.execute(
            AUDIENCE,
            {
                "zone": "Europe/Madrid",
                "organization": organization.pk,
                "visits": visits,
                "now": moment,
                "days": days,
                "most": 900,
            },
        )
        expected = {row[0] for row in cursor.fetchall()}
    seen = engine.preview(automation, moment, limit=10_000)
    assert {row.customer_id for row in seen.rows} == expected
    assert seen.due == len(seen.rows)
    return len(expected)
