"""The explanation of each guest is the preview's row about that guest, and its next date is kept."""

from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.conftest import NOW
from tests.properties.test_three_ways import Guest, World, build, worlds

from regulars.runs import engine
from regulars.runs.evidence import FIRM

conditions = st.sampled_from(
    [
        {},
        {},
        {"field": "visit_count", "operator": ">=", "value": 3},
        {"not": {"field": "visit_count", "operator": "is", "value": 2}},
        {"any": [{"field": "tier", "operator": "is", "value": "gold"},
                 {"field": "last_visit", "operator": "<=", "value": 90}]},
    ]
)  # fmt: skip
# Two guests of one address, one of whom goes first; a third who shares another with the second.
FIRST = Guest(visits=(90, 400), addresses=(("email", "a@example.com", ""),), consents=("email", "sms"))
SECOND = Guest(
    visits=(60, 90),
    addresses=(("email", "a@example.com", ""), ("sms", "+12015550101", "")),
    consents=("email", "sms"),
)
THIRD = Guest(visits=(60, 90), addresses=(("sms", "+12015550101", ""),), consents=("sms",))
SHARED = World(guests=(SECOND, FIRST, THIRD), channels=("email", "sms"))
EXAMPLES = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.django_db
@EXAMPLES
@example(world=SHARED, conditions={}, later=0)
@given(world=worlds, conditions=conditions, later=st.sampled_from([0, 1, 5, 29, 200, 300]))
def test_explaining_one_by_one_is_the_preview(world, conditions, later):
    with transaction.atomic():
        automation, customers = build(world)
        automation.versions.update(conditions=conditions)
        seen = engine.preview(automation, NOW)
        rows = {row.customer_id: row for row in seen.rows}
        assert seen.due == len(rows) == engine.count_due(automation, NOW)
        for customer in customers:
            (line,) = engine.explain(customer, NOW, automation)
            row = rows.get(customer.pk)
            assert line.due == (row is not None)
            if row is None:
                assert line.verdict == "not_due"
            else:
                assert (line.occasion, line.reason, line.due_at) == (row.occasion, row.reason, row.due_at)
                going = "hold" if row.send_after > NOW else "send"
                assert line.verdict == ("skip" if row.reason else going)
                assert line.winner_id == row.winner_id
            if row is not None and row.reason is None:
                reached = (line.channel, line.address, line.send_after)
                assert reached == (row.channel, row.address, row.send_after)
            assert line.evidence
            # Others in the list and in the audience change with their own times, silence by the hour.
            if not (world.rival or world.money or world.quiet):
                holds_until_it_may_change(customer, automation, line, NOW + timedelta(days=later))
        transaction.set_rollback(True)


def holds_until_it_may_change(customer, automation, line, moment):
    """Before `changes_at` the same is answered, if nothing happens."""
    firm = line.reason in FIRM
    # What others do, and what conditions on days ago say, changes with their time and not this guest's.
    if firm or line.reason == "duplicate_address" or "conditions" in line.words:
        return
    if any(fact.kind == "condition" for fact in line.evidence) or automation.current_version.conditions:
        return
    if line.changes_at is None or moment < line.changes_at:
        (then,) = engine.explain(customer, moment, automation)
        before = (line.due, line.occasion, line.reason)
        shared = then.reason == "duplicate_address"
        assert shared or (then.due, then.occasion, then.reason) == before


@pytest.mark.django_db
@settings(EXAMPLES, max_examples=20)
@example(world=SHARED, size=1, verdict="")
@given(
    world=worlds,
    size=st.sampled_from([1, 2, 3, 100]),
    verdict=st.sampled_from(["", "send", "no_consent", "cooldown"]),
)
def test_the_list_is_the_preview_page_by_page_and_as_a_whole(world, size, verdict):
    with transaction.atomic():
        automation, _ = build(world)

        def as_one(row):
            reached = (row.channel, row.address) if row.reason is None else None
            return (row.customer_id, row.occasion, row.reason, reached, row.due_at, row.send_after)

        expected = sorted(
            (
                as_one(row)
                for row in engine.preview(automation, NOW).rows
                if verdict in ("", row.reason or "send")
            ),
            key=lambda row: row[:2],
        )
        assert [as_one(row) for row in engine.forecast_all(automation, NOW, verdict)] == expected
        pages, after = [], 0
        while after is not None:
            found, after = engine.forecast(automation, NOW, after=after, limit=size, verdict=verdict)
            assert len(found) <= size
            pages += found
        assert [as_one(row) for row in pages] == expected
        transaction.set_rollback(True)
