"""Who a condition matches, held against a plain reading of the same rules."""

from datetime import UTC, datetime, timedelta

import pytest
from condition_world import WORLD, ZONES, holds, leaves, trees
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from regulars.automations.conditions import (
    ConditionError,
    Kind,
    all_fields,
    check_conditions,
    compile_conditions,
    register_field,
)
from regulars.customers.models import Customer
from regulars.hospitality.models import Venue, Visit

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
MOMENTS = st.sampled_from(
    # Noon; just past midnight in Madrid; around the service day's start in Auckland.
    [NOW, datetime(2026, 6, 15, 22, 30, tzinfo=UTC), datetime(2026, 6, 15, 16, 59, tzinfo=UTC)]
)
unhurried = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def world(organization):
    """The guests of `WORLD` in the database: their names are their numbers."""
    venues = {
        name: Venue.objects.create(organization=organization, name=name, timezone=zone)
        for name, zone in ZONES.items()
    }
    for number, guest in enumerate(WORLD):
        year, month, day = guest.born
        customer = Customer.objects.create(
            organization=organization,
            first_name=str(number),
            tier=guest.tier,
            tags=list(guest.tags),
            language=guest.language,
            birth_year=year,
            birth_month=month,
            birth_day=day,
        )
        for stay in guest.stays:
            Visit.objects.create(
                organization=organization,
                customer=customer,
                venue=venues[stay.place],
                visited_at=NOW - timedelta(days=1),
                service_date=stay.day,
                amount=stay.amount,
                state=stay.state,
            )
    return organization


def matched(tree, organization, now=NOW):
    people = Customer.objects.filter(organization=organization)
    found = people.filter(compile_conditions(tree, organization, now))
    return sorted(int(name) for name in found.values_list("first_name", flat=True))


@unhurried
@given(tree=trees, now=MOMENTS)
def test_a_condition_matches_whom_a_plain_reading_matches(world, tree, now):
    expected = [number for number, guest in enumerate(WORLD) if holds(tree, guest, now)]
    assert matched(tree, world, now) == expected


@unhurried
@given(tree=trees)
@example(tree={"field": "age", "operator": "is_not", "value": 30})
def test_not_matches_exactly_the_others(world, tree):
    together = matched(tree, world) + matched({"not": tree}, world)
    assert sorted(together) == list(range(len(WORLD)))


@settings(unhurried, max_examples=60)
@given(leaf=leaves)
def test_each_leaf_alone_matches_a_plain_reading(world, leaf):
    assert matched(leaf, world) == [n for n, guest in enumerate(WORLD) if holds(leaf, guest, NOW)]


def test_an_empty_condition_is_everybody(world):
    assert matched({}, world) == list(range(len(WORLD)))


def test_an_unknown_age_matches_no_age_at_all(world):
    without = [n for n, guest in enumerate(WORLD) if None in guest.born]
    for operator, value in [("is_not", 30), (">=", 0), ("not_in", [30]), ("between", [0, 150])]:
        tree = {"field": "age", "operator": operator, "value": value}
        assert not set(matched(tree, world)) & set(without)


def test_a_whole_tree_is_one_query(world, django_assert_num_queries):
    fields = [
        {"field": "visit_count", "operator": ">=", "value": 1},
        {"field": "spend", "operator": ">=", "value": 100},
        {"field": "last_visit", "operator": ">=", "value": 1},
        {"not": {"field": "venue", "operator": "is", "value": "Centro"}},
        {"field": "age", "operator": ">=", "value": 18},
    ]
    with django_assert_num_queries(1):
        matched({"any": fields}, world)


def test_a_null_condition_of_a_pack_is_still_negated_exactly(world):
    """A careless builder whose answer is NULL for some: `not` must include those."""
    from django.db.models import F, Q

    from regulars.automations import condition_fields

    def careless(organization, now, operator, value):
        return Q(condition_fields.LessThan(F("birth_year"), value))

    register_field("test_careless", Kind.NUMBER, careless, label="Careless", operators=["<"])
    try:
        tree = {"field": "test_careless", "operator": "<", "value": 2000}
        assert sorted(matched(tree, world) + matched({"not": tree}, world)) == list(range(len(WORLD)))
    finally:
        condition_fields._fields.pop("test_careless")


def test_a_voided_visit_is_no_visit(world):
    voided = 6
    assert voided not in matched({"field": "visit_count", "operator": ">=", "value": 1}, world)
    assert voided in matched({"field": "last_visit", "operator": "unknown"}, world)


def test_spend_of_exactly_the_threshold_counts(world):
    assert 2 in matched({"field": "spend", "operator": ">=", "value": 100}, world)
    assert 4 not in matched({"field": "spend", "operator": ">=", "value": 100}, world)


def test_a_venue_can_be_named_by_its_id(world):
    number = Venue.objects.get(name="Playa").pk
    by_id = matched({"field": "venue", "operator": "is", "value": number}, world)
    assert by_id == matched({"field": "venue", "operator": "is", "value": "Playa"}, world) != []


def test_a_dinner_after_midnight_is_not_yet_a_day_ago(world):
    # 00:30 on the 16th in Madrid is still the service day of the 15th.
    late = datetime(2026, 6, 15, 22, 30, tzinfo=UTC)
    tree = {"field": "last_visit", "operator": "is", "value": 0}
    assert 1 in matched(tree, world, late)
    assert 1 not in matched(tree, world, late + timedelta(hours=5))


def nested(depth):
    tree = {"field": "tier", "operator": "known"}
    for _ in range(depth - 1):
        tree = {"not": tree}
    return tree


LEAF = {"field": "tier", "operator": "is", "value": "gold"}
FAULTS = [
    (
        {"all": [LEAF, {"field": "teir", "operator": "is", "value": "x"}]},
        "conditions.all[1].field",
        "tier",
    ),
    ({"field": "tier", "operator": ">=", "value": "x"}, "conditions.operator", "is_not"),
    ({"field": "age", "operator": ">=", "value": "18"}, "conditions.value", "whole number"),
    ({"field": "age", "operator": ">=", "value": True}, "conditions.value", "whole number"),
    ({"field": "age", "operator": "between", "value": [40, 18]}, "conditions.value", "above"),
    ({"field": "age", "operator": "between", "value": [18]}, "conditions.value", "two values"),
    ({"field": "birthday_month", "operator": "is", "value": 13}, "conditions.value", "at most 12"),
    ({"field": "birthday_month", "operator": "is", "value": 0}, "conditions.value", "at least 1"),
    ({"field": "tier", "operator": "in", "value": []}, "conditions.value", "at least one"),
    ({"field": "tier", "operator": "in", "value": ["a"] * 501}, "conditions.value", "500"),
    ({"field": "tier", "operator": "is", "value": "a\x00"}, "conditions.value", "ordinary"),
    ({"field": "tier", "operator": "is", "value": ""}, "conditions.value", "not empty"),
    ({"field": "tier", "operator": "known", "value": "x"}, "conditions.value", "no value"),
    ({"field": "tier", "operator": "is"}, "conditions.value", "text"),
    ({"field": "last_visit", "operator": ">=", "value": "yesterday"}, "conditions.value", "2026"),
    (
        {"field": "last_visit", "operator": "in", "value": [3, "2026-05-31"]},
        "conditions.value",
        "both",
    ),
    ({"field": "spend", "operator": ">=", "value": float("nan")}, "conditions.value", "ordinary"),
    ({"field": "venue", "operator": "is", "value": 0}, "conditions.value", "id"),
    ({"any": []}, "conditions.any", "at least one"),
    ({"any": {"a": 1}}, "conditions.any", "list"),
    ({"not": {}}, "conditions.not", "not empty"),
    ({"not": {"any": [LEAF, {"not": []}]}}, "conditions.not.any[1].not", "not empty"),
    ({"all": [LEAF], "any": [LEAF]}, "conditions", "one word"),
    ({"field": "tier", "operator": "is", "value": "x", "valeu": 1}, "conditions.valeu", "neither"),
    ({"field": ["tier"], "operator": "is", "value": "x"}, "conditions.field", "no field"),
    ({"field": "tier", "operator": {}, "value": "x"}, "conditions.operator", "Possible"),
    ([LEAF], "conditions", "object"),
    (nested(11), "conditions" + ".not" * 10, "10 deep"),
    ({"all": [LEAF] * 200}, "conditions.all[199]", "200"),
]


@pytest.mark.parametrize(("tree", "path", "words"), FAULTS)
def test_what_cannot_be_understood_is_refused_with_its_place(tree, path, words):
    from regulars.organizations.models import Organization

    with pytest.raises(ConditionError) as fault:
        compile_conditions(tree, Organization(timezone="Europe/Madrid"), NOW)
    assert fault.value.path == path
    assert words in fault.value.problem


def test_the_deepest_and_the_largest_allowed_trees_are_taken(world):
    assert matched(nested(10), world)
    assert matched({"all": [LEAF] * 199}, world) == matched(LEAF, world)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["all", "any", "not", "field", "operator", "value", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(tree=json_values)
def test_any_json_is_either_understood_or_refused_with_a_path(tree):
    from regulars.organizations.models import Organization

    try:
        compile_conditions(tree, Organization(timezone="Europe/Madrid"), NOW)
    except ConditionError as error:
        fault = error
    else:
        return
    assert fault.path.startswith("conditions")
    assert fault.problem


def test_a_venue_that_does_not_exist_is_refused_when_saved(world):
    tree = {"not": {"field": "venue", "operator": "in", "value": ["Centro", "Plaja"]}}
    with pytest.raises(ConditionError) as fault:
        check_conditions(tree, world)
    assert fault.value.path == "conditions.not.value"
    assert "Plaja" in fault.value.problem
    assert "Playa" in fault.value.problem


def test_every_field_says_what_it_is_for_an_editor():
    names = {field.name for field in all_fields()}
    assert {"tier", "tags", "language", "birthday_month", "age"} <= names
    assert {"visit_count", "spend", "last_visit", "venue"} <= names
    assert all(field.label and field.operators for field in all_fields())


def test_an_operator_of_another_kind_cannot_be_registered():
    with pytest.raises(ValueError, match="contains"):
        register_field("test_bad", Kind.NUMBER, lambda *_: None, label="Bad", operators=["contains"])
