"""The page on which the owner says when to be silent, how often is enough, and who goes first."""

import pytest
from tests.dashboard.pages import Page

from regulars.automations.models import Automation
from regulars.automations.tact import tact_of

pytestmark = pytest.mark.django_db
FORM = {"from": "22:00", "until": "09:30", "messages": ["3", ""], "days": ["10", ""]}


def test_it_shows_the_defaults(considerate, signed_in):
    page = Page(signed_in.get("/tact"))
    values = [each["value"] for tag, each in page.tags if tag == "input" and each.get("type") != "hidden"]
    assert values == ["21:00", "10:00", "2", "7", "4", "30", "", "", "", ""]


def test_the_owner_changes_hours_and_caps(signed_in, organization):
    answer = signed_in.post("/tact", FORM, follow=True)
    assert "Saved" in Page(answer).text or "Guardado" in Page(answer).text
    organization.refresh_from_db()
    tact = tact_of(organization.tact)
    assert tact.quiet_hours.starts.hour == 22
    assert [(cap.messages, cap.days) for cap in tact.caps] == [(3, 10)]


def test_empty_hours_and_caps_are_none(signed_in, organization):
    signed_in.post("/tact", {"from": "", "until": "", "messages": [""], "days": [""]})
    organization.refresh_from_db()
    assert (tact_of(organization.tact).quiet_hours, tact_of(organization.tact).caps) == (None, ())


def test_the_owner_says_how_long_a_number_counts_as_confirmed(signed_in, organization):
    for entered, kept in (("365", 365), ("", None)):
        signed_in.post("/tact", FORM | {"confirmed_within": entered})
        organization.refresh_from_db()
        assert tact_of(organization.tact).numbers_confirmed_within_days == kept


def test_equal_ends_are_refused_in_words(signed_in, organization):
    answer = signed_in.post("/tact", FORM | {"until": "22:00"}, follow=True)
    assert "Equal ends" in Page(answer).text
    organization.refresh_from_db()
    assert tact_of(organization.tact).quiet_hours is None


def test_the_owner_moves_an_automation_up(signed_in, organization):
    a, b = (Automation.objects.create(organization=organization, name=n, trigger="inactive") for n in "ab")
    signed_in.post("/tact", {"up": str(b.pk)})
    a.refresh_from_db()
    b.refresh_from_db()
    assert b.position < a.position


def test_staff_may_look_and_not_change(as_role, organization):
    assert as_role("staff").get("/tact").status_code == 200
    assert as_role("viewer").post("/tact", FORM).status_code == 403


def test_a_guest_who_is_left_out_for_another_automation_sees_it_named(
    signed_in, organization, make_automation, guests
):
    organization.tact |= {"caps": [{"messages": 1, "days": 7}]}
    organization.save()
    make_automation("First of all")
    second = make_automation("Second")
    Automation.objects.update(family="")
    assert ": First of all" in Page(signed_in.get(f"/automations/{second.pk}/preview")).text
    assert "“First of all” goes first." in Page(signed_in.get(f"/guests/{guests[0].pk}")).text


def test_venues_with_hours_of_their_own_are_named(signed_in, venue):
    assert "its own" not in Page(signed_in.get("/tact")).text
    venue.quiet_hours = {"from": "22:00:00", "until": "09:00:00"}
    venue.save()
    assert f"{venue.name} its own: from 22:00 until 09:00" in Page(signed_in.get("/tact")).text
