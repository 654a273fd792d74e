"""How the database works the verdicts out: never by comparing everybody with everybody."""

import json

import pytest
from django.db import connection

from regulars.runs.choosing import choose

pytestmark = pytest.mark.django_db

# What is found out about the guests first, in lists that have no index.
LISTS = {"reach", "toll", "contest", "rival_0_reach", "rival_0_toll"}


def nodes(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes(child)


def bare(node):
    """The node below what only keeps or renames its rows."""
    return bare(node["Plans"][0]) if node["Node Type"] in ("Materialize", "Memoize") else node


def compared_one_by_one(plan):
    """The lists that are gone through anew for each row of something else."""
    inner = [bare(node["Plans"][1]) for node in nodes(plan) if node["Node Type"] == "Nested Loop"]
    return {name for node in inner if (name := node.get("CTE Name", node.get("Alias"))) in LISTS}


@pytest.mark.parametrize("trigger", ["inactive", "post_visit"])
def test_the_lists_about_guests_are_never_compared_one_by_one(trigger, organization, make_automation, now):
    """However few guests the database expects: here it knows of none at all, and there may be thousands."""
    organization.tact = {"caps": [{"messages": 2, "days": 7}]}
    organization.save(update_fields=["tact"])
    make_automation(name="goes first", position=1)
    automation = make_automation(trigger, name="comes second", position=2, channels=("email", "sms"))
    choice = choose(automation.current_version, now)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {choice.text}", choice.parameters)
        (found,) = cursor.fetchone()
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
    assert any(node.get("CTE Name") == "reach" for node in nodes(plan))
    assert not compared_one_by_one(plan)
