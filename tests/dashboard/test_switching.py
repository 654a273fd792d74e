"""On and off by a button; on asks before many are written to."""

import pytest
from django.utils import timezone

from dashboard.pages import Page
from regulars.organizations.models import AuditEvent
from regulars.runs import guarding


@pytest.fixture
def off(automation):
    automation.enabled = False
    automation.save()
    return automation


@pytest.fixture
def switch(signed_in, automation):
    def send(**fields):
        answer = signed_in.post(f"/automations/{automation.pk}/switch", fields)
        automation.refresh_from_db()
        return answer

    return send


def test_off_is_one_button_and_is_written_down(switch, automation, owner):
    switch(state="off")
    assert not automation.enabled
    event = AuditEvent.objects.get(action="automation.disabled")
    assert (event.user, event.subject) == (owner, str(automation.pk))


def test_on_says_how_many_would_get_a_message(signed_in, switch, off, guests):
    page = Page(signed_in.get(f"/automations/{off.pk}/switch"))
    assert "At the moment 2 guests would get a message." in page.text
    switch(state="on")
    off.refresh_from_db()
    assert (off.enabled, off.due_from) == (True, None)


class TestALargeShare:
    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch):
        monkeypatch.setattr(guarding, "FEW", 1)

    def test_starts_with_what_becomes_due_from_now_on(self, signed_in, switch, off, guests):
        page = Page(signed_in.get(f"/automations/{off.pk}/switch"))
        assert "It would write to 2 guests at once." in page.text
        switch(state="on")
        off.refresh_from_db()
        assert off.enabled
        assert off.due_from is not None
        text = Page(signed_in.get("/")).text
        assert "is on, for what becomes due from now on" in text
        assert "It leaves alone what fell due before" in text

    def test_or_writes_to_all_of_them_by_a_yes_to_the_number(self, switch, off, guests):
        switch(state="on", reach="2")
        off.refresh_from_db()
        assert (off.enabled, off.due_from, off.reach_agreed) == (True, None, 2)

    def test_a_yes_to_fewer_changes_nothing_and_shows_the_number(self, signed_in, switch, off, guests):
        answer = switch(state="on", reach="1")
        off.refresh_from_db()
        assert not off.enabled
        text = Page(signed_in.get(answer.url)).text
        assert "It would write to 2 guests at once, not to 1" in text

    def test_what_was_left_alone_can_be_written_to_later(self, signed_in, switch, automation, guests):
        automation.due_from = timezone.now()
        automation.save()
        assert (
            "It would write to 2 guests at once."
            in Page(signed_in.get(f"/automations/{automation.pk}/switch")).text
        )
        switch(state="on", reach="2")
        assert automation.due_from is None


def test_a_viewer_switches_nothing(as_role, automation):
    client = as_role("viewer")
    assert client.post(f"/automations/{automation.pk}/switch", {"state": "off"}).status_code == 403
    assert "Switch off" not in Page(client.get("/")).text
