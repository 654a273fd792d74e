"""Organizations, people, roles and the trail of what they did."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest

from regulars.organizations import access, audit, people
from regulars.organizations.access import Permission
from regulars.organizations.models import AuditEvent, Membership, Organization, Role, User

PASSWORD = "correct horse battery"


def test_an_organization_has_its_zone_country_and_language(db):
    made = people.create_organization("la-otra", "La Otra", "Atlantic/Canary", "es", "ES")
    kept = Organization.objects.get(pk=made.pk)
    assert (kept.timezone, kept.country, kept.language) == ("Atlantic/Canary", "ES", "es")
    assert len(bytes(kept.fingerprint_key)) == 32


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"timezone": "Europe/Atlantis"}, "Europe/Atlantis"),
        ({"slug": "not a slug"}, "slug"),
        ({"slug": "casa-pepe"}, "already exists"),
        ({"country": "Spain"}, "Spain"),
        ({"country": "1x"}, "1x"),
    ],
)
def test_a_faulty_organization_is_refused_in_words(organization, fields, word):
    with pytest.raises(people.PeopleError, match=word):
        people.create_organization(**({"slug": "new", "name": "New"} | fields))
    assert Organization.objects.count() == 1


def test_a_person_signs_in_with_their_address_and_belongs_to_the_organization(organization):
    user = people.create_user("Marta@Example.com", PASSWORD, "manager", organization)
    assert user.email == "marta@example.com"
    assert user.check_password(PASSWORD)
    assert Membership.objects.get(user=user).role == "manager"


@pytest.mark.parametrize(
    ("email", "password", "role"),
    [
        ("not an address", PASSWORD, "staff"),
        ("MARTA@example.com", PASSWORD, "staff"),
        ("new@example.com", "short", "staff"),
        ("new@example.com", "password", "staff"),
        ("new@example.com", PASSWORD, "emperor"),
    ],
)
def test_a_faulty_person_is_refused(organization, email, password, role):
    people.create_user("marta@example.com", PASSWORD, "owner", organization)
    with pytest.raises(people.PeopleError):
        people.create_user(email, password, role, organization)
    assert User.objects.count() == 1


def test_adding_a_member_again_changes_the_role(organization):
    user = people.create_user("marta@example.com", PASSWORD, "staff", organization)
    people.add_member(user, organization, "viewer")
    assert Membership.objects.get(user=user).role == "viewer"
    with pytest.raises(people.PeopleError, match="emperor"):
        people.add_member(user, organization, "emperor")


def test_each_role_includes_the_ones_below_it():
    allowed = [{right for right in Permission if access.may(role, right)} for role in Role]
    for higher, lower in pairwise(allowed):
        assert higher > lower
    assert allowed[0] == set(Permission)
    assert allowed[-1] == {Permission.READ}


def test_an_unknown_role_may_nothing():
    assert not any(access.may("emperor", right) for right in Permission)


def test_contact_data_is_for_owner_manager_and_staff():
    assert access.roles_with(Permission.SEE_CONTACT_DATA) == ["owner", "manager", "staff"]


@pytest.mark.parametrize("role", Role.values)
def test_every_role_may_run_until_the_organization_says_otherwise(organization, role):
    assert access.may_run(organization, role)
    organization.run_roles = ["manager"]
    assert access.may_run(organization, role) == (role == "manager")


def test_the_chosen_organization_counts_only_for_its_members(organization):
    other = people.create_organization("la-otra", "La Otra")
    foreign = people.create_organization("ajena", "Ajena")
    user = people.create_user("marta@example.com", PASSWORD, "owner", organization)
    people.add_member(user, other, "viewer")
    assert access.membership_of(user).organization == organization
    assert access.membership_of(user, other.pk).organization == other
    assert access.membership_of(user, foreign.pk).organization == organization
    assert access.membership_of(user, "nonsense").organization == organization


def test_who_belongs_nowhere_has_no_membership(db):
    assert access.membership_of(people.create_user("marta@example.com", PASSWORD)) is None


def test_the_trail_keeps_who_did_what_to_what(organization):
    user = people.create_user("marta@example.com", PASSWORD, "owner", organization)
    now = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)
    audit.record(organization, user, "automation.enabled", now=now, subject=7, name="We miss you")
    event = AuditEvent.objects.get()
    assert (event.user, event.action, event.subject, event.at) == (
        user,
        "automation.enabled",
        "7",
        now,
    )
    assert event.details == {"name": "We miss you"}
