"""Keys for programs: readable once, worthless with their person."""

from datetime import UTC, datetime, timedelta

import pytest

from regulars.organizations import people, tokens
from regulars.organizations.models import ApiToken, Membership

NOW = datetime(2026, 6, 15, 12, 0, tzinfo=UTC)


@pytest.fixture
def member(organization):
    return people.create_user("marta@example.com", "correct horse battery", "staff", organization)


def test_a_token_acts_for_its_member(member, organization):
    token = tokens.create(member, organization, "till")
    found = tokens.verify(token, NOW)
    assert (found.user, found.organization, found.role) == (member, organization, "staff")


@pytest.mark.parametrize("wrong", ["", "x", "regulars_", "regulars_x", "regulars_ñ", "regulars_\0"])
def test_a_wrong_token_acts_for_nobody(member, organization, wrong):
    tokens.create(member, organization)
    assert tokens.verify(wrong, NOW) is None


def test_the_token_itself_is_kept_nowhere(member, organization):
    token = tokens.create(member, organization)
    kept = ApiToken.objects.values().get()
    assert token.removeprefix(tokens.PREFIX) not in str(kept)


def test_a_role_taken_away_is_taken_from_the_token_too(member, organization):
    token = tokens.create(member, organization)
    people.add_member(member, organization, "viewer")
    assert tokens.verify(token, NOW).role == "viewer"
    Membership.objects.all().delete()
    assert tokens.verify(token, NOW) is None


def test_its_use_is_noted_but_not_at_every_call(member, organization):
    token = tokens.create(member, organization)
    tokens.verify(token, NOW)
    tokens.verify(token, NOW + timedelta(minutes=1))
    assert ApiToken.objects.get().last_used_at == NOW
    tokens.verify(token, NOW + timedelta(minutes=6))
    assert ApiToken.objects.get().last_used_at == NOW + timedelta(minutes=6)
